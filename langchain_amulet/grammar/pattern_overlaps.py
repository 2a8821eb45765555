"""Whether one text may be by two patterns, as llguidance tells it.

This module knows how to ask llguidance for that: nothing of schemas or of what patterns mean.
"""

from __future__ import annotations

from llguidance import LLMatcher


def are_apart(one: str, other: str) -> bool:
    """Whether surely no text is by both patterns; False where it isn't clear, or one isn't held."""
    return one != other and _are_taken(one, other)


def may_overlap(one: str, other: str) -> bool:
    """Whether some text may be by both of two patterns that grammars hold."""
    return not _are_taken(one, other) and _are_taken(one) and _are_taken(other)


def _are_taken(*patterns: str) -> bool:
    # Properties whose names are by two patterns aren't taken.
    named = {"type": "object", "patternProperties": dict.fromkeys(patterns, True)}
    return not LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(named))
