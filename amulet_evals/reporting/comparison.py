"""A run's tables: one per model, set of questions and metric, and one over all metrics.

This module knows results and tables: nothing of files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from amulet_evals.reporting.bootstrap import Floats
from amulet_evals.reporting.results import Results, mean_of, tokens_per_second
from amulet_evals.reporting.tables import Cell, Table, cell
from amulet_evals.run.manifest import Metric
from langchain_amulet.validation.wording import message_of

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

    def row(method: str) -> tuple[Cell, ...]:
        own = results.by_styles(model, questions, method, metric)
        differences = _differences(results, model, questions, method, metric)
        if differences is None:
            return tuple(map(cell, _with_mean(own)))
        return tuple(map(cell, _with_mean(own), _with_mean(differences)))

    styles = results.grid.styles
    return Table(
        title=f"{metric.title}: {questions}, {model}",
        columns=(*styles, MEAN),
        rows={method: row(method) for method in results.grid.methods},
        better=(metric.better,) * (len(styles) + 1),
    )


def overview(results: Results, model: str, questions: str) -> Table:
    """Means over styles: methods down, metrics across, and how fast the answers came."""

    def row(method: str) -> tuple[Cell, ...]:
        answers = results.answers_by(model, questions, method)
        every = (results.by_styles(model, questions, method, each) for each in results.metrics)
        speed = Cell(tokens_per_second(answers), len({each.task.question for each in answers}))
        return (*(cell(mean_of(values, axis=0)) for values in every), speed)

    return Table(
        title=f"Means over styles: {questions}, {model}",
        columns=(*(metric.title for metric in results.metrics), "tokens per second"),
        rows={method: row(method) for method in results.grid.methods},
        better=(*(metric.better for metric in results.metrics), "higher"),
    )


def footnote(results: Results) -> str:
    """What a reader of the tables has to know."""
    failed = {"answers": len(results.failures()), "scores": len(results.failed_scores)}
    missing = "".join(f" {count} {what} failed." for what, count in failed.items() if count)
    return (
        f"In brackets: where the difference from {results.baseline} lies, and of a win rate that "
        f"from a half (paired bootstrap over questions, 95 %).{missing}"
    )


def failures(results: Results) -> Iterator[str]:
    """A line on the answers that failed, and one on each scorer's scores: how many, and why."""
    failed = results.failures()
    if failed:
        tasks = sum(len(list(results.grid.tasks(model))) for model in results.grid.models)
        why = f"{failed[0].kind}: {failed[0].message}"
        yield _failed(f"{len(failed)} of {tasks} answers", why, "answers.jsonl")
    for scorer in dict.fromkeys(key[0] for key in results.failed_scores):
        reasons = [why for key, why in results.failed_scores.items() if key[0] == scorer]
        tried = len(reasons) + sum(key[0] == scorer for key in results.scores)
        what = f"{len(reasons)} of {tried} scores by {scorer}"
        yield _failed(what, reasons[0], "scores.jsonl")


def _failed(what: str, why: str, file: str) -> str:
    return f"{what} failed. The first: {message_of(why)}. All are in {file}; run again to retry."


def _differences(
    results: Results, model: str, questions: str, method: str, metric: Metric
) -> Floats | None:
    """From the baseline, case by case, ``[styles, questions]``; None for the baseline itself."""
    own = results.by_styles(model, questions, method, metric)
    if metric.parity is not None:
        return own - metric.parity
    if method == results.baseline:
        return None
    return own - results.by_styles(model, questions, results.baseline, metric)


def _with_mean(values: Floats) -> tuple[Floats, ...]:
    """A row per style and their mean.

    Of differences, what either side lacks in one style is thus left out on both.
    """
    return (*values, mean_of(values, axis=0))
