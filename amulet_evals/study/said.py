"""What was said in the study's conversations, as numbers that can be compared.

An **effect** tells how often a reader would see a difference: the share of turns in which an answer
has more of a trait than the plain answer to the same, minus the share in which it has less; over
conversations, whose turns differ, than the plain answers of the same one. It is -1 to 1, and 0
where both are alike. Traits that are counted in different ways have effects on the same scale.

Knows journals and measures of texts. Doesn't know what the parts of the study ask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from amulet_evals.reporting.tables import Cell, cell
from amulet_evals.run.journal import rows
from amulet_evals.scorers.trait_measures import Measure
from langchain_amulet.errors import ConfigurationError

BASELINE = "pref"
"""The method that others are held against."""

Place = tuple[str, str, int]
"""A turn: model, script, number."""


@dataclass(frozen=True)
class Said:
    """One answer.

    Attributes:
        model: Name of the model.
        script: Name of the script.
        turn: Which turn of it, from 1.
        method: The method, as text.
        style: Name of the style; None where nothing was preferred.
        placement: Where the preference was.
        text: The answer.
    """

    model: str
    script: str
    turn: int
    method: str
    style: str | None
    placement: str
    text: str

    @property
    def place(self) -> Place:
        """What it answers."""
        return self.model, self.script, self.turn


def read_said(files: Iterable[Path]) -> tuple[Said, ...]:
    """All answers of some journals, each once; a model is called by the end of its path.

    Raises:
        ConfigurationError: A file has no answers of conversations.
    """
    found: dict[tuple[str, int], Said] = {}
    for file in files:
        said = {(row["talk"], row["turn"]): _said(row) for row in rows(file) if "talk" in row}
        if not said:
            raise ConfigurationError(
                f"A file of answers must hold some of conversations, but {str(file)!r} holds none: "
                "name the answers.jsonl in the folder of one of the study's parts."
            )
        found |= said
    return tuple(found.values())


def _said(row: Mapping[str, Any]) -> Said:
    named = {**row, "model": Path(row["model"]).name}
    return Said(**{name: named[name] for name in Said.__dataclass_fields__})


def by_model(said: Iterable[Said]) -> dict[str, tuple[Said, ...]]:
    """The answers of each model, by its name."""
    found: dict[str, list[Said]] = {}
    for each in said:
        found.setdefault(each.model, []).append(each)
    return {model: tuple(answers) for model, answers in found.items()}


def plain(said: Iterable[Said]) -> dict[Place, Said]:
    """What was answered where nothing was preferred."""
    return {each.place: each for each in said if each.style is None}


def sign(own: float | None, other: float | None) -> float:
    """1 for more than another, -1 for less; NaN where either has no number."""
    return math.nan if own is None or other is None else float(np.sign(own - other))


def signs(said: Iterable[Said], base: Mapping[Place, Said], measure: Measure) -> dict[Place, float]:
    """Of each answer whether it has more, 1, or less, -1, of something than the plain one.

    NaN where either has no number; answers to what wasn't answered plainly are left out.
    """
    counted = cache(measure)

    return {
        each.place: sign(counted(each.text), counted(base[each.place].text))
        for each in said
        if each.place in base
    }


def effect(values: Iterable[float]) -> Cell:
    """The effect of signs, and where it lies; NaN counts for nothing.

    A sign is a difference from the plain answer, so that the effect differs by itself.
    """
    found = np.array(tuple(values), dtype=np.float64)
    return cell(found, found)
