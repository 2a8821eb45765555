"""JSON schemas as symbols of a grammar, in llguidance's dialect of Lark.

This module knows how schemas stand in grammars: nothing of tokens or of what keywords ask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.asked_patterns import AskedPattern, all_asked, asked_as
from langchain_amulet.grammar.pattern_endings import endings
from langchain_amulet.grammar.rewriting import rewritten
from langchain_amulet.grammar.schema_tree import Schema, all_of
from langchain_amulet.grammar.text_formats import KNOWN
from langchain_amulet.validation.checks import check_type

JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line with a space after commas and colons: as ``json.dumps`` and chat templates write it."""

SYMBOL = "%json "
"""What a schema begins with in a grammar."""

MOST_LETTERS = 200_000
"""How much text may finish the forms of one grammar: it takes time to be found and to be tried."""


@dataclass(frozen=True)
class TextForm:
    """What texts in an answer must look like.

    Attributes:
        told: The keyword that says so, and its value.
        endings: What may finish such a text from somewhere in it, as JSON writes it; the shortest
            come first, and the last is a whole text, but for its length.
        fewest: The fewest characters that a whole text has; 0 if that isn't known.
    """

    told: str
    endings: tuple[str, ...]
    fewest: int


def json_rule(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a symbol of a grammar.

    Objects that list properties and don't speak of others have no others: what is written is
    valid by the schema all the same, and a model can't go on inventing.

    Raises:
        SchemaError: It asks for something that no grammar can hold; the message says where.
    """
    check_type("A schema", schema, Mapping, error=SchemaError)
    return SYMBOL + json.dumps({**rewritten(schema), "x-guidance": JSON_STYLE})


def text_forms(lark: str) -> list[TextForm]:
    """What the texts must look like that a grammar's schemas speak of.

    Once the endings have `MOST_LETTERS` together, no further forms are looked at.
    """
    asked = {asking[1:]: asking[0] for each in _schemas(lark) for asking in _patterns(each)}
    found: list[TextForm] = []
    letters = 0
    for (pattern, fewest), told in asked.items():
        if letters > MOST_LETTERS:
            break
        texts = _written(endings(pattern))
        letters += sum(map(len, texts))
        found.append(TextForm(told, texts, max(fewest, len(texts[-1]) if texts else 0)))
    return found


def asked_patterns(lark: str) -> Iterator[tuple[str, AskedPattern]]:
    """The patterns in a grammar's schemas, each with what it was asked as."""
    return (each for schema in _schemas(lark) for each in all_asked(schema))


def _schemas(lark: str) -> Iterator[Schema]:
    """All schemas in a grammar, those within others, too."""
    decoder, at = json.JSONDecoder(), lark.find(SYMBOL)
    while at >= 0:
        at += len(SYMBOL)
        try:
            schema, at = decoder.raw_decode(lark, at)
        except ValueError:
            schema = None  # those letters stand in some other symbol
        yield from all_of(schema)
        at = lark.find(SYMBOL, at)


def _patterns(schema: Schema) -> Iterator[tuple[str, str, int]]:
    """What a schema says of texts, in its own words, as a pattern, and the fewest characters."""
    pattern, fewest = schema.get("pattern"), schema.get("minLength")
    fewest = fewest if isinstance(fewest, int) else 0
    if isinstance(pattern, str):
        known = asked_as(schema, pattern)
        yield known.told if known else f"pattern {json.dumps(pattern)}", pattern, fewest
    elif KNOWN.get(str(schema.get("format"))):
        yield f"format {json.dumps(schema['format'])}", KNOWN[schema["format"]], fewest
    elif fewest:
        yield f"minLength {fewest}", ".*", fewest
    for name in schema.get("patternProperties", ()):
        known = asked_as(schema, name)
        yield known.told if known else f"patternProperties {json.dumps(name)}", name, 0


def _written(texts: list[str]) -> tuple[str, ...]:
    return tuple(json.dumps(text, ensure_ascii=False)[1:-1] for text in texts)
