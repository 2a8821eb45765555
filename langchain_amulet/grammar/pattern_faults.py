r"""What of a pattern no grammar can hold, in words, with what to write instead.

Grammars hold patterns of what a text consists of: nothing that looks at what stands beside it, or
back to what was written. Nor do they hold what isn't a pattern to all who read it.

This module knows regular expressions, and how to ask llguidance for one: nothing of schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from llguidance import LLMatcher

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.asked_patterns import AskedPattern
from langchain_amulet.grammar.guidance_words import reason_of
from langchain_amulet.grammar.pattern_dialects import is_read
from langchain_amulet.grammar.schema_tree import unheld

FAULTS = (
    (r"\\[bB](?:\{[a-z-]+\})?", "a place at the end of a word: write what may stand beside it"),
    (r"\(\?<?[=!]", "a look ahead or behind: write what the text itself is"),
    (r"\\[1-9]\d*|\\[kg](?=[<{'])|\(\?P=", "what a group found before: write the group once more"),
    (r"\(\?>", "a group that gives nothing back: write (?:"),
    (r"\(\?\(", "a condition: write both cases, as in (?:a|b)"),
    (r"\(\?#", "a remark: leave it out"),
    (r"\(\?[a-zA-Z]{0,9}(?:[aLmR]|-[a-zA-Z]{0,9}u)[a-zA-Z-]{0,9}[:)]",
     "a flag that few know: leave it out"),
)  # fmt: skip
"""What patterns may have that looks further than at what they take, in words with the remedy."""

SIGNS = re.compile(r"\\\\|(\\.)|\[\^?(?:\\.|[^\\\]])*+(?:\]|\\?\Z)", re.DOTALL)
"""Backslashes that are signs, other escapes, and classes, one without an end included: what looks
like an operation in the first and the last isn't one."""

ESCAPE = re.compile(
    r"\\(?:[pP](?:\{[^{}]*\}|\w)|x(?:\{[0-9a-fA-F]+\}|[0-9a-fA-F]{2})|u(?:\{[0-9a-fA-F]+\}|[0-9a-fA-F]{4})|.)",
    re.DOTALL,
)
"""An escape, with all that belongs to it."""

COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}|\{")
"""How often something is to come, or a brace that doesn't begin that."""

MOST_ROUNDS = 2**32 - 1


def refusal(reason: str, patterns: Iterable[tuple[str, AskedPattern]]) -> SchemaError:
    """What to raise for a grammar that isn't taken.

    Args:
        reason: What llguidance says of it.
        patterns: The patterns in it, each with what it was asked as.

    Returns:
        An error about the pattern that is no grammar by itself, or about those that are none
        together, if it is that; its cause is what llguidance says.
    """
    known = dict(patterns)
    alone = ((asked, _refused(_schema_of(pattern))) for pattern, asked in known.items())
    found = next(((asked, said) for asked, said in alone if said and said in reason), None)
    if found is not None:
        return _about(*found)
    together = [asked.told for pattern, asked in known.items() if _names(reason, pattern)]
    if not together:
        return unheld(reason)
    what = "together" if len(together) > 1 else "with the lengths that are asked for"
    return _because(f"{' and '.join(together)} can't be held to {what}: ask for less", reason)


def check_alone(pattern: str, asked: AskedPattern) -> None:
    """Refuse a pattern that no grammar can hold.

    Args:
        pattern: The pattern, of whole texts.
        asked: What it was asked as.

    Raises:
        SchemaError: None can; the message says by which part of it.
    """
    if said := _refused(LLMatcher.grammar_from_regex(pattern)):
        raise _about(asked, said)


def fault_of(pattern: str) -> str:
    """What of a pattern no grammar can hold, as a verb with its object, and what to write."""
    bare = SIGNS.sub(r"\1", pattern)
    for sign, words in FAULTS:
        if found := re.search(sign, bare):
            return f"has {found[0]}, {words}"
    if is_read(pattern):
        is_anchored = re.search(r".[\^]|\$.", bare, re.DOTALL)
        anchor = "has ^ or $ within it: write ^ at its beginning, $ at its end or neither"
        return anchor if is_anchored else "takes no text at all: mend it"
    for escape in ESCAPE.findall(pattern):
        if not is_read(escape):
            return f"has {escape}, which not all readers know: write the characters it stands for"
    return _fault_of_counts(ESCAPE.sub("", bare)) or "isn't a regular expression: mend it"


def _fault_of_counts(bare: str) -> str:
    for count in COUNT.finditer(bare):
        if count[1] is None:
            return r"has a { that doesn't say how often: write \{, or {fewest,most}"
        fewest, most = int(count[1]), int(count[2] or count[1])
        if max(fewest, most) > MOST_ROUNDS or (count[2] and fewest > most):
            return f"has {count[0]}, which is no count: write {{fewest,most}}"
    return ""


def _about(asked: AskedPattern, reason: str) -> SchemaError:
    return _because(f"{asked.told} {fault_of(asked.value)}", reason)


def _because(words: str, reason: str) -> SchemaError:
    error = unheld(words)
    error.__cause__ = ValueError(reason)
    return error


def _schema_of(pattern: str) -> str:
    return LLMatcher.grammar_from_json_schema({"type": "string", "pattern": pattern})


def _refused(grammar: str) -> str:
    """Why a grammar by itself isn't taken; empty if it is."""
    failed, reasons = LLMatcher.validate_grammar_with_warnings(grammar)
    return reason_of(" ".join(reasons)) if failed else ""


def _names(reason: str, pattern: str) -> bool:
    """Whether a reason has a pattern in it, which is between slashes there."""
    return any(f"/{each}/" in reason for each in (pattern, pattern.replace("/", r"\/")))
