"""Small change of language that several kinds of dialogues need."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from pocket.corpus.invent import capitalised

SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "Use the tools when needed.",
    "You are a helpful assistant with tools.",
    "Answer with the help of tools.",
    "You are {}, a friendly bot.",
)


def system_prompt(rng: random.Random, share: float) -> str | None:
    """A plain system prompt in ``share`` of the cases."""
    if rng.random() >= share:
        return None
    return rng.choice(SYSTEMS).format(capitalised(rng))


def capital(text: str) -> str:
    """The text with its first letter capital and the others as they are."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """The text with a capital letter and a closing mark."""
    return capital(text if text[-1] in ".!?" else text + ".")


def enumeration(items: Sequence[str]) -> str:
    """The items as in "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def show(value: Any) -> str:
    """A value as users write it, which is how JSON has it but for the quotes."""
    return value if isinstance(value, str) else json.dumps(value)
