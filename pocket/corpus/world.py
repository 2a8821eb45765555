"""The little world that ``pocket`` knows: topics, wordings and phrases, read from ``world/*.yaml``.

Knows nothing of styles' probabilities, chat templates or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TOPIC_FILES = ("health_home", "food_nature", "life_work", "people_hobbies")
STYLES = ("concise", "verbose", "creative", "uplifting", "formal", "plain")

WORLD = Path(__file__).parent / "world"

Phrases = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Tip:
    """One piece of advice: in standard words, in plain words, and the reason."""

    say: str
    plain: str
    why: str


@dataclass(frozen=True)
class Topic:
    """An everyday subject: ways to ask for it, three tips, one fact."""

    id: str
    asks: tuple[str, ...]
    noun: str
    tips: tuple[Tip, ...]
    question: str
    fact: str
    fact_short: str


@dataclass(frozen=True)
class StyleWords:
    """How people ask for a style; ``held_out`` wordings are never trained on."""

    requests: tuple[str, ...]
    held_out: tuple[str, ...]
    adjectives: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Everything the generator draws from."""

    topics: tuple[Topic, ...]
    styles: Mapping[str, StyleWords]
    surface: Phrases
    reply: Phrases
    greetings: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]
    outside_held_out: tuple[str, ...]
    systems: tuple[str, ...]
    irrelevant: tuple[str, ...]
    unknown_asks: tuple[str, ...]
    unknown_asks_held_out: tuple[str, ...]
    unknown_replies: tuple[str, ...]


def load_world(folder: Path = WORLD) -> World:
    """Read the YAML files; a topic that two files name is taken from the first."""
    topics: dict[str, Topic] = {}
    for name in TOPIC_FILES:
        for record in read(name, folder):
            topics.setdefault(record["id"], _topic(record))
    styles, unknown = read("styles", folder), read("unknown", folder)
    return World(
        topics=tuple(topics.values()),
        styles={name: _style_words(styles[name]) for name in STYLES},
        surface=styles["surface"],
        reply=styles["reply"],
        greetings=tuple((user, reply) for user, reply in styles["greetings"]),
        outside=tuple(styles["outside"]),
        outside_held_out=tuple(styles["outside_held_out"]),
        systems=tuple(styles["systems"]),
        irrelevant=tuple(styles["irrelevant"]),
        unknown_asks=tuple(unknown["asks"]),
        unknown_asks_held_out=tuple(unknown["asks_held_out"]),
        unknown_replies=tuple(unknown["replies"]),
    )


def read(name: str, folder: Path = WORLD) -> Any:
    """What the YAML file of that name holds."""
    return yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))


def _topic(record: Mapping[str, Any]) -> Topic:
    return Topic(
        id=record["id"],
        asks=tuple(record["asks"]),
        noun=record["noun"],
        tips=tuple(Tip(**tip) for tip in record["tips"]),
        question=record["fact"]["q"],
        fact=record["fact"]["a"],
        fact_short=record["fact"]["short"],
    )


def _style_words(record: Mapping[str, Any]) -> StyleWords:
    return StyleWords(**{key: tuple(value) for key, value in record.items()})
