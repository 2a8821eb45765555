"""How strong each level of a trait has to be, so that a step of one is as noticeable as another's.

A trait's texts were tried at many strengths. The effect of each is measured (see
`amulet_evals.study.said`), made to grow with the strength, since a few questions say it with
noise, and a level is given the strength at which it is nearest to what all traits' steps are to
have. What a level does is shown by cross-fitting: of each half of the questions with the strength
that the other half would have chosen, so that no figure is of questions that chose its strength.
Which answers fall apart, and which of two ways to have less is the better one, all questions say.

Knows effects, traits and tables. Doesn't know how answers were decoded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from amulet_evals.data.styles import UNMOVED
from amulet_evals.hashing import number
from amulet_evals.reporting.plots import Plot, finished, nth_colour
from amulet_evals.reporting.tables import Cell, Table
from amulet_evals.scorers.attributes import repetition
from amulet_evals.scorers.trait_measures import MEASURES
from amulet_evals.study.said import Said, effect, plain, signs
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences.traits import LEVELS

STEPS: Mapping[int, float] = MappingProxyType({1: 0.4, 2: 0.8})
"""The effects that one step and two are to have, in either direction."""

UNSEEN: Mapping[bool, tuple[float, float]] = MappingProxyType(
    {True: (0.0, 1.0), False: (-2.0, -3.0)}
)
"""Strengths of one step and two towards a text, or away from it, where no effect is seen."""

SLACK = 0.1
"""How much farther from a step's effect a strength may be for being weaker."""

TOLERATED = 0.15
"""How much more of its 4-grams an answer may repeat than the plain one, on average."""


@dataclass(frozen=True)
class StrengthTrial:
    """What a text does to a trait at one strength.

    Attributes:
        text: "more" or "less": which of the trait's texts it is.
        strength: The strength.
        signs: Whether each answer has more of the trait than the plain one, or less, by model and
            script.
        repeated: How much more the answers repeat than the plain ones, on average; of several
            models, for that which repeats most.
    """

    text: str
    strength: float
    signs: Mapping[tuple[str, str], float]
    repeated: float

    def seen(self, scripts: Collection[str], model: str) -> list[float]:
        """The signs of a model's answers to some scripts."""
        return [
            sign
            for (own, script), sign in self.signs.items()
            if own == model and script in scripts and not math.isnan(sign)
        ]


@dataclass(frozen=True)
class Level:
    """A trait's level, as it was found.

    Attributes:
        trait: The trait.
        level: The level.
        trial: What reaches it.
        effects: What its kind does, by model, on questions that it isn't chosen by.
    """

    trait: str
    level: int
    trial: StrengthTrial
    effects: Mapping[str, Cell]


def trials(said: Sequence[Said]) -> dict[str, list[StrengthTrial]]:
    """Everything that was tried of each trait."""
    base, groups = plain(said), dict[tuple[str, str, float], list[Said]]()
    for each in said:
        if each.style is not None and each.place in base:
            trait, text = each.style.split()
            strength = float(each.method.partition("strength=")[2])
            groups.setdefault((trait, text, strength), []).append(each)
    repeats = cache(repetition)
    found: dict[str, list[StrengthTrial]] = {}
    for (trait, text, strength), answers in groups.items():
        if trait not in MEASURES:
            continue
        seen = signs(answers, base, MEASURES[trait])
        more: dict[str, list[float]] = {}
        for each in answers:
            added = repeats(each.text) - repeats(base[each.place].text)
            more.setdefault(each.model, []).append(added)
        by_script = {(model, script): sign for (model, script, _), sign in seen.items()}
        worst = max(float(np.mean(each)) for each in more.values())
        found.setdefault(trait, []).append(StrengthTrial(text, strength, by_script, worst))
    return found


def halves(said: Iterable[Said]) -> tuple[frozenset[str], frozenset[str]]:
    """The scripts, in two halves."""
    ordered = sorted({each.script for each in said}, key=lambda script: number("half", script))
    return frozenset(ordered[::2]), frozenset(ordered[1::2])


def calibrate(said: Sequence[Said]) -> Iterator[Level]:
    """The levels of each trait that was tried, the lowest first.

    Args:
        said: Answers of one model, or of several, for which levels are chosen together: effects
            are means over models.

    Raises:
        ConfigurationError: Answers that were to have more of a trait, or less, are missing.
    """
    models = tuple(dict.fromkeys(each.model for each in said))
    one, other = halves(said)
    for trait, tried in trials(said).items():
        chosen, by_one, by_other = (_levels(tried, each) for each in (one | other, one, other))
        for level in LEVELS:
            effects = {
                model: effect(
                    (*by_one[level].seen(other, model), *by_other[level].seen(one, model))
                )
                for model in models
            }
            yield Level(trait, level, chosen[level], effects)


def _levels(tried: Sequence[StrengthTrial], scripts: frozenset[str]) -> dict[int, StrengthTrial]:
    """What each level is, chosen by some scripts."""
    found: dict[int, StrengthTrial] = {}
    for sign in (-1, 1):
        steps = _nearest(_ways(tried, sign), sign, scripts)
        found |= {sign * step: trial for step, trial in zip(STEPS, steps, strict=True)}
    return found


def _ways(tried: Sequence[StrengthTrial], sign: int) -> list[list[StrengthTrial]]:
    """Ways to ask for more or for less of a trait, each with its trials, the weakest first.

    They have no trial whose answers fall apart; where all do, there is one way, with that which
    falls apart least.

    Raises:
        ConfigurationError: Nothing was tried.
    """
    towards = [each for each in tried if each.strength > UNMOVED]
    away = [each for each in tried if each.strength < UNMOVED]
    if sign > 0:
        asked = [[each for each in towards if each.text == "more"]]
    else:
        asked = [[each for each in towards if each.text == "less"], away]
    if not any(asked):
        raise ConfigurationError(
            "A trait's levels are chosen among answers that were to have more of it and others "
            "that were to have less, but of one sort there are none: go on with `decode`."
        )
    ways = [[each for each in way if each.repeated <= TOLERATED] for way in asked]
    if not any(ways):
        ways = [[min(chain(*asked), key=lambda each: each.repeated)]]
    return [sorted(way, key=lambda each: abs(each.strength - UNMOVED)) for way in ways if way]


def _nearest(
    ways: Sequence[Sequence[StrengthTrial]], sign: int, scripts: frozenset[str]
) -> tuple[StrengthTrial, StrengthTrial]:
    """Of the way that comes nearest, what comes nearest to one step and to two.

    Of those that are about as near it is the weakest, and of ways that are the one by which answers
    have the contrary least often; two steps are never weaker than one. Models that show no effect
    say nothing of strengths, as where there is nothing to have less of; where none does, it is
    those of `UNSEEN`.
    """
    found = []
    for way in ways:
        curves = _curves(way, sign, scripts)
        curve = [sum(each) / len(each) for each in zip(*curves, strict=True)] or [0.0] * len(way)
        missed = [[abs(each - wanted) for each in curve] for wanted in STEPS.values()]
        if not curves:
            usual = UNSEEN[way[0].strength > -1.0]
            pair = [min(way, key=lambda each: abs(each.strength - at)) for at in usual]
        else:
            pair = [_first(way, each) for each in missed]
        found.append(((round(sum(map(min, missed)), 1), _contrary(way, sign)), pair))
    _, (one, two) = min(found, key=lambda each: each[0])
    return one, two


def _curves(
    way: Sequence[StrengthTrial], sign: int, scripts: frozenset[str]
) -> list[Sequence[float]]:
    """Effects from the weakest to the strongest, of the models that show half a step."""
    curves = []
    for model in dict.fromkeys(model for each in way for model, _ in each.signs):
        seen = [each.seen(scripts, model) for each in way]
        curves.append(growing([sign * sum(each) / len(each) if each else 0.0 for each in seen]))
    return [curve for curve in curves if curve[-1] >= STEPS[1] / 2]


def _first(way: Sequence[StrengthTrial], missed: Sequence[float]) -> StrengthTrial:
    """The weakest that is about as near as the nearest."""
    near = min(missed) + SLACK
    return next(trial for trial, far in zip(way, missed, strict=True) if far <= near)


def _contrary(way: Sequence[StrengthTrial], sign: int) -> float:
    """How often answers have the contrary of what is wanted."""
    seen = [value for each in way for value in each.signs.values()]
    return sum(value == -sign for value in seen) / len(seen)


def growing(values: Sequence[float]) -> list[float]:
    """The numbers nearest to these, in squares, that never fall (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while pools and pools[-1][0] > mean:
            before, size = pools.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def strengths(levels: Iterable[Level]) -> dict[str, dict[str, Any]]:
    """The strengths of traits' levels by the traits' names, as `Trait` has them.

    ``has_less`` says whether less of it is asked for in words of its own.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in sorted(levels, key=lambda level: abs(level.level)):
        place = found.setdefault(each.trait, {})
        name = "more_strengths" if each.level > 0 else "less_strengths"
        place.setdefault(name, []).append(each.trial.strength)
        if each.level < 0:
            place["has_less"] = each.trial.text == "less"
    return found


def level_table(model: str, levels: Iterable[Level]) -> Table:
    """Traits by levels: the effect of each on a model, and where it lies."""
    rows: dict[str, tuple[Cell, ...]] = {}
    for each in levels:
        rows[each.trait] = (*rows.get(each.trait, ()), each.effects[model])
    names = tuple(f"{level:+d}" for level in LEVELS)
    return Table(f"effect of each level: {model}", names, rows, (None,) * len(names))


def level_plot(levels: Sequence[Level]) -> Plot:
    """Effects from the lowest level to the highest, a panel per model, a line per trait."""
    models = tuple(levels[0].effects)
    figure = Figure(figsize=(4.2 * len(models) + 0.6, 3.6))
    panels = figure.subplots(1, len(models), sharey=True, squeeze=False).ravel()
    for panel, model in zip(panels, models, strict=True):
        for at, trait in enumerate(dict.fromkeys(each.trait for each in levels)):
            own = {each.level: each.effects[model].mean for each in levels if each.trait == trait}
            line = sorted((own | {0: 0.0}).items())
            panel.plot(*zip(*line, strict=True), "o-", color=nth_colour(at), label=trait, ms=3)
        panel.axhline(0.0, color="0.6", linewidth=0.8)
        panel.set_title(model, fontsize=9)
        panel.set_xticks(range(-2, 3), ["-2", "-1", "0", "+1", "+2"])
        panel.set_xlabel("level")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("more of it than without, less the contrary")
    return finished(figure, "Effects of traits by level")
