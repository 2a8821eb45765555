"""Arguments that stand in an answer as they are, without quotation marks, up to a tag.

Any text is such an argument's value. What its schema says of texts, such as a pattern, it is held
to; a text that could be read as something else that the schema takes is read as that.

This module knows schemas and patterns: nothing of which tags there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_amulet.chat_formats.calls import Parameter, narrowed
from langchain_amulet.grammar import GrammarCompiler
from langchain_amulet.grammar.raw_text import check_patterns, text_endings, text_patterns

ANY = "(?s:.*)"
"""The pattern of any text."""


def is_raw_text(parameter: Parameter) -> bool:
    """Whether an argument is written as it is: if it may be a text, or anything."""
    return not parameter.types or "string" in parameter.types


def raw_text_rules(
    name: str,
    parameter: Parameter,
    end: str,
    compiler: GrammarCompiler,
    only_texts: bool = False,
) -> list[str]:
    """The rule ``name``: an argument that may be a text, and what ends it.

    Args:
        name: What the rule is called.
        parameter: The argument.
        end: What stands behind it.
        compiler: Spells texts for the model's tokenizer.
        only_texts: Whether it is told to be a text, and so none of the other values that its
            schema lists.

    Raises:
        SchemaError: Its schema asks something of texts that can't be held to here.
    """
    schema = narrowed(parameter, "string")
    choices = _choices(schema)
    if choices is not None:
        kept = [each for each in choices if isinstance(each, str) or not only_texts]
        listed = " | ".join(compiler.spell(_written(choice)) for choice in kept)
        return [f"{name}: ({listed}) {compiler.spell(end)}"]
    check_patterns(schema, f"argument {parameter.name!r}")
    patterns = [f"/{_escaped(each)}/" for each in text_patterns(schema)] or [f"/{ANY}/"]
    text = patterns[0] if len(patterns) == 1 else f"( {' & '.join(patterns)} )"
    if compiler.is_plain(end):  # the first end is the end: no text holds another
        return [f"{name}[lazy]: {text} {json.dumps(end)}"]
    # A token is no part of any text. White space before it would be, so it is left out.
    return [f"{name}: {name}_text {compiler.spell(end.lstrip())}", f"{name}_text: {text}"]


def raw_endings(parameter: Parameter) -> Sequence[str]:
    """What may finish such a text from somewhere in it, the shortest first."""
    schema = narrowed(parameter, "string")
    return () if _choices(schema) is not None else ("", *text_endings(schema))


def _choices(schema: Mapping[str, Any]) -> Sequence[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _escaped(pattern: str) -> str:
    """A pattern as it stands between two slashes of a grammar."""
    return re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\/", pattern).replace("\n", r"\n")
