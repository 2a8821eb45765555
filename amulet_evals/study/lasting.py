"""Does a wish last? How far answers are in style at every turn of conversations.

Knows effects, tables and pictures. Doesn't know how answers were decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from types import MappingProxyType

import numpy as np
from matplotlib.figure import Figure

from amulet_evals.reporting.bootstrap import Floats, interval
from amulet_evals.reporting.plots import Plot, finished, nth_colour
from amulet_evals.reporting.results import mean_of
from amulet_evals.reporting.tables import Table, compared
from amulet_evals.scorers.attributes import repetition
from amulet_evals.scorers.trait_measures import OF_STYLE, Measure
from amulet_evals.study.asked import LASTING
from amulet_evals.study.said import BASELINE, Said, sign

WHERE: Mapping[str, str] = MappingProxyType(
    {"system": "wished in the system message", "user": "wished in each last message"}
)
"""What placements mean."""

SPANS = ((1, 1), (2, 5), (6, 10), (11, 15), (16, 20))
"""Turns that a column of a table is the mean of, from the first to the last."""

FEWEST = 0.5
"""Share of the talks that must have got to a turn for it to be shown. Of a run that was cut short
those with short answers are the farthest, and they are another sort of talks."""


@dataclass(frozen=True)
class Lasting:
    """One model's conversations.

    Attributes:
        model: Its name.
        said: All of its answers.
    """

    model: str
    said: Sequence[Said]

    @cached_property
    def base(self) -> Mapping[str, Sequence[Said]]:
        """What was answered where nothing was preferred, by script."""
        found: dict[str, list[Said]] = {}
        for each in self.said:
            if each.style is None:
                found.setdefault(each.script, []).append(each)
        return found

    @cached_property
    def talks(self) -> Mapping[tuple[str, str], int]:
        """Scripts in styles, numbered."""
        styles = {each.style for each in self.said if each.style}
        pairs = product(sorted(self.base), sorted(styles))
        return {pair: at for at, pair in enumerate(pairs)}

    @cached_property
    def turns(self) -> int:
        """Turns of the longest conversation."""
        return max(each.turn for each in self.said)

    @cached_property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """Methods with the placements that they were tried at."""
        found = {(each.placement, each.method) for each in self.said if each.style}
        return tuple(sorted(found, key=lambda way: (way[0], LASTING.index(way[1]))))

    @property
    def placements(self) -> tuple[str, ...]:
        """Where preferences were."""
        return tuple(dict.fromkeys(placement for placement, _ in self.ways))

    def methods(self, placement: str) -> tuple[str, ...]:
        """What was tried at a placement."""
        return tuple(method for place, method in self.ways if place == placement)

    def effects(self, placement: str, method: str) -> Floats:
        """Effects by talk and turn, ``[talks, turns]``; NaN where there is no answer.

        An answer is held against every plain answer of its script.
        """

        def number(said: Said) -> float:
            measure = self._measures[said.style or ""]
            own = measure(said.text)
            others = [measure(each.text) for each in self.base[said.script]]
            return float(mean_of(np.array([sign(own, each) for each in others])))

        return self._laid_out(placement, method, number)

    def repeated(self, placement: str, method: str) -> Floats:
        """Shares of repeated 4-grams, likewise."""
        return self._laid_out(placement, method, lambda each: repetition(each.text))

    @cached_property
    def _measures(self) -> Mapping[str, Measure]:
        return {style: cache(measure) for style, measure in OF_STYLE.items()}

    def _laid_out(self, placement: str, method: str, number: Callable[[Said], float]) -> Floats:
        found = np.full((len(self.talks), self.turns), np.nan)
        for each in self.said:
            row = self.talks.get((each.script, each.style or ""))
            if row is not None and (each.placement, each.method) == (placement, method):
                found[row, each.turn - 1] = number(each)
        there = np.count_nonzero(~np.isnan(found), axis=0)
        found[:, there < FEWEST * there.max(initial=0)] = np.nan
        return found


def effect_table(lasting: Lasting, placement: str) -> Table:
    """Effects at spans of turns, beside the differences from prompting; the last says what fades.

    That is the effect at the second of the spans less that at the first turn.
    """
    return _table(lasting, placement, "in style", lasting.effects)


def repetition_table(lasting: Lasting, placement: str) -> Table:
    """Shares of repeated 4-grams, likewise."""
    return _table(lasting, placement, "repeated 4-grams", lasting.repeated)


def _table(
    lasting: Lasting, placement: str, title: str, numbers: Callable[[str, str], Floats]
) -> Table:
    shown = [(first, min(last, lasting.turns)) for first, last in SPANS if first <= lasting.turns]

    def spans(method: str) -> list[Floats]:
        found = numbers(placement, method)
        means = [mean_of(found[:, first - 1 : last], axis=1) for first, last in shown]
        return [*means, *(second - means[0] for second in means[1:2])]

    rows = compared({method: spans(method) for method in lasting.methods(placement)}, BASELINE)
    names = (f"turns {a} to {b}" if a < b else f"turn {a}" for a, b in shown)
    columns = (*names, *("second less first" for _ in shown[1:2]))
    neither = (None,) * len(columns)
    return Table(f"{title}, {WHERE[placement]}: {lasting.model}", columns, rows, neither)


def turn_plot(lasting: Lasting) -> Plot:
    """Effects from the first turn to the last, a panel per placement, with where means lie."""
    placements = lasting.placements
    figure = Figure(figsize=(4.2 * len(placements) + 0.6, 3.4))
    panels = figure.subplots(1, len(placements), sharey=True, squeeze=False).ravel()
    places = np.arange(1, lasting.turns + 1)
    for panel, placement in zip(panels, placements, strict=True):
        for method in lasting.methods(placement):
            found = lasting.effects(placement, method)
            colour = nth_colour(LASTING.index(method))
            bounds = [interval(column) for column in found.T]
            low, high = (
                [getattr(each, end) if each else np.nan for each in bounds]
                for end in ("low", "high")
            )
            panel.plot(places, mean_of(found, axis=0), color=colour, label=method)
            panel.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        panel.axhline(0.0, color="0.6", linewidth=0.8)
        panel.set_title(WHERE[placement], fontsize=9)
        panel.set_xlabel("turn")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("more in style than without, less the contrary")
    return finished(figure, f"Style by turn: {lasting.model}")
