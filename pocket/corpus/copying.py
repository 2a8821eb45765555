"""Pure copying: repeat this, what did I just say, what was the value that I told you."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from pocket.corpus.dialogue import Exchange, Reply, Sample
from pocket.corpus.invent import anything, gibberish, word_list
from pocket.corpus.wording import system_prompt
from pocket.corpus.world import read

NOTED = Reply("OK, I will remember that.", "OK.")


@dataclass(frozen=True)
class Wordings:
    """What ``world/copying.yaml`` holds."""

    repeats: tuple[str, ...]
    said: tuple[str, ...]
    said_before: tuple[str, ...]
    remember: tuple[str, ...]
    recall: tuple[str, ...]


@cache
def wordings() -> Wordings:
    """The wordings, read once."""
    return Wordings(**{name: tuple(texts) for name, texts in read("copying").items()})


def copy_sample(rng: random.Random) -> Sample:
    """A text or a value that is given once and to be given back."""
    roll = rng.random()
    system = system_prompt(rng, 0.15)
    if roll < 0.5:
        times = 2 if rng.random() < 0.15 else 1
        return Sample(tuple(_repeat(rng) for _ in range(times)), system)
    if roll < 0.62:
        text = _text(rng)
        exchange = Exchange(rng.choice(wordings().said).format(text), _you_said(text))
        return Sample((exchange,), system)
    if roll < 0.7:
        text = _text(rng)
        again = Exchange(rng.choice(wordings().said_before), _you_said(text))
        return Sample((Exchange(text, NOTED), again), system)
    return Sample(_recollection(rng), system)


def _repeat(rng: random.Random) -> Exchange:
    text = _text(rng)
    return Exchange(rng.choice(wordings().repeats).format(text), Reply(text, text))


def _you_said(text: str) -> Reply:
    return Reply(f'You said "{text}".', text)


def _recollection(rng: random.Random) -> tuple[Exchange, ...]:
    """One or two named values, and later, or in the same breath, a question about one."""
    names = rng.sample(word_list("nouns"), 2)
    pairs = [(name.replace("_", " "), anything(rng)) for name in names]
    noted = pairs if rng.random() < 0.45 else pairs[:1]
    frame = rng.choice(wordings().remember)
    text = " ".join(frame.format(name, value) for name, value in noted)
    name, value = rng.choice(noted)
    question = rng.choice(wordings().recall).format(name)
    mine = "My {0}" in frame
    if mine:
        question = question.replace("the ", "my ", 1)
    reply = Reply(f"{'Your' if mine else 'The'} {name} is {value}.", f"{value}.")
    if rng.random() < 0.5:
        return (Exchange(f"{text} {question}", reply),)
    return Exchange(text, NOTED), Exchange(question, reply)


def _text(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.65:
        return anything(rng)
    if roll < 0.85:
        return f"{anything(rng)} {anything(rng)}"
    if roll < 0.93:
        return gibberish(rng, 2, 5)
    return ", ".join(anything(rng) for _ in range(3))
