"""A run's tables: one per model, set of questions and metric, and one over all metrics.

This module knows results and tables: nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from langchain_amulet.evaluation.bootstrap import Floats
from langchain_amulet.evaluation.manifest import Metric
from langchain_amulet.evaluation.results import Results, tokens_per_second
from langchain_amulet.evaluation.tables import Cell, Table, cell

MEAN = "mean"
"""The column over all styles."""


@dataclass(frozen=True)
class NamedTable:
    """A table, and what tells it from a run's others.

    Attributes:
        model: Name of the model.
        questions: Name of the set of questions.
        metric: What it shows; None for everything.
        table: The table.
    """

    model: str
    questions: str
    metric: Metric | None
    table: Table

    @property
    def names(self) -> tuple[str, str, str, str]:
        """Model, set of questions, scorer and metric; the latter empty for everything."""
        scorer, metric = (self.metric.scorer, self.metric.name) if self.metric else ("", "")
        return self.model, self.questions, scorer, metric


def compare(results: Results) -> Iterator[NamedTable]:
    """All tables of a run: of each model and set of questions the one over all metrics first."""
    for model, questions in product(results.grid.models, results.grid.sets):
        yield NamedTable(model, questions, None, overview(results, model, questions))
        for metric in results.metrics:
            yield NamedTable(model, questions, metric, by_style(results, model, questions, metric))


def by_style(results: Results, model: str, questions: str, metric: Metric) -> Table:
    """One metric: methods down, styles and their mean across."""
    styles = results.grid.styles

    def row(method: str) -> tuple[Cell, ...]:
        return (
            *(_cell(results, model, questions, method, metric, style) for style in styles),
            _cell(results, model, questions, method, metric, None),
        )

    return Table(
        title=f"{metric.title}: {questions}, {model}",
        columns=(*styles, MEAN),
        rows={method: row(method) for method in results.grid.methods},
        better=(metric.better,) * (len(styles) + 1),
    )


def overview(results: Results, model: str, questions: str) -> Table:
    """Means over styles: methods down, metrics across, and how fast the answers came."""

    def row(method: str) -> tuple[Cell, ...]:
        given = results.given(model, method)
        means = (results.over_styles(model, questions, method, each) for each in results.metrics)
        return (*(cell(values) for values in means), Cell(tokens_per_second(given), len(given)))

    return Table(
        title=f"Means over styles: {questions}, {model}",
        columns=(*(metric.title for metric in results.metrics), "tokens per second"),
        rows={method: row(method) for method in results.grid.methods},
        better=(*(metric.better for metric in results.metrics), "higher"),
    )


def _cell(
    results: Results, model: str, questions: str, method: str, metric: Metric, style: str | None
) -> Cell:
    """A cell; None for the mean over styles."""

    def values(label: str) -> Floats:
        if style is None:
            return results.over_styles(model, questions, label, metric)
        return results.values(model, questions, label, style, metric)

    own = values(method)
    if metric.parity is not None:
        return cell(own, np.full_like(own, metric.parity))
    return cell(own, None if method == results.baseline else values(results.baseline))
