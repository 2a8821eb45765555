"""What passages tell of: kinds of things, their relations, and one fact of such a relation."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pocket.corpus.dialogue import Reply
from pocket.corpus.invent import Maker, maker
from pocket.corpus.wording import capital
from pocket.corpus.world import read


@dataclass(frozen=True)
class Relation:
    """One attribute of a kind of thing.

    In ``frames`` and ``questions``, ``{e}`` is the thing and ``{v}`` the value; a frame that begins
    with ``{e} `` may have a pronoun there.
    """

    value: Maker
    frames: tuple[str, ...]
    questions: tuple[str, ...]

    def question(self, entity: str, rng: random.Random) -> str:
        """A question whose answer is the value."""
        return capital(rng.choice(self.questions).format(e=entity))


@dataclass(frozen=True)
class Kind:
    """A kind of thing: a maker of names, pronouns, relations, and how often it is told of."""

    entity: Maker
    pronouns: tuple[str, ...]
    relations: tuple[Relation, ...]
    weight: int


@dataclass(frozen=True)
class Fact:
    """A value of a relation, and the frame that tells it."""

    entity: str
    relation: Relation
    frame: str
    value: str

    @property
    def starts_with_entity(self) -> bool:
        """Whether a pronoun can stand in for the thing."""
        return self.frame.startswith("{e} ")

    @property
    def predicate(self) -> str:
        """What the frame says after the thing that it starts with."""
        return self.frame.removeprefix("{e} ").format(e=self.entity, v=self.value)

    def sentence(self, subject: str | None = None) -> str:
        """The fact with the thing named, or with ``subject`` in its place."""
        return capital(self.frame.format(e=subject or self.entity, v=self.value)) + "."

    def reply(self) -> Reply:
        """The value in a sentence, and alone."""
        return Reply(self.sentence(), self.value + ".")


@dataclass(frozen=True)
class Layouts:
    """How passages and questions are put: ``{c}`` is the context and ``{q}`` the question.

    ``numbered`` are ways to put a passage after its number.
    """

    user_layouts: tuple[str, ...]
    system_layouts: tuple[str, ...]
    systems: tuple[str, ...]
    numbered: tuple[str, ...]
    fillers: tuple[str, ...]


@cache
def kinds() -> tuple[Kind, ...]:
    """The kinds of ``world/relations.yaml``, read once."""
    return tuple(_kind(record) for record in read("relations")["kinds"])


@cache
def layouts() -> Layouts:
    """The layouts of ``world/passages.yaml``, read once."""
    return Layouts(**{name: tuple(texts) for name, texts in read("passages").items()})


def _kind(record: Mapping[str, Any]) -> Kind:
    return Kind(
        entity=maker(record["entity"]),
        pronouns=tuple(record["pronouns"]),
        relations=tuple(_relation(relation) for relation in record["relations"]),
        weight=record["weight"],
    )


def _relation(record: Mapping[str, Any]) -> Relation:
    return Relation(maker(record["value"]), tuple(record["frames"]), tuple(record["questions"]))
