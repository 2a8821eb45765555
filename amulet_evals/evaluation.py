"""An evaluation from beginning to end: decode, score, report.

This module connects the parts: each of them does its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from amulet_evals.config import Evaluation, Scoring
from amulet_evals.reporting.report import report
from amulet_evals.run.answering import Answering, OnProgress
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.journal import Journal, rows
from amulet_evals.run.manifest import Manifest
from amulet_evals.scorers.functions import AttributeScorer, EchoScorer, FunctionScorer
from amulet_evals.scorers.judge import JudgeScorer
from amulet_evals.scorers.nearness import NearnessScorer
from amulet_evals.scorers.rewards import RewardScorer
from amulet_evals.scorers.scoring import Scorer, read_scores, scorable_answers, score_all
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.checks import check_callable, check_type


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
        return _scored(work.run, scorers, on_progress)


def score(
    folder: Path | str,
    scoring: Scoring | None = None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Path:
    """Score the answers that a run has, whole or not, and decode nothing.

    The report is about the methods that have answered everything: a mean over some styles says
    nothing beside a mean over all. Going on with the run puts the others back.

    Args:
        folder: The run's folder.
        scoring: How answers are scored; None for what the run's settings say.
        on_progress: Called now and then with what is being scored, how much is, and of how much.

    Returns:
        The report's folder.

    Raises:
        ConfigurationError: There is no run, another process writes to it, or the baseline hasn't
            answered everything.
        ModelNotFoundError: A model to score with isn't there.
    """
    check_type("folder", folder, Path, str)
    check_type("scoring", scoring, Scoring, type(None))
    check_callable("on_progress", on_progress)
    run = RunFolder(Path(folder))
    settings = run.manifest.settings
    if scoring is not None:
        settings = {**settings, "scoring": scoring.model_dump(mode="json")}
    evaluation = Evaluation.model_validate(settings)
    scorers = tuple(_scorers(evaluation))
    with run.locked():
        run.write(_narrowed(run, evaluation, scorers))
        return _scored(run, scorers, on_progress)


def _scored(run: RunFolder, scorers: Iterable[Scorer], on_progress: OnProgress) -> Path:
    """Have everything scored that isn't; returns the report's folder."""
    grid, baseline, answers = run.grid, run.manifest.baseline, run.read_answers()
    for scorer in scorers:
        found = scorable_answers(grid, answers, scorer.needs, baseline)
        known = read_scores(rows(run.scores))
        with Journal(run.scores) as journal:
            score_all(scorer, found, known, journal, partial(on_progress, scorer.name))
    return report(run.path)


def _narrowed(run: RunFolder, evaluation: Evaluation, scorers: Iterable[Scorer]) -> Manifest:
    """What a run is made with, about those methods alone that have answered everything."""
    manifest, answers = run.manifest, run.read_answers()
    notes = {label: manifest.methods[label] for label in evaluation.methods}
    asked = replace(run.grid, methods=notes)
    tasks = (task for model in asked.models for task in asked.tasks(model))
    unfinished = {task.method for task in tasks if task.key not in answers}
    if evaluation.baseline in unfinished:
        raise ConfigurationError(
            "Methods are compared with one that has answered everything, but the baseline "
            f"{evaluation.baseline!r} hasn't: go on with the run, or name another baseline."
        )
    updated = manifest.model_copy(
        update={
            "settings": evaluation.model_dump(mode="json"),
            "metrics": tuple(metric for scorer in scorers for metric in scorer.metrics),
            "labels": tuple(label for label in notes if label not in unfinished),
            "baseline": evaluation.baseline,
            "sessions": (),  # of those that made answers, which this one doesn't
        }
    )
    return updated.continuing(manifest)


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
    if scoring.nearness is not None:
        yield NearnessScorer(scoring.nearness)
