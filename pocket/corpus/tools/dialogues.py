"""Dialogues with one to four tools on offer."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pocket.corpus.dialogue import Exchange, Sample
from pocket.corpus.tools.offers import LONGEST, linked_offer, offer
from pocket.corpus.tools.tool import Tool
from pocket.corpus.tools.turns import chain, double, relay, single
from pocket.corpus.tools.untooled import untooled
from pocket.corpus.wording import system_prompt


def tool_sample(rng: random.Random) -> Sample:
    """A dialogue with one to four tools offered.

    The mixture: 25 % one request for two calls, the second of which takes the first one's result.
    Of the others 12 % where no tool fits (greetings, thanks, requests for what is not offered) and
    the answer is text; 14 % two calls for one request, at once or one after the other; 9 % two
    exchanges with calls of different values; 9 % a second exchange whose call takes the first one's
    result (where types allow it); 4 % a call and then a turn that needs none; else one call. Half
    of the tools have everyday purposes (weather, sums, orders), half are random names with random
    parameters. Results are a plain value, a JSON object, a sentence or (5 %) an error; replies
    quote the result's value.
    """
    if rng.random() < 0.25:
        return relay_sample(rng)
    tools = offer(rng)
    return _sample(rng, tools, _exchanges(rng, tools))


def relay_sample(rng: random.Random) -> Sample:
    """A dialogue that begins with a request for two calls, one with the result of the other."""
    tools = linked_offer(rng)
    exchanges = [relay(rng, *tools[:2])]
    if rng.random() < 0.1:
        exchanges.append(untooled(rng, tools))
    return _sample(rng, tools, exchanges)


def _sample(rng: random.Random, tools: Sequence[Tool], exchanges: list[Exchange]) -> Sample:
    schemas = [tool.schema() for tool in tools]
    size = sum(len(str(schema)) for schema in schemas)
    if size + sum(map(_length, exchanges)) > LONGEST:
        exchanges = exchanges[:1]
    rng.shuffle(schemas)
    return Sample(tuple(exchanges), system_prompt(rng, 0.25), tuple(schemas))


def _exchanges(rng: random.Random, tools: Sequence[Tool]) -> list[Exchange]:
    first = tools[0]
    roll = rng.random()
    if roll < 0.12:
        refused = untooled(rng, tools)
        return [refused, single(rng, first)] if rng.random() < 0.2 else [refused]
    if roll < 0.26:
        return [double(rng, tools)]
    if roll < 0.35:
        return [single(rng, first), single(rng, rng.choice(tools))]
    if roll < 0.44:
        return chain(rng, tools)
    called = single(rng, first)
    return [called, untooled(rng, tools)] if rng.random() < 0.07 else [called]


def _length(exchange: Exchange) -> int:
    """About how many characters the exchange has once rendered."""
    rounds = exchange.rounds
    calls = sum(len(str(call)) + 20 for turn in rounds for call in turn.calls)
    results = sum(len(result) + 30 for turn in rounds for result in turn.results)
    return len(exchange.user) + len(exchange.reply.sentence) + calls + results
