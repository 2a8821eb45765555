"""An evaluation from beginning to end: decode, score, report.

This module connects the parts: each of them does its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from amulet_evals.config import Evaluation
from amulet_evals.data.questions import QuestionSet, read_sets
from amulet_evals.data.styles import read_styles
from amulet_evals.method_spec import method_of
from amulet_evals.reporting.report import report
from amulet_evals.run.decoding import Decoder
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.grid import Grid, Task, cases, method_note
from amulet_evals.run.journal import Journal, rows
from amulet_evals.run.manifest import Manifest, fingerprints, session
from amulet_evals.run.records import AnswerRecord
from amulet_evals.scorers.functions import AttributeScorer, EchoScorer, FunctionScorer
from amulet_evals.scorers.judge import JudgeScorer
from amulet_evals.scorers.rewards import RewardScorer
from amulet_evals.scorers.scoring import Scorer, read_scores, scorable_answers, score_all
from langchain_amulet import ChatAmulet
from langchain_amulet.engine.backends import HUGGING_FACE
from langchain_amulet.engine.loading.hub import check_exists, resolve_model
from langchain_amulet.methods import Guidance, Method
from langchain_amulet.methods.method import plan_of
from langchain_amulet.validation import check_callable, check_type

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


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
    work = _Work(evaluation, RunFolder(Path(folder)), on_progress)
    scorers = tuple(_scorers(evaluation))
    manifest = work.manifest(scorers)
    work.find_models()
    with work.run.locked():
        manifest = work.run.begin(manifest, work.grid.cases)
        for model in work.grid.models:
            manifest = work.decode(model, manifest)
        for scorer in scorers:
            work.score(scorer)
        return report(work.run.path)


@dataclass(frozen=True)
class _Work:
    """An evaluation and its folder, with all that was read."""

    evaluation: Evaluation
    run: RunFolder
    on_progress: OnProgress

    @cached_property
    def methods(self) -> dict[str, Method]:
        """Methods by their labels."""
        return {label: method_of(each) for label, each in self.evaluation.methods.items()}

    @cached_property
    def sets(self) -> tuple[QuestionSet, ...]:
        """The questions."""
        evaluation = self.evaluation
        return read_sets(evaluation.questions, evaluation.limit, evaluation.decoding.seed)

    @cached_property
    def grid(self) -> Grid:
        """Every answer that the evaluation needs."""
        evaluation = self.evaluation
        styles = read_styles(evaluation.preferences)
        return Grid(
            models=evaluation.models,
            methods={label: method_note(method) for label, method in self.methods.items()},
            cases=cases(self.sets, styles, evaluation.decoding.seed),
            samples=evaluation.samples,
        )

    def manifest(self, scorers: tuple[Scorer, ...]) -> Manifest:
        """What the run is made with, but for weights that aren't loaded yet."""
        evaluation, grid = self.evaluation, self.grid
        return Manifest(
            settings=evaluation.model_dump(mode="json"),
            methods=dict(grid.methods),
            metrics=tuple(metric for scorer in scorers for metric in scorer.metrics),
            models=grid.models,
            labels=tuple(grid.methods),
            samples=grid.samples,
            baseline=evaluation.baseline,
            sessions=(session(),),
        )

    def find_models(self) -> None:
        """Make sure that all models are there that answers are still missing of.

        Raises:
            ModelNotFoundError: One isn't.
        """
        if self.evaluation.load.get("backend", "auto") not in HUGGING_FACE:
            return  # where an own backend finds its models is known to itself alone
        for model in self.grid.models:
            used = {task.method: self.methods[task.method] for task in self._missing(model)}
            if used:
                check_exists(resolve_model(model), self.evaluation.load.get("revision"))
            for other in _other_models(used):
                check_exists(resolve_model(other))

    def decode(self, model: str, manifest: Manifest) -> Manifest:
        """Have a model answer what it hasn't; returns the manifest with its weights."""
        tasks = list(self.grid.tasks(model))
        missing = self._missing(model)
        report_done = partial(self.on_progress, f"answers of {model}")
        report_done(len(tasks) - len(missing), len(tasks))
        if not missing:
            return manifest
        with (
            ChatAmulet(model=model, **self.evaluation.load) as llm,
            Journal(self.run.answers) as answers,
            Journal(self.run.traces) as traces,
        ):
            used = {task.method: self.methods[task.method] for task in missing}
            decoder = Decoder(llm, used, self.evaluation.decoding, answers, traces, self._traced)
            decoder.warm_up()
            others = dict.fromkeys(_other_models(used))  # of which the newest is always used
            manifest = manifest.with_weights(fingerprints({**others, model: llm.revision}))
            self.run.write(manifest)
            before = len(tasks) - len(missing)
            asyncio.run(
                decoder.decode(
                    missing,
                    self.evaluation.concurrency,
                    lambda done: report_done(before + done, len(tasks)),
                )
            )
        return manifest

    def score(self, scorer: Scorer) -> None:
        """Have everything scored that isn't."""
        answers, known = self.run.read_answers(), read_scores(rows(self.run.scores))
        found = scorable_answers(self.grid, answers, scorer.needs, self.evaluation.baseline)
        with Journal(self.run.scores) as journal:
            score_all(scorer, found, known, journal, partial(self.on_progress, scorer.name))

    def _missing(self, model: str) -> list[Task]:
        """What a model is still to answer."""
        known = self.run.read_answers()
        tasks = self.grid.tasks(model)
        return [task for task in tasks if not isinstance(known.get(task.key), AnswerRecord)]

    @property
    def _traced(self) -> frozenset[str]:
        """The questions whose answers' tokens are kept."""
        count = self.evaluation.traced
        return frozenset(each.text for found in self.sets for each in found.questions[:count])


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


def _other_models(methods: dict[str, Method]) -> Iterator[str]:
    """Names of models that methods need besides the one that answers."""
    for method in methods.values():
        yield from plan_of(method, (Guidance(),)).models
