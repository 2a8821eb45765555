"""Dialogues with tools that keep what a user wishes from now on.

The call says a wish of a style in the same few words every time, however the user put it; a wish
that is no style is said as it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pocket.corpus.dialogue import Exchange, Reply, Round, Sample, ToolCall
from pocket.corpus.invent import Maker, maker
from pocket.corpus.tools.catalogue import Texts
from pocket.corpus.tools.offers import with_others
from pocket.corpus.tools.tool import Param, Tool
from pocket.corpus.tools.turns import single
from pocket.corpus.wording import capital, sentence, system_prompt
from pocket.corpus.world import STYLES, World, read


@dataclass(frozen=True)
class Wish:
    """A style as it is remembered, and the words for it of each form that a frame takes."""

    says: str
    words: Mapping[str, Texts]


@dataclass(frozen=True)
class Keeping:
    """Remembering or forgetting: the tool for it, and how it is asked for and acknowledged.

    ``asks`` take a wish as a sentence, ``frames`` a word of the form that `Wish.words` has it in.
    """

    names: Texts
    descriptions: Texts
    asks: Texts
    frames: Mapping[str, Texts]
    results: Texts
    reply: Reply


@dataclass(frozen=True)
class Preferences:
    """What ``world/preferences.yaml`` holds; ``facts`` are wishes that are no styles."""

    parameters: Texts
    wishes: Mapping[str, Wish]
    facts: tuple[tuple[str, Maker], ...]
    remember: Keeping
    forget: Keeping


@cache
def preferences() -> Preferences:
    """The wishes and wordings, read once."""
    content = read("preferences")
    return Preferences(
        parameters=tuple(content["parameters"]),
        wishes={style: _wish(record) for style, record in content["wishes"].items()},
        facts=tuple((frame, maker(value)) for frame, value in content["facts"]),
        remember=_keeping(content["remember"]),
        forget=_keeping(content["forget"]),
    )


def _wish(record: Mapping[str, Any]) -> Wish:
    words = {form: tuple(texts) for form, texts in record.items() if form != "says"}
    return Wish(record["says"], words)


def _keeping(record: Mapping[str, Any]) -> Keeping:
    return Keeping(
        names=tuple(record["names"]),
        descriptions=tuple(record["descriptions"]),
        asks=tuple(record["asks"]),
        frames={form: tuple(texts) for form, texts in record["frames"].items()},
        results=tuple(record["results"]),
        reply=Reply(*record["reply"]),
    )


def preference_sample(world: World, rng: random.Random, held_out: bool = False) -> Sample:
    """A wish to be remembered or, one time in three, forgotten, the tools for both on offer.

    Now and then another tool is wanted, before or after that or instead. ``held_out`` leaves this
    out and has only wishes in wordings that training never sees.
    """
    keepings = [preferences().remember, preferences().forget]
    parameter = rng.choice(preferences().parameters)
    keepers = [_tool(rng, keeping, parameter) for keeping in keepings]
    tools = with_others(rng, keepers, rng.choices((0, 1, 2), (50, 35, 15))[0])
    place = int(rng.random() < 1 / 3)
    exchanges = [_kept(world, rng, keepers[place], keepings[place], held_out)]
    if len(tools) > 2 and not held_out:
        exchanges = _beside(rng, exchanges[0], single(rng, tools[2]))
    schemas = [tool.schema() for tool in tools]
    rng.shuffle(schemas)
    return Sample(tuple(exchanges), system_prompt(rng, 0.25), tuple(schemas))


def _tool(rng: random.Random, keeping: Keeping, parameter: str) -> Tool:
    return Tool(
        name=rng.choice(keeping.names),
        description=rng.choice(keeping.descriptions),
        params=(Param(parameter, "string", maker("phrase")),),
        asks=(),
        says="{v}",
        result=maker({"one_of": [*keeping.results]}),
        result_key="status",
        purpose=keeping.names[0],
    )


def _kept(
    world: World, rng: random.Random, tool: Tool, keeping: Keeping, held_out: bool
) -> Exchange:
    if rng.random() < 0.15 and not held_out:
        frame, value = rng.choice(preferences().facts)
        says = frame.format(value(rng))
        user = rng.choice(keeping.asks).format(says)
    else:
        style = rng.choice(STYLES)
        says = preferences().wishes[style].says
        user = _told(world, rng, style, keeping, held_out)
    call = ToolCall(tool.name, {tool.params[0].name: says})
    return Exchange(user, keeping.reply, (Round((call,), (tool.result(rng),)),))


def _told(world: World, rng: random.Random, style: str, keeping: Keeping, held_out: bool) -> str:
    """A user turn that has the style remembered or forgotten."""
    words = world.styles[style]
    if held_out or rng.random() < 0.4:
        wording = rng.choice(words.held_out if held_out else words.requests)
        return rng.choice(keeping.asks).format(sentence(wording))
    form = rng.choice(tuple(keeping.frames))
    options = preferences().wishes[style].words[form]
    if form == "adjectives" and rng.random() < 0.4:
        options = words.adjectives
    user = capital(rng.choice(keeping.frames[form]).format(rng.choice(options)))
    return user if rng.random() < 0.8 else user.rstrip(".").lower()


def _beside(rng: random.Random, kept: Exchange, other: Exchange) -> list[Exchange]:
    return rng.choice(([kept], [kept], [kept, other], [other, kept], [other]))
