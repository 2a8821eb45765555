"""How answers are wanted: styles, each in one wording or several.

This module knows texts: nothing of models or methods.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from amulet_evals.hashing import number
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences import TRAITS, Preference
from langchain_amulet.preferences.traits import levels_in
from langchain_amulet.validation.checks import check_type
from langchain_amulet.validation.wording import choose, quoted

PAPER_STYLES = (
    "creative", "verbose", "concise", "uplifting", "sycophantic", "complex", "formal", "pleasant",
)  # fmt: skip
"""Those of Amulet's paper, which are asked for in the words of `SENTENCE`."""

SENTENCE = "Your answer should be {} as much as possible."
"""How Amulet's paper asks for a style."""

INTRODUCTION = "These answers to other questions are in the style that is wanted:"
"""What stands in front of examples."""

UNMOVED = -1.0
"""The strength at which a preference counts for nothing; those below push away from its text."""

Preferences = Sequence[str] | Mapping[str, str | Sequence[str]]
"""Styles as they are given: see `read_styles`."""


@dataclass(frozen=True)
class Style:
    """A way to answer, and the wordings in which it is asked for.

    Attributes:
        name: Its name.
        wordings: How it is asked for, in words or as traits, see `traits_in`.
        examples: Answers that are as wanted, see `shown`; empty for none.
    """

    name: str
    wordings: tuple[str, ...]
    examples: str = ""

    def wording(self, question: str, seed: int) -> str:
        """The wording that goes with a question: always the same one, and each its fair share."""
        return self.wordings[number(seed, self.name, question) % len(self.wordings)]


class Example(BaseModel):
    """An answer in a style.

    Attributes:
        question: What it answers.
        answer: The answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)


def shown(examples: Sequence[Example]) -> str:
    """Examples as a preference shows them; empty for none."""
    if not examples:
        return ""
    blocks = (f"Question: {each.question}\nAnswer: {each.answer}" for each in examples)
    return "\n\n".join([INTRODUCTION, *blocks])


def with_examples(
    styles: Sequence[Style], examples: Mapping[str, Sequence[Example]]
) -> tuple[Style, ...]:
    """The styles, those that have examples with them.

    Raises:
        ConfigurationError: There are examples of no style.
    """
    names = [each.name for each in styles]
    if unknown := [name for name in examples if name not in names]:
        raise ConfigurationError(
            f"Examples must be those of a style, which are {', '.join(map(quoted, names))}, not "
            f"of {quoted(unknown[0])}: {choose(unknown[0], names)} one of those."
        )
    return tuple(replace(each, examples=shown(examples.get(each.name, ()))) for each in styles)


def traits_in(wording: str) -> tuple[Preference, ...]:
    """What a wording asks for that is made of traits: ``concise ++, formal -``; else nothing.

    Raises:
        PreferenceError: It is meant for traits and isn't.
    """
    levels = levels_in(wording, TRAITS) or ()
    return tuple(Preference.trait(name, level) for name, level in levels)


def read_styles(given: Preferences) -> tuple[Style, ...]:
    """Styles by their names and wordings.

    Args:
        given: Names with their wordings; or a list of texts, each of them one of `PAPER_STYLES`,
            a file, or a preference in words or as traits, which is its own name. A .txt file has
            one per line, a .json file a list of texts or names with their wordings.

    Raises:
        ConfigurationError: There is no style, one without words, or a name that is there twice.
        PreferenceError: A wording is meant for traits and isn't.
    """
    styles = tuple(_named(given) if isinstance(given, Mapping) else _listed(given))
    names = [style.name for style in styles]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not styles or twice is not None:
        wrong = "none is given" if twice is None else f"{twice!r} is given twice"
        raise ConfigurationError(
            f"Preferences must be one at least, each once, but {wrong}: give texts, or names "
            f"such as {', '.join(PAPER_STYLES[:4])}."
        )
    return styles


def _listed(texts: Iterable[str]) -> Iterable[Style]:
    for text in texts:
        if _names_file(text):
            yield from _from_file(Path(text).expanduser())
        else:
            yield _style(text, SENTENCE.format(text) if text in PAPER_STYLES else text)


def _names_file(text: str) -> bool:
    """Whether it names a file; with spaces it may be a preference, unless there is such a file."""
    path = Path(text).expanduser()
    if path.suffix not in {".txt", ".json"}:
        return False
    return os.path.isfile(path) or not any(map(str.isspace, text))  # of any length, unlike Path's


def _named(wordings: Mapping[str, Any]) -> Iterable[Style]:
    return (_style(name, texts) for name, texts in wordings.items())


def as_given(given: Any) -> Any:
    """What may be given as styles, for `read_styles`.

    Raises:
        ConfigurationError: It is neither a list nor names, or has something else than words.
    """
    check_type("preferences", given, Mapping, list, tuple)
    for name, wordings in (
        given.items() if isinstance(given, Mapping) else zip(given, given, strict=True)
    ):
        _texts_of(name, wordings)
    return given


def _texts_of(name: Any, wordings: Any) -> tuple[str, ...]:
    """What is said for a style, in one way or several."""
    texts = tuple(wordings) if isinstance(wordings, (list, tuple)) else (wordings,)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ConfigurationError(
            f"A preference must be asked for in words, but {quoted(name)} has {quoted(wordings)}: "
            "give a text, or a list of texts with at least one."
        )
    return texts


def _style(name: str, wordings: Any) -> Style:
    texts = _texts_of(name, wordings)
    for each in (found for text in texts for found in traits_in(text)):
        if isinstance(each.strength, float) and each.strength < UNMOVED:
            raise ConfigurationError(
                f"A style must say how answers are wanted, but {name!r} has a trait whose text is "
                "pushed away from, which means the contrary to prompts and scorers: say in words "
                "what is wanted instead."
            )
    return Style(name, texts)


def _from_file(path: Path) -> Iterable[Style]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip()]
        found = json.loads(text) if path.suffix == ".json" else lines
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"Preferences can't be read from {str(path)!r}: {error}. Name a .txt file with one "
            "per line, or a .json file with a list of texts or with names and their wordings."
        ) from error
    if isinstance(found, Mapping):
        return _named(found)
    if isinstance(found, list):
        return [_style(str(text), text) for text in found]
    raise ConfigurationError(
        f"A .json file of preferences holds a list or an object, but {str(path)!r} has "
        f"{type(found).__name__}: list the texts, or give names with their wordings."
    )
