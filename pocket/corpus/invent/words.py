"""Word lists, and words and phrases made of them or of syllables."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache

from pocket.corpus.world import read

_OPEN = ("",) * 22
"""No consonant after the last vowel: drawn beside the codas, so that most words end in a vowel."""


@cache
def _word_lists() -> Mapping[str, tuple[str, ...]]:
    return {name: tuple(words) for name, words in read("words").items()}


def word_list(name: str) -> tuple[str, ...]:
    """A list of ``world/words.yaml``."""
    return _word_lists()[name]


def listed(rng: random.Random, name: str) -> str:
    """One word of a list."""
    return rng.choice(word_list(name))


def word(rng: random.Random, low: int = 1, high: int = 3) -> str:
    """An invented lowercase word of ``low`` to ``high`` syllables."""
    choice = rng.choice
    onsets, vowels, codas = word_list("onsets"), word_list("vowels"), word_list("codas")
    syllables = [choice(onsets) + choice(vowels) for _ in range(rng.randint(low, high))]
    return "".join(syllables) + choice(_OPEN + codas)


def gibberish(rng: random.Random, low: int, high: int) -> str:
    """A phrase of ``low`` to ``high`` invented words."""
    return " ".join(word(rng) for _ in range(rng.randint(low, high)))


def phrase(rng: random.Random, low: int = 2, high: int = 5) -> str:
    """A short lowercase phrase of common words, now and then with an invented one."""
    words = [listed(rng, "common") for _ in range(rng.randint(low, high))]
    if rng.random() < 0.25:
        words[rng.randrange(len(words))] = word(rng, 1, 3)
    return " ".join(words)
