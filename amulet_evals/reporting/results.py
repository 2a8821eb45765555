"""Answers and scores as numbers, question by question, ready to be compared.

This module knows grids, answers and scores: nothing of tables or plots.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from amulet_evals.reporting.bootstrap import Floats
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.grid import Case, Grid
from amulet_evals.run.journal import rows
from amulet_evals.run.manifest import AGAINST, Metric
from amulet_evals.run.records import AnswerRecord, Failure
from amulet_evals.scorers.scoring import (
    ScoreKey,
    Values,
    read_failed,
    read_scores,
    scorable_answer,
)

DECODED: Mapping[str, Any] = MappingProxyType({"scorer": "decoding", "needs": "answer"})
"""What is known of an answer without a scorer, as if there were one."""

OF_ANSWERS: Mapping[str, Callable[[AnswerRecord], float | None]] = MappingProxyType(
    {
        "mean_kl": lambda answer: answer.mean_kl,
        "surprise": lambda answer: answer.surprise,
        "cut_off": lambda answer: float(answer.finish_reason == "length"),
        "tokens": lambda answer: float(answer.tokens),
    }
)
"""What is known of an answer without any scorer."""

# Who says least is never cut off, so that this isn't a matter of better or worse, either.
DECODED_METRICS = (
    Metric(name="mean_kl", title="KL per token", better=None, **DECODED),
    Metric(name="surprise", title="surprise, nats per token", better=None, **DECODED),
    Metric(name="cut_off", title="cut off", better=None, **DECODED),
    Metric(name="tokens", title="tokens", better=None, **DECODED),
)


@dataclass(frozen=True)
class Results:
    """A run, read from its folder.

    Attributes:
        grid: What was asked.
        answers: What was answered, by key.
        scores: Scores, by key.
        metrics: What there are scores by.
        baseline: Label of the method that the others are compared with.
        failed_scores: Why scorers' tries came to nothing, by key.
    """

    grid: Grid
    answers: Mapping[str, AnswerRecord | Failure]
    scores: Mapping[ScoreKey, Values]
    metrics: Sequence[Metric]
    baseline: str
    failed_scores: Mapping[ScoreKey, str] = field(default_factory=dict)
    _found: dict[tuple[str, str, str, str, Metric], Floats] = field(default_factory=dict)

    @property
    def main_metrics(self) -> tuple[Metric, ...]:
        """What is worth a picture: how well preferences are met, or else the attributes."""
        judging = [
            each for each in self.metrics if each.needs == "preference" or each.parity is not None
        ]
        return tuple(judging or (each for each in self.metrics if each not in DECODED_METRICS))

    def values(self, model: str, questions: str, method: str, style: str, metric: Metric) -> Floats:
        """A number per question, the mean over its samples; NaN where there is none."""
        place = model, questions, method, style, metric
        if place not in self._found:
            cases = self.grid.of(questions, style)
            self._found[place] = np.array(
                [self._mean(model, method, case, metric) for case in cases], dtype=np.float64
            )
        return self._found[place]

    def mean(self, model: str, questions: str, method: str, style: str, metric: Metric) -> float:
        """The mean of `values`."""
        return float(mean_of(self.values(model, questions, method, style, metric)))

    def by_styles(self, model: str, questions: str, method: str, metric: Metric) -> Floats:
        """The numbers of `values` for all styles: ``[styles, questions]``."""
        styles = self.grid.styles
        return np.stack([self.values(model, questions, method, each, metric) for each in styles])

    def answers_by(self, model: str, questions: str, method: str) -> list[AnswerRecord]:
        """A method's answers to a set of questions, each once."""
        tasks = dict.fromkeys(
            self.grid.task(model, method, case, sample)
            for case in self.grid.cases
            if case.questions == questions
            for sample in range(self.grid.samples)
        )
        found = (self.answers.get(task.key) for task in tasks)
        return [answer for answer in found if isinstance(answer, AnswerRecord)]

    def failures(self) -> list[Failure]:
        """Tasks that got no answer."""
        tasks = (task for model in self.grid.models for task in self.grid.tasks(model))
        found = (self.answers.get(task.key) for task in tasks)
        return [failure for failure in found if isinstance(failure, Failure)]

    def value(self, model: str, method: str, case: Case, metric: Metric, sample: int = 0) -> float:
        """The number of one answer; NaN where there is none."""
        place = model, method, case, sample
        found = scorable_answer(self.grid, self.answers, metric.needs, place, self.baseline)
        if found is None:
            return math.nan
        if metric in DECODED_METRICS:
            value = OF_ANSWERS[metric.name](found.answer)
        else:
            value = self.scores.get(found.key(metric.scorer), {}).get(metric.name)
        return math.nan if value is None else value

    def _mean(self, model: str, method: str, case: Case, metric: Metric) -> float:
        samples = range(self.grid.samples)
        found = [self.value(model, method, case, metric, sample) for sample in samples]
        return float(mean_of(np.array(found)))


def read_results(folder: RunFolder) -> Results:
    """What a run's folder holds.

    Raises:
        ConfigurationError: There is no run, or something else wrote to it.
    """
    manifest, scored = folder.manifest, list(rows(folder.scores))
    return Results(
        grid=folder.grid,
        answers=folder.read_answers(),
        scores=read_scores(scored),
        metrics=(*distinguished(manifest.metrics), *DECODED_METRICS),
        baseline=manifest.baseline,
        failed_scores=read_failed(scored),
    )


def distinguished(metrics: Sequence[Metric]) -> Iterator[Metric]:
    """The metrics, with who gives it in the title of each whose title is another's too."""
    titles = Counter(each.title for each in (*metrics, *DECODED_METRICS))
    for each in metrics:
        scorer = each.scorer.partition(AGAINST)[0]  # of a judge: the title has the baseline
        title = each.title if titles[each.title] == 1 else f"{each.title} ({scorer})"
        yield each.model_copy(update={"title": title})


def tokens_per_second(answers: Iterable[AnswerRecord]) -> float:
    """Tokens of all of them, by the time during which at least one of them was being decoded."""
    spans = sorted((answer.started, answer.started + answer.seconds) for answer in answers)
    busy, end = 0.0, -math.inf
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    tokens = sum(answer.tokens for answer in answers)
    return tokens / busy if busy else math.nan


def mean_of(values: Floats, axis: int | None = None) -> Floats:
    """The mean of what isn't NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    totals = np.where(known, values, 0.0).sum(axis)
    with np.errstate(invalid="ignore"):
        return np.asarray(totals / known.sum(axis))
