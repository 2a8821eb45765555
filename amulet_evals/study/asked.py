"""What the study asks in conversations, of one turn or of many: by part, as scripts and talks.

Knows what is asked, and how much of it. Doesn't know how it is decoded or scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from amulet_evals.config import Decoding
from amulet_evals.data.questions import Question
from amulet_evals.data.styles import read_styles
from amulet_evals.run.conversations import Script, Talk, chunked, scripts, talks
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences.traits import PRESETS, TRAITS

FOLDER = Path(__file__).parent
ANSWERED = ("greedy", "sampled")
"""Parts that are methods compared on questions, one at a time; the others are `PARTS`."""

PLAIN = "Base"
"""Label of these parts' method that answers without preference."""

SYSTEM = "You are a helpful assistant."
LASTING = ("pref", "auto", "subtle", "balanced", "strong", "amulet")
"""Methods that are compared over conversations."""

TOWARDS = (-0.7, -0.4, -0.2, 0.0, 0.3, 0.7, 1.2, 2.0, 3.0, 4.65)
"""Strengths at which traits' texts are tried; -1 would be no preference, 0 is the prompt alone."""

PUSHING = (-1.5, -2.0, -3.0, -5.0)
"""Strengths at which what asks for more of a trait is pushed away from."""

WORDINGS = ("preference", "worded")
"""Of a rule's texts: what is wished, and the same with its condition in words."""

CONDITIONAL = ("pref", "auto", "balanced", "amulet")
"""Methods by which preferences are tried where they don't always apply."""


@dataclass(frozen=True)
class Amount:
    """How much is asked.

    Attributes:
        questions: Questions of traits' parts, and of conversations where they are to be made of
            these; empty for none.
        limit: Most scripts.
        turns: Turns of a conversation.
    """

    questions: tuple[Question, ...]
    limit: int
    turns: int


@dataclass(frozen=True)
class Asked:
    """One part of the study.

    Attributes:
        scripts: What users say.
        talks: The conversations, in the order in which they are had.
        decoding: How answers are decoded.
    """

    scripts: tuple[Script, ...]
    talks: tuple[Talk, ...]
    decoding: Decoding

    def share(self, at: int, of: int) -> Asked:
        """One of so many shares that have about as many scripts each, ``at`` from 1.

        Raises:
            ConfigurationError: There is no such share.
        """
        if not 1 <= at <= of:
            raise ConfigurationError(
                f"A share is one of so many, from 1, but {at} of {of} isn't: give one from 1 of "
                "the number of shares, such as 1 of 2 and 2 of 2."
            )
        kept = self.scripts[at - 1 :: of]
        names = {each.id for each in kept}
        return replace(
            self, scripts=kept, talks=tuple(each for each in self.talks if each.script in names)
        )

    def narrowed(self, methods: Sequence[str], placements: Sequence[str]) -> Asked:
        """What is answered by some of the methods, at some of the placements; none means all.

        What answers are held against, those without a preference, stays.

        Raises:
            ConfigurationError: It isn't asked by such a method, or at such a placement.
        """
        wished = tuple(each for each in self.talks if each.style is not None)
        _check_known("method", methods, dict.fromkeys(each.method for each in wished))
        _check_known("placement", placements, dict.fromkeys(each.placement for each in wished))
        kept = tuple(
            each
            for each in self.talks
            if each.style is None
            or (
                (not methods or each.method in methods)
                and (not placements or each.placement in placements)
            )
        )
        return replace(self, talks=kept)


def grid(part: str, methods: Sequence[str]) -> dict[str, Any]:
    """The settings of a part that compares methods, with some of these; none means all.

    Those that others are held against, plain answers and the baseline's, stay.

    Raises:
        ConfigurationError: The part has no such method.
    """
    settings: dict[str, Any] = read(f"{part}.json")
    named = settings["methods"]
    _check_known("method", methods, named)
    asked = {*methods, PLAIN, settings["scoring"]["baseline"]}
    kept = {name: each for name, each in named.items() if not methods or name in asked}
    return {**settings, "methods": kept}


def _check_known(what: str, asked: Iterable[str], known: Iterable[str]) -> None:
    for each in asked:
        if each not in known:
            raise ConfigurationError(
                f"No {what} of this part is {each!r}: it has {', '.join(map(repr, known))}."
            )


def read(name: str) -> Any:
    """A file of what is asked."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def conversations(model: str, amount: Amount) -> Asked:
    """Conversations of many turns about one topic each, in several styles, at both placements."""
    asked = read("conversations.json")
    found = scripts(asked["topics"], asked["openings"], asked["turns"], amount.turns)
    return _lasting(model, found[: amount.limit], asked["styles"])


def changing(model: str, amount: Amount) -> Asked:
    """The same with every turn a question of another topic, for models that know few."""
    found = chunked(amount.questions, amount.turns)
    return _lasting(model, found[: amount.limit], read("conversations.json")["styles"])


def _lasting(model: str, found: tuple[Script, ...], names: Iterable[str]) -> Asked:
    styles = [each for each in read_styles(read("styles.json")) if each.name in names]
    said = talks(model, LASTING, found, styles, ("system", "user"))
    return Asked(found, said, Decoding(temperature=0.7, max_tokens=96, system=SYSTEM))


def traits(model: str, amount: Amount) -> Asked:
    """Every trait's texts at many strengths, to choose its levels by."""
    return _singly(model, amount.questions[: amount.limit], tuple(trait_trials()))


def presets(model: str, amount: Amount) -> Asked:
    """Every preset's traits together, and each of them alone."""
    return _singly(model, amount.questions[: amount.limit], tuple(preset_trials()))


def conditions(model: str, amount: Amount) -> Asked:
    """Preferences that apply to some questions alone: always wished, and with the condition."""
    found, said = [], []
    for rule in read("conditions.json"):
        for number, text in enumerate((*rule["applies"], *rule["not"])):
            script = Script(f"{rule['name']} {number}", (text,))
            found.append(script)
            ways = ((m, each) for each in WORDINGS for m in CONDITIONAL)
            said.append(_plain(model, script))
            said += (
                Talk(model, method, script.id, each, rule[each], "system") for method, each in ways
            )
    return Asked(tuple(found), tuple(said), _short(160))


def quoting(model: str, amount: Amount) -> Asked:
    """Code, sentences, names and numbers that are to be given back as they are, in every style."""
    asked = read("quoting.json")
    found = tuple(
        Script(f"{kind} {at}", (asked["asks"][kind].format(text),))
        for kind, texts in asked["keeps"].items()
        for at, text in enumerate(texts)
    )
    styles = read_styles(read("styles.json"))
    said = talks(model, (*CONDITIONAL, "strong"), found, styles, ("system",))
    return Asked(found, said, _short(128))


Way = tuple[str, str, str]
"""A name, a method and what is preferred."""


def _singly(model: str, questions: Iterable[Question], ways: Sequence[Way]) -> Asked:
    """Every question plainly and in every way."""
    found = tuple(Script(each.id, (each.text,)) for each in questions)
    said: list[Talk] = []
    for script in found:
        said.append(_plain(model, script))
        said += (
            Talk(model, method, script.id, name, preference, "system")
            for name, method, preference in ways
        )
    return Asked(found, tuple(said), _short(192))


def trait_trials() -> Iterator[Way]:
    """Every text of every trait at every strength that it is tried at."""
    for name, trait in TRAITS.items():
        for strength in (*TOWARDS, *PUSHING):
            yield f"{name} more", f"amulet:strength={strength:g}", trait.more
        for strength in TOWARDS if trait.less else ():
            yield f"{name} less", f"amulet:strength={strength:g}", trait.less or ""


def preset_trials() -> Iterator[Way]:
    """Every preset that has several traits, by its name, and each of these as it is written."""
    several = {name: levels for name, levels in PRESETS.items() if len(levels) > 1}
    for name, levels in several.items():
        yield name, "auto", ", ".join(written(*each) for each in levels.items())
    alone = (written(*each) for levels in several.values() for each in levels.items())
    for text in dict.fromkeys(alone):
        yield text, "auto", text


def written(trait: str, level: int) -> str:
    """A trait at a level as people write it: ``concise ++``."""
    return f"{trait} {'+' * level}{'-' * -level}"


def _plain(model: str, script: Script) -> Talk:
    return Talk(model, "base", script.id, None, None, "system")


def _short(tokens: int) -> Decoding:
    return Decoding(temperature=0.7, max_tokens=tokens, system=SYSTEM)


PARTS: Mapping[str, Callable[[str, Amount], Asked]] = MappingProxyType(
    {
        "conversations": conversations,
        "changing": changing,
        "traits": traits,
        "presets": presets,
        "conditions": conditions,
        "quoting": quoting,
    }
)
"""Parts of the study that are conversations, by their names."""

TAKEN: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "questions": (*ANSWERED, "changing", "traits", "presets"),
        "limit": ANSWERED,
        "conversations": ("conversations", "changing", "traits", "presets"),
        "turns": ("conversations", "changing"),
        "window": ("conversations", "changing"),
        "placement": ("conversations", "changing"),
        "share": tuple(PARTS),
    }
)
"""What can be said of some parts alone when they are decoded, with these parts."""
