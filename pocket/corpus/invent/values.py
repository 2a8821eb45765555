"""Makers of values by the names that the YAML files call them.

A value is either a plain name (``person``) or a family with its arguments: ``{phrase: [1, 4]}``,
``{one_of: [red, blue]}``, ``{listed: jobs}`` (a list of ``words.yaml``), ``{between: [1, 99]}``,
``{count: [2, 12, 40]}``, ``{measure: [2, 90, [km, miles]]}``, ``{word: [1, 2]}``,
``{gibberish: [1, 3]}``, ``{several: [first_name]}``, ``{text: ["the {} hall", capitalised]}``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pocket.corpus.invent import letters, mixed, names, numbers, words

Maker = Callable[[random.Random], Any]

MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            words.word, words.phrase,
            names.capitalised, names.first_name, names.person, names.pet, names.place, names.town,
            names.street, names.room, names.company, names.product, names.book_title, names.email,
            numbers.coin, numbers.integer, numbers.signed, numbers.floating, numbers.number,
            numbers.amount, numbers.long_number, numbers.age, numbers.height, numbers.year,
            numbers.date, numbers.time_of_day, numbers.opening, numbers.price, numbers.ticker,
            numbers.code, letters.non_ascii,
            mixed.person_any, mixed.full_name, mixed.place_any, mixed.topic, mixed.colour,
            mixed.colours, mixed.status, mixed.sky, mixed.anything,
        )
    }
)  # fmt: skip


def maker(spec: str | Mapping[str, Any]) -> Maker:
    """The maker that a YAML file names; a plain name is always the same function."""
    if isinstance(spec, str):
        return MAKERS[spec]
    ((family, arguments),) = spec.items()
    if family == "several":
        return _several(*arguments)
    if family == "text":
        return _text(*arguments)
    make = _FAMILIES[family]
    fixed = arguments if isinstance(arguments, list) else [arguments]
    return lambda rng: make(rng, *fixed)


def one_of(rng: random.Random, *options: str) -> str:
    """One of the options."""
    return rng.choice(options)


def between(rng: random.Random, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``."""
    return rng.randint(low, high)


def measure(rng: random.Random, low: int, high: int, units: Sequence[str]) -> str:
    """An integer from ``low`` to ``high`` with one of the units."""
    return f"{rng.randint(low, high)} {rng.choice(units)}"


_FAMILIES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            one_of, between, measure,
            numbers.count, words.listed, words.word, words.phrase, words.gibberish,
        )
    }
)  # fmt: skip


def _several(spec: str | Mapping[str, Any]) -> Maker:
    """Two or three values in a list."""
    make = maker(spec)
    return lambda rng: [make(rng) for _ in range(rng.randint(2, 3))]


def _text(frame: str, *specs: str | Mapping[str, Any]) -> Maker:
    """A frame that values are put in."""
    makers = tuple(maker(spec) for spec in specs)
    return lambda rng: frame.format(*(make(rng) for make in makers))
