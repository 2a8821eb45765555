"""Turns that no offered tool fits: small talk, and requests for what is not on offer."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pocket.corpus.dialogue import Exchange, Reply
from pocket.corpus.invent import first_name, person_any
from pocket.corpus.tools.catalogue import catalogue
from pocket.corpus.tools.offers import purposeful
from pocket.corpus.tools.requests import use
from pocket.corpus.tools.tool import Tool


def untooled(rng: random.Random, tools: Sequence[Tool]) -> Exchange:
    """A turn whose answer is text, though tools are on offer."""
    roll, mark, name = rng.random(), rng.choice(("!", ".", "")), first_name(rng)
    if roll < 0.14:
        return Exchange(
            _say(rng, "greetings") + mark, Reply("Hello! How can I help you?", "Hello!")
        )
    if roll < 0.26:
        hello = Reply(f"Hello {name}! How can I help you?", f"Hello {name}!")
        introduction = f"{_say(rng, 'greetings')}, {rng.choice(('I am', 'my name is', 'this is'))}"
        return Exchange(f"{introduction} {name}{mark or '.'}", hello)
    if roll < 0.36:
        return _thanks(rng, mark)
    if roll < 0.42:
        return Exchange(_say(rng, "byes") + mark, _same("Goodbye!"))
    if roll < 0.54:
        return _own_name(rng)
    return _not_offered(rng, tools) or _thanks(rng, mark)


def _say(rng: random.Random, what: str) -> str:
    return rng.choice(catalogue().small_talk[what])


def _same(text: str) -> Reply:
    return Reply(text, text)


def _thanks(rng: random.Random, mark: str) -> Exchange:
    return Exchange(_say(rng, "thanks") + mark, _same("You are welcome!"))


def _own_name(rng: random.Random) -> Exchange:
    person = person_any(rng)
    user = rng.choice(("My name is {}. What is my name?", "I am called {}. Who am I?"))
    return Exchange(user.format(person), Reply(f"Your name is {person}.", f"{person}."))


def _not_offered(rng: random.Random, tools: Sequence[Tool]) -> Exchange | None:
    """A request for an everyday purpose that anyone can tell from the offered tools."""
    for _ in range(8):
        other = purposeful(rng, rng.choice(catalogue().purposes))
        if other.purpose == "search" or any(_near(other, tool) for tool in tools):
            continue
        ask = rng.choice([ask for ask in other.asks if "{name}" not in ask])
        return Exchange(use(rng, other).fill(ask), _same("I have no tool for that."))
    return None


def _near(one: Tool, other: Tool) -> bool:
    shared = set(one.name.split("_")).intersection(other.name.split("_"))
    return bool(shared) or one.purpose == other.purpose
