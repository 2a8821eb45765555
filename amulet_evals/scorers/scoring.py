"""Answers to scores: what every scorer is, and how scores get on disk.

A scorer turns answers into scores one by one, and each is written as it comes, so that a killed
run goes on where it stopped. What a scorer doesn't read isn't shown to it: an attribute of an
answer is counted once, whatever the preferences it is compared under.

This module knows answers and journals: nothing of what any scorer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from amulet_evals.run.grid import Case, Grid
from amulet_evals.run.journal import Journal
from amulet_evals.run.manifest import Metric, Needs
from amulet_evals.run.records import AnswerRecord, Failure

Values = Mapping[str, float | None]
"""Numbers by their names; None where there can't be one."""

ScoreKey = tuple[str, str, str | None, str | None]
"""Scorer, key of the answer, preference, key of the baseline's answer."""


@dataclass(frozen=True)
class ScorableAnswer:
    """What is scored.

    Attributes:
        question: The question.
        answer: The answer.
        preference: How the answer was wanted; None if that isn't read.
        baseline: What the baseline answered; None if that isn't read.
    """

    question: str
    answer: AnswerRecord
    preference: str | None = None
    baseline: AnswerRecord | None = None

    def key(self, scorer: str) -> ScoreKey:
        """The name of its score."""
        baseline = None if self.baseline is None else self.baseline.task.key
        return scorer, self.answer.task.key, self.preference, baseline


@dataclass(frozen=True)
class Score:
    """What a scorer says of an answer: values, or why there are none."""

    item: ScorableAnswer
    values: Values
    error: str | None = None


class Scorer(Protocol):
    """Who scores.

    Attributes:
        name: Its name in the files.
        needs: What it reads.
        metrics: Which of its values tables show.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def needs(self) -> Needs: ...  # noqa: D102

    @property
    def metrics(self) -> tuple[Metric, ...]: ...  # noqa: D102

    def score(self, items: Sequence[ScorableAnswer]) -> Iterator[Score]:
        """The scores, in any order, each as soon as it is known."""
        ...


Answers = Mapping[str, AnswerRecord | Failure]


def scorable_answer(
    grid: Grid, answers: Answers, needs: Needs, place: tuple[str, str, Case, int], baseline: str
) -> ScorableAnswer | None:
    """What a scorer with these needs is shown of one place in the grid.

    Args:
        grid: What was asked.
        answers: What was answered, by key.
        needs: What is read.
        place: Model, label of the method, case, and which of the samples.
        baseline: Label of the method that the others are compared with.

    Returns:
        None where an answer is missing, or would be compared with itself.
    """
    model, method, case, number = place
    found = answers.get(grid.task(model, method, case, number).key)
    if not isinstance(found, AnswerRecord):
        return None
    if needs == "answer":
        return ScorableAnswer(case.question, found)
    if needs == "preference":
        return ScorableAnswer(case.question, found, case.preference)
    other = answers.get(grid.task(model, baseline, case, number).key)
    if method == baseline or not isinstance(other, AnswerRecord):
        return None
    return ScorableAnswer(case.question, found, case.preference, other)


def scorable_answers(
    grid: Grid, answers: Answers, needs: Needs, baseline: str
) -> Iterator[ScorableAnswer]:
    """All that a scorer with these needs is to score; the same one may come more than once."""
    for model in grid.models:
        for method in grid.methods:
            for case in grid.cases:
                for number in range(grid.samples):
                    place = model, method, case, number
                    item = scorable_answer(grid, answers, needs, place, baseline)
                    if item is not None:
                        yield item


def score_all(
    scorer: Scorer,
    found: Iterable[ScorableAnswer],
    known: Mapping[ScoreKey, Any],
    journal: Journal,
    on_progress: Callable[[int, int], None],
) -> None:
    """Have everything scored that isn't known yet, and write it down.

    Args:
        scorer: Who scores.
        found: What there is.
        known: What was scored before.
        journal: Where scores are written.
        on_progress: Called with how many are done, and of how many.
    """
    by_key = {item.key(scorer.name): item for item in found}
    new = [item for key, item in by_key.items() if key not in known]
    on_progress(len(by_key) - len(new), len(by_key))
    for done, score in enumerate(scorer.score(new), 1):
        journal.append(_row(scorer.name, score))
        on_progress(len(by_key) - len(new) + done, len(by_key))


def read_scores(rows: Iterable[Mapping[str, Any]]) -> dict[ScoreKey, Values]:
    """The scores that didn't fail, by their keys."""
    return {_key(row): row["values"] for row in rows if "error" not in row}


def read_failed(rows: Iterable[Mapping[str, Any]]) -> dict[ScoreKey, str]:
    """Why scores failed that never came to anything since, by their keys."""
    failed: dict[ScoreKey, str] = {}
    for row in rows:
        failed.pop(_key(row), None)
        if "error" in row:
            failed[_key(row)] = row["error"]
    return failed


def _key(row: Mapping[str, Any]) -> ScoreKey:
    return row["scorer"], row["answer"], row["preference"], row["baseline"]


def _row(scorer: str, score: Score) -> dict[str, Any]:
    names = dict(
        zip(("scorer", "answer", "preference", "baseline"), score.item.key(scorer), strict=True)
    )
    error = {} if score.error is None else {"error": score.error}
    return {**names, "values": dict(score.values), **error}
