"""JSON answers without tools: a record told in words, and the wanted part of it as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pocket.corpus.dialogue import Exchange, Reply, Sample
from pocket.corpus.invent import Maker, maker, word, word_list
from pocket.corpus.wording import capital, enumeration, show, system_prompt
from pocket.corpus.world import read


@dataclass(frozen=True)
class Field:
    """Something that a record can hold: its key, JSON type and a maker of values."""

    key: str
    kind: str
    value: Maker


@dataclass(frozen=True)
class Statement:
    """Fields that a sentence can tell together, and such sentences."""

    fields: tuple[Field, ...]
    tellings: tuple[str, ...]


@dataclass(frozen=True)
class RecordWordings:
    """What ``world/records.yaml`` holds."""

    fields: tuple[Field, ...]
    statements: tuple[Statement, ...]
    asks: tuple[str, ...]
    systems: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    kind: str
    value: Any


_Record = dict[str, _Entry]


@cache
def records() -> RecordWordings:
    """The fields and wordings, read once; a statement's field is the last one with that key."""
    content = read("records")
    fields = tuple(Field(f["key"], f["type"], maker(f["value"])) for f in content["fields"])
    by_key = {field.key: field for field in fields}
    statements = tuple(
        Statement(tuple(by_key[key] for key in each["fields"]), tuple(each["tellings"]))
        for each in content["statements"]
    )
    return RecordWordings(fields, statements, tuple(content["asks"]), tuple(content["systems"]))


def structured_sample(rng: random.Random) -> Sample:
    """A JSON answer without tools: a fact and the wanted keys, and exactly that JSON object.

    One record in twelve has a field that is asked for but not told: its value is null.
    """
    record, fact = _sentence(rng) if rng.random() < 0.5 else _list(rng)
    if rng.random() < 0.08:
        untold = rng.choice(records().fields)
        if not any(untold.key in key for key in record):
            record[untold.key] = _Entry(untold.kind, None)
    wanted = _wanted(rng, record)
    forms = _forms(rng, wanted)
    system, user = None, "{fact}"
    if rng.random() < 0.25:
        system = rng.choice(records().systems).format(**forms)
    else:
        user = rng.choice(records().asks)
    answer = json.dumps({key: entry.value for key, entry in wanted.items()}, ensure_ascii=False)
    exchange = Exchange(user.format(fact=fact, **forms), Reply(answer, answer))
    return Sample((exchange,), system or system_prompt(rng, 0.12))


def _sentence(rng: random.Random) -> tuple[_Record, str]:
    """A record told in a natural sentence; now and then the request has a word of its own."""
    statement = rng.choice(records().statements)
    record = {field.key: _Entry(field.kind, field.value(rng)) for field in statement.fields}
    text = rng.choice(statement.tellings).format(*(show(entry.value) for entry in record.values()))
    if rng.random() < 0.12:
        old = rng.choice(list(record))
        new = f"{word(rng, 1, 2)}_{old}"
        record = {new if key == old else key: entry for key, entry in record.items()}
    return record, text


def _list(rng: random.Random) -> tuple[_Record, str]:
    """A record of any fields, told one after the other in random order."""
    record: _Record = {}
    for field in rng.sample(records().fields, rng.choice((1, 2, 2, 2, 3, 3, 4))):
        if field.key not in record:
            prefix = f"{rng.choice(word_list('nouns'))}_" if rng.random() < 0.15 else ""
            record[prefix + field.key] = _Entry(field.kind, field.value(rng))
    form = rng.choice(("the {} is {}", "{}: {}", "{} = {}", "{} is {}", "my {} is {}", "{} {}"))
    parts = [
        form.format(key.replace("_", " "), _told(rng, entry.value)) for key, entry in record.items()
    ]
    rng.shuffle(parts)
    joiner = rng.choice(("; ", "\n", ", ", "; ", " and "))
    if any(entry.kind == "array" for entry in record.values()):
        joiner = rng.choice(("; ", "\n"))
    return record, capital(joiner.join(parts)) + rng.choice((".", ""))


def _told(rng: random.Random, value: Any) -> str:
    if isinstance(value, bool):
        return rng.choice(("yes", "true") if value else ("no", "false"))
    return ", ".join(value) if isinstance(value, list) else show(value)


def _wanted(rng: random.Random, record: _Record) -> _Record:
    """The record, or a part of it, in the order that the request has."""
    keys = list(record)
    if rng.random() < 0.2:
        rng.shuffle(keys)
    if len(keys) > 2 and rng.random() < 0.15:
        keys.pop()
    return {key: record[key] for key in keys}


def _forms(rng: random.Random, wanted: _Record) -> Mapping[str, str]:
    """The wanted keys in each form that a request may have them."""
    types = {key: entry.kind for key, entry in wanted.items()}
    keys = list(types)
    properties = {key: {"type": kind} for key, kind in types.items()}
    return {
        "and": enumeration(keys),
        "keys": rng.choice((", ".join(keys), enumeration(keys))),
        "quoted": ", ".join(f'"{key}"' for key in keys),
        "schema": json.dumps(types),
        "props": json.dumps({"type": "object", "properties": properties}),
    }
