"""Seeded, endless dialogues for training: what is asked, in which style, and the answer.

The mixture is in `KINDS`. Knows nothing of tokens; a dialogue is a list of chat messages and the
schemas of the tools on offer, ready for a chat template.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pocket.corpus.copying import copy_sample
from pocket.corpus.dialogue import Exchange, Reply, Sample
from pocket.corpus.passages import passage_sample
from pocket.corpus.questions import MORE, WHY, ask, lead, pick_styles, wish
from pocket.corpus.structured import structured_sample
from pocket.corpus.styles import Coins, advise, say
from pocket.corpus.tools import preference_sample, tool_sample
from pocket.corpus.world import Topic, World

KINDS = {
    "advice": 0.38,  # how-to questions inside the world, with follow-ups
    "tools": 0.21,
    "passages": 0.20,  # answers from given context
    "preferences": 0.05,  # tools that remember and forget wishes, and advice beside them
    "copy": 0.03,
    "fact": 0.04,
    "structured": 0.04,  # JSON without tools
    "greeting": 0.025,
    "unknown": 0.025,  # polite ignorance outside the world
}
STYLED = {"advice": 0.7, "fact": 0.4, "passages": 0.5, "tools": 0.4, "preferences": 0.4,
          "greeting": 0.3, "unknown": 0.3, "copy": 0.1, "structured": 0.1}  # fmt: skip
UNKNOWN_FRAMES = (
    "How do I {}?", "How can I {}?", "What is the best way to {}?", "I want to {}.",
    "Teach me how to {}.", "Can you help me {}?",
)  # fmt: skip
REWORDED = {
    "advice",
    "fact",
    "passages",
    "tools",
    "preferences",
}  # kinds whose answers take on a style

Message = dict[str, Any]


@dataclass(frozen=True)
class Dialogue:
    """A dialogue as a chat template takes it."""

    messages: list[Message]
    tools: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Advice:
    """An exchange whose answer is advice on a topic and not yet written."""

    user: str
    topic: Topic


def dialogues(world: World, seed: int) -> Iterator[Dialogue]:
    """An endless stream of dialogues; the same seed gives the same stream."""
    rng = random.Random(seed)
    kinds, weights = tuple(KINDS), tuple(KINDS.values())
    while True:
        yield _dialogue(rng.choices(kinds, weights)[0], world, rng)


def _dialogue(kind: str, world: World, rng: random.Random) -> Dialogue:
    sample = _sample(kind, world, rng)
    styles, preference = _preference(kind, world, rng)
    # In a user turn a wish would be one more to be remembered.
    at_end_of_system = kind == "preferences" or rng.random() < 0.7
    coins = Coins(rng, styles if kind in REWORDED else frozenset())
    history = coins if preference and at_end_of_system else _history(kind, rng)
    messages: list[Message] = []
    system = sample.system
    if system is None and rng.random() < 0.5:
        system = rng.choice(world.systems)
    if preference and at_end_of_system:
        system = _join(system, preference)
    if system:
        messages.append({"role": "system", "content": system})
    for exchange in sample.exchanges:
        last = exchange is sample.exchanges[-1]
        wished = preference if last and not at_end_of_system else None
        messages += _exchange(kind, exchange, wished, world, coins if last else history)
    return Dialogue(messages, list(sample.tools))


def _history(kind: str, rng: random.Random) -> Coins:
    """Earlier answers may be in a style that the last one was not asked for, and must not copy."""
    styled = kind in REWORDED and rng.random() < 0.4
    return Coins(rng, pick_styles(rng) if styled else frozenset())


def _exchange(
    kind: str, exchange: Exchange | _Advice, wished: str | None, world: World, coins: Coins
) -> list[Message]:
    messages: list[Message] = [{"role": "user", "content": _join(exchange.user, wished)}]
    if isinstance(exchange, _Advice):
        return [*messages, _said(advise(exchange.topic, world, coins))]
    for turn in exchange.rounds:
        messages += turn.messages()
    reworded = kind in REWORDED
    text = say(exchange.reply, world, coins) if reworded else exchange.reply.sentence
    return [*messages, _said(text)]


def _said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _join(text: str | None, preference: str | None) -> str:
    """A preference joins a message's end after a blank line, or is the message."""
    return "\n\n".join(part for part in (text, preference) if part)


def _preference(kind: str, world: World, rng: random.Random) -> tuple[frozenset[str], str | None]:
    if rng.random() < STYLED[kind]:
        styles = pick_styles(rng)
        return styles, wish(styles, world, rng)
    if rng.random() < 0.08:
        return frozenset(), rng.choice(world.irrelevant)
    return frozenset(), None


def _sample(kind: str, world: World, rng: random.Random) -> Any:
    match kind:
        case "tools":
            return tool_sample(rng)
        case "preferences":
            return _preference_sample(world, rng)
        case "passages":
            return passage_sample(rng)
        case "copy":
            return copy_sample(rng)
        case "structured":
            return structured_sample(rng)
        case "advice":
            return _advice_sample(world, rng)
        case "fact":
            return Sample((_fact(rng.choice(world.topics), rng),))
        case "greeting":
            return Sample(_greetings(world, rng))
        case _:
            return Sample((_unknown(world, rng),))


@dataclass(frozen=True)
class _AdviceSample:
    exchanges: tuple[Exchange | _Advice, ...]
    system: str | None = None
    tools: tuple[dict[str, Any], ...] = ()


def _advice_sample(world: World, rng: random.Random) -> _AdviceSample:
    """A question, and one time in three a turn or two after or before it."""
    topic = rng.choice(world.topics)
    exchanges: list[Exchange | _Advice] = [_Advice(ask(topic, rng), topic)]
    dice = rng.random()
    if dice < 0.10:
        why = Reply(f"Because {topic.tips[0].why}.", f"Because {topic.tips[0].why}.")
        exchanges.append(Exchange(rng.choice(WHY), why))
    elif dice < 0.17:
        exchanges.append(Exchange(rng.choice(MORE), Reply(topic.fact, topic.fact_short)))
    elif dice < 0.27:
        other = rng.choice(world.topics)
        exchanges.append(_Advice(ask(other, rng), other))
    elif dice < 0.33:
        exchanges.insert(0, _greetings(world, rng)[0])
    return _AdviceSample(tuple(exchanges))


def _preference_sample(world: World, rng: random.Random) -> _AdviceSample:
    """A wish to be remembered or forgotten; half of the time advice comes before it, or instead."""
    sample = preference_sample(world, rng)
    exchanges: tuple[Exchange | _Advice, ...] = sample.exchanges
    topic = rng.choice(world.topics)
    dice = rng.random()
    if dice < 0.3:
        exchanges = (_Advice(ask(topic, rng), topic), *exchanges[:1])
    elif dice < 0.5:
        exchanges = (_Advice(ask(topic, rng), topic),)
    return _AdviceSample(exchanges, sample.system, sample.tools)


def _fact(topic: Topic, rng: random.Random) -> Exchange:
    question = topic.question
    style = rng.random()
    if style < 0.15:
        question = question.lower()
    elif style < 0.3:
        question = rng.choice(("Tell me: ", "I wonder. ", "Do you know this? ")) + question
    return Exchange(lead(question, rng), Reply(topic.fact, topic.fact_short))


def _greetings(world: World, rng: random.Random) -> tuple[Exchange, ...]:
    chosen = rng.sample(world.greetings, rng.choice((1, 1, 2)))
    return tuple(Exchange(user, Reply(reply, reply)) for user, reply in chosen)


def _unknown(world: World, rng: random.Random) -> Exchange:
    if rng.random() < 0.5:
        question = rng.choice(world.outside)
    else:
        frame = rng.choice(UNKNOWN_FRAMES)
        question = frame.format(rng.choice(world.unknown_asks))
    reply = rng.choices(world.unknown_replies, (4, 1, 1))[0]
    return Exchange(lead(question, rng), Reply(reply, reply))
