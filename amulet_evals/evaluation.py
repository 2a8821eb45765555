"""An evaluation from beginning to end: decode, score, report.

This module connects the parts: each of them does its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from amulet_evals.config import Evaluation
from amulet_evals.reporting.report import report
from amulet_evals.run.answering import Answering, OnProgress
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.journal import Journal, rows
from amulet_evals.scorers.functions import AttributeScorer, EchoScorer, FunctionScorer
from amulet_evals.scorers.judge import JudgeScorer
from amulet_evals.scorers.rewards import RewardScorer
from amulet_evals.scorers.scoring import Scorer, read_scores, scorable_answers, score_all
from langchain_amulet.validation import check_callable, check_type


def evaluate(
    evaluation: Evaluation,
    folder: Path | str,
    on_progress: OnProgress = lambda what, done, total: None,
) -> Path:
    """Do what is left to do of an evaluation, and make its report.

    Whatever was done before in the same folder counts, whether that run came to its end, was
    stopped or was killed. Answers and scores that failed are tried once more. It runs an event
    loop of its own: from within another, call it by ``asyncio.to_thread``.

    Args:
        evaluation: What is compared.
        folder: Where everything is kept.
        on_progress: Called whenever an answer or a score is done.

    Returns:
        The folder of the report.

    Raises:
        ConfigurationError: Something in ``evaluation`` can't work, or isn't what the run in
            ``folder`` was begun with.
        ModelNotFoundError: A model that is still to answer, or that a method needs, isn't there.
        RequestError: A method can't decode with these settings.
    """
    check_type("evaluation", evaluation, Evaluation)
    check_type("folder", folder, Path, str)
    check_callable("on_progress", on_progress)
    work = Answering(evaluation, RunFolder(Path(folder)), on_progress)
    scorers = tuple(_scorers(evaluation))
    work.find_models()
    with work.run.locked():
        work.decode(metric for scorer in scorers for metric in scorer.metrics)
        for scorer in scorers:
            _score(work, scorer)
        return report(work.run.path)


def _score(work: Answering, scorer: Scorer) -> None:
    """Have everything scored that isn't."""
    run = work.run
    answers, known = run.read_answers(), read_scores(rows(run.scores))
    found = scorable_answers(work.grid, answers, scorer.needs, work.evaluation.baseline)
    with Journal(run.scores) as journal:
        score_all(scorer, found, known, journal, partial(work.on_progress, scorer.name))


def _scorers(evaluation: Evaluation) -> Iterator[Scorer]:
    scoring = evaluation.scoring
    for path in scoring.functions:
        yield FunctionScorer(path)
    for reward in scoring.reward_models:
        yield RewardScorer(reward)
    if scoring.judge is not None:
        yield JudgeScorer(scoring.judge, evaluation.baseline, evaluation.concurrency)
    if scoring.attributes:
        yield AttributeScorer()
        yield EchoScorer(evaluation.decoding.system or "")
