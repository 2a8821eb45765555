"""What tools there are and how they are spoken of, read from ``world/tools.yaml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pocket.corpus.invent import Maker, maker
from pocket.corpus.world import read

Texts = tuple[str, ...]


@dataclass(frozen=True)
class ParameterKind:
    """A kind of parameter: names to choose from, JSON type, maker of values."""

    names: Texts
    kind: str
    value: Maker
    options: Texts = ()


@dataclass(frozen=True)
class Purpose:
    """An everyday purpose that a tool can have."""

    names: Texts
    descriptions: Texts
    parameters: tuple[ParameterKind, ...]
    asks: Texts
    says: Texts
    result: Maker
    result_keys: Texts

    @property
    def id(self) -> str:
        """The first name: two tools with the same are for the same."""
        return self.names[0]


@dataclass(frozen=True)
class Generic:
    """What tools without a purpose are made of."""

    parameters: tuple[ParameterKind, ...]
    option_names: Texts
    results: tuple[Maker, ...]
    result_keys: Texts
    says: Texts


@dataclass(frozen=True)
class Catalogue:
    """Everything that dialogues with tools draw from."""

    purposes: tuple[Purpose, ...]
    generic: Generic
    asks: Mapping[str, Texts]
    failures: Mapping[str, Texts]
    small_talk: Mapping[str, Texts]


@cache
def catalogue() -> Catalogue:
    """The catalogue, read once."""
    record = read("tools")
    return Catalogue(
        purposes=tuple(_purpose(purpose) for purpose in record["purposes"]),
        generic=_generic(record["generic"]),
        asks=_texts(record["asks"]),
        failures=_texts(record["failures"]),
        small_talk=_texts(record["small_talk"]),
    )


def _texts(record: Mapping[str, Sequence[str]]) -> Mapping[str, Texts]:
    return {name: tuple(texts) for name, texts in record.items()}


def _parameter(record: Mapping[str, Any]) -> ParameterKind:
    options = record.get("options", ())
    value = maker({"one_of": options} if options else record["value"])
    return ParameterKind(tuple(record["names"]), record["type"], value, tuple(options))


def _purpose(record: Mapping[str, Any]) -> Purpose:
    return Purpose(
        names=tuple(record["names"]),
        descriptions=tuple(record["descriptions"]),
        parameters=tuple(_parameter(each) for each in record["parameters"]),
        asks=tuple(record["asks"]),
        says=tuple(record["says"]),
        result=maker(record["result"]),
        result_keys=tuple(record["result_keys"]),
    )


def _generic(record: Mapping[str, Any]) -> Generic:
    return Generic(
        parameters=tuple(_parameter(each) for each in record["parameters"]),
        option_names=tuple(record["option_names"]),
        results=tuple(maker(result) for result in record["results"]),
        result_keys=tuple(record["result_keys"]),
        says=tuple(record["says"]),
    )
