"""Which tools a dialogue offers: of an everyday purpose, or with random names and parameters."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pocket.corpus.invent import function_name, maker, phrase, word
from pocket.corpus.tools.catalogue import ParameterKind, Purpose, catalogue
from pocket.corpus.tools.tool import Param, Tool
from pocket.corpus.wording import capital

LONGEST = 900
"""Characters of schemas and dialogue beyond which nothing more is added to a sample."""

DESCRIBED = 0.12
"""Share of tools whose parameters have descriptions."""


def offer(rng: random.Random) -> list[Tool]:
    """One to four tools that differ in name and purpose."""
    return with_others(rng, [any_tool(rng)], rng.choices((0, 1, 2, 3), (40, 32, 19, 9))[0])


def linked_offer(rng: random.Random) -> list[Tool]:
    """Two to four tools, the second of which can take what the first returns.

    Most often it takes exactly that kind of value: a person, a date, a code. One time in three both
    have everyday purposes.
    """
    everyday = rng.random() < 1 / 3
    natural = everyday or rng.random() < 0.6
    draw = everyday_tool if everyday else any_tool
    while True:
        first, second = draw(rng), draw(rng)
        if _alike(first, second) or not second.follows(first.result(rng)):
            continue
        if not natural or second.params[0].value is first.result:
            return with_others(rng, [first, second], rng.choices((0, 1, 2), (50, 35, 15))[0])


def with_others(rng: random.Random, given: Sequence[Tool], number: int) -> list[Tool]:
    """The given tools and up to ``number`` others, as many as a dialogue has room for."""
    tools = list(given)
    size = sum(len(str(tool.schema())) for tool in tools)
    for _ in range(number):
        other = any_tool(rng)
        size += len(str(other.schema()))
        if size > LONGEST * 0.9:
            break
        if not any(_alike(other, tool) for tool in tools):
            tools.append(other)
    return tools


def _alike(one: Tool, other: Tool) -> bool:
    return one.name == other.name or (one.purpose != "" and one.purpose == other.purpose)


def any_tool(rng: random.Random) -> Tool:
    """A tool with an everyday purpose or, as often, with a random name."""
    return everyday_tool(rng) if rng.random() < 0.5 else _generic(rng)


def everyday_tool(rng: random.Random) -> Tool:
    """A tool with any of the everyday purposes."""
    return purposeful(rng, rng.choice(catalogue().purposes))


def purposeful(rng: random.Random, purpose: Purpose) -> Tool:
    """A tool for the purpose under one of its names."""
    described = rng.random() < DESCRIBED
    params: list[Param] = []
    for kind in purpose.parameters:
        name = rng.choice(kind.names) if rng.random() < 0.6 else kind.names[0]
        while _taken(name, params):
            name = rng.choice(kind.names)
        params.append(_param(name, kind, described))
    return Tool(
        name=rng.choice(purpose.names),
        description="" if rng.random() < 0.12 else rng.choice(purpose.descriptions),
        params=tuple(params),
        asks=purpose.asks,
        says=rng.choice(purpose.says),
        result=purpose.result,
        result_key=rng.choice(purpose.result_keys),
        purpose=purpose.id,
    )


def _generic(rng: random.Random) -> Tool:
    """A tool with a random name, any parameters and a description of the name's words."""
    generic = catalogue().generic
    name = function_name(rng)
    params = _generic_params(rng)
    return Tool(
        name=name,
        description=_description(rng, name.replace("_", " "), params),
        params=params,
        asks=(),
        says=rng.choice(generic.says),
        result=rng.choice(generic.results),
        result_key=rng.choice(generic.result_keys),
    )


def _generic_params(rng: random.Random) -> tuple[Param, ...]:
    described = rng.random() < DESCRIBED
    params: list[Param] = []
    for place in range(rng.choices((0, 1, 2, 3), (12, 55, 25, 8))[0]):
        kind = _options(rng) if rng.random() < 0.07 else rng.choice(catalogue().generic.parameters)
        name = rng.choice(kind.names) if rng.random() < 0.88 else word(rng, 1, 2)
        if not _taken(name, params):
            required = place == 0 or rng.random() < 0.7
            params.append(_param(name, kind, described, required))
    return tuple(params)


def _options(rng: random.Random) -> ParameterKind:
    """A parameter with two or three random options."""
    options = tuple(dict.fromkeys(phrase(rng, 1, 1) for _ in range(rng.randint(2, 3))))
    return ParameterKind(
        catalogue().generic.option_names, "string", maker({"one_of": [*options]}), options
    )


def _taken(name: str, params: Sequence[Param]) -> bool:
    return any(name == param.name for param in params)


def _param(name: str, kind: ParameterKind, described: bool, required: bool = True) -> Param:
    description = f"The {name.replace('_', ' ')}." if described else ""
    return Param(name, kind.kind, kind.value, description, kind.options, required)


def _description(rng: random.Random, words: str, params: Sequence[Param]) -> str:
    roll = rng.random()
    if roll < 0.22:
        return ""
    if roll < 0.6:
        return capital(words) + "."
    if roll < 0.8:
        return f"Use this to {words}."
    if roll < 0.9 and params:
        return f"{capital(words)} by {params[0].name.replace('_', ' ')}."
    return f"{capital(words)} ({phrase(rng, 1, 2)})."
