"""What steering brings on questions, and what it costs: style beside nearness to the question.

How far an answer is in style is told by its **effect**, see `amulet_evals.study.said`: how often it
has more of what was wished for than the plain answer to the same question, less how often it has
less.

Knows a run's results, tables and pictures. Doesn't know how answers were decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from amulet_evals.reporting.bootstrap import Floats
from amulet_evals.reporting.plots import Plot, nth_colour
from amulet_evals.reporting.results import Results, mean_of
from amulet_evals.reporting.tables import Table, compared
from amulet_evals.run.grid import Case
from amulet_evals.run.manifest import Metric
from amulet_evals.scorers.scoring import scorable_answer
from amulet_evals.scorers.trait_measures import OF_STYLE
from amulet_evals.study.asked import PLAIN
from amulet_evals.study.said import sign
from langchain_amulet.errors import ConfigurationError

COSTS = ("nearness", "surprise", "repetition", "words", "mean_kl")
"""Names of the metrics that a table shows beside the effect, where a run has them."""


@dataclass(frozen=True)
class TradeOff:
    """One model's answers to one set of questions.

    Attributes:
        results: The run.
        model: Name of the model.
        questions: Name of the set.
    """

    results: Results
    model: str
    questions: str

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What there is of `COSTS`, in that order."""
        found = {each.name: each for each in self.results.metrics}
        return tuple(found[name] for name in COSTS if name in found)

    def effects(self, method: str) -> Floats:
        """Per question, the mean over the styles; NaN where there is no answer."""
        found = [
            [
                self._effect(method, style, case)
                for case in self.results.grid.of(self.questions, style)
            ]
            for style in self.results.grid.styles
        ]
        return mean_of(np.array(found), axis=0)

    def costs(self, method: str, metric: Metric) -> Floats:
        """A metric per question, the mean over the styles."""
        return mean_of(self.results.by_styles(self.model, self.questions, method, metric), axis=0)

    def _effect(self, method: str, style: str, case: Case) -> float:
        samples = range(self.results.grid.samples)
        return float(mean_of(np.array([self._sign(method, style, case, at) for at in samples])))

    def _sign(self, method: str, style: str, case: Case, sample: int) -> float:
        measure = OF_STYLE[style]
        own, plain = (self._text(each, case, sample) for each in (method, PLAIN))
        return math.nan if own is None or plain is None else sign(measure(own), measure(plain))

    def _text(self, method: str, case: Case, sample: int) -> str | None:
        place = self.model, method, case, sample
        found = scorable_answer(
            self.results.grid, self.results.answers, "answer", place, self.results.baseline
        )
        return None if found is None else found.answer.text


def trade_offs(results: Results) -> Iterator[TradeOff]:
    """One for each model and set of questions.

    Raises:
        ConfigurationError: A style can't be counted, no method answers plainly, or the baseline is
            none of the methods.
    """
    uncounted = set(results.grid.styles) - OF_STYLE.keys()
    if uncounted or PLAIN not in results.grid.methods:
        raise ConfigurationError(
            f"A trade-off is of a run whose styles are among {', '.join(OF_STYLE)} and that has a "
            f"method {PLAIN!r}, but this one has {len(uncounted)} other styles and the methods "
            f"{', '.join(results.grid.methods)}: name the folder of one of the study's runs."
        )
    if results.baseline not in results.grid.methods:
        raise ConfigurationError(
            f"Methods are held against one of them, but {results.baseline!r} is none: name one of "
            f"{', '.join(map(repr, results.grid.methods))}."
        )
    for model in results.grid.models:
        for questions in results.grid.sets:
            yield TradeOff(results, model, questions)


def trade_off_table(found: TradeOff) -> Table:
    """A row per method, with where the difference from the baseline lies."""
    numbers = {
        method: [found.effects(method), *(found.costs(method, each) for each in found.metrics)]
        for method in found.results.grid.methods
    }
    rows = compared(numbers, found.results.baseline)
    columns = ("in style", *(each.title for each in found.metrics))
    return Table(f"{found.questions}: {found.model}", columns, rows, (None,) * len(columns))


def trade_off_plot(found: TradeOff) -> Plot:
    """Effects against the first of the costs, a point per method."""
    metric = found.metrics[0]
    figure = Figure(figsize=(7.6, 4.0))
    panel = figure.subplots()
    methods = [method for method in found.results.grid.methods if method != PLAIN]
    for at, method in enumerate(methods):
        across, up = mean_of(found.effects(method)), mean_of(found.costs(method, metric))
        panel.scatter([across], [up], 60, color=nth_colour(at), label=method)
    panel.set_xlabel("more in style than without, less the contrary")
    panel.set_ylabel(metric.title)
    panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Plot(f"Trade-off: {found.questions}, {found.model}", figure)
