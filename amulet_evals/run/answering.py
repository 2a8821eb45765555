"""The answers that an evaluation needs: which are missing, and having them decoded.

Knows an evaluation's settings and its folder. Doesn't know scorers or what is reported, and
imports nothing that only they need: answers may be decoded on one machine and scored on another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from amulet_evals.config import Evaluation
from amulet_evals.data.questions import QuestionSet, read_sets
from amulet_evals.data.styles import read_styles, with_examples
from amulet_evals.method_spec import method_of
from amulet_evals.run.decoding import Decoder
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.grid import Grid, Task, cases, method_note
from amulet_evals.run.journal import Journal
from amulet_evals.run.manifest import Manifest, Metric, fingerprints, session
from amulet_evals.run.records import AnswerRecord
from langchain_amulet import ChatAmulet
from langchain_amulet.engine.backends import HUGGING_FACE
from langchain_amulet.engine.loading.hub import check_exists, resolve_model
from langchain_amulet.methods import Guidance, Method
from langchain_amulet.methods.method import plan_of

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True)
class Answering:
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
        styles = with_examples(read_styles(evaluation.preferences), evaluation.examples)
        return Grid(
            models=evaluation.models,
            methods={label: method_note(method) for label, method in self.methods.items()},
            cases=cases(self.sets, styles, evaluation.decoding.seed),
            samples=evaluation.samples,
        )

    def manifest(self, metrics: Iterable[Metric] = ()) -> Manifest:
        """What the run is made with, but for weights that aren't loaded yet."""
        evaluation, grid = self.evaluation, self.grid
        return Manifest(
            settings=evaluation.model_dump(mode="json"),
            methods=dict(grid.methods),
            metrics=tuple(metrics),
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

    def decode(self, metrics: Iterable[Metric] = ()) -> None:
        """Have all models answer what they haven't. The run's folder is the caller's alone.

        Args:
            metrics: What the answers are to be scored by.
        """
        manifest = self.run.begin(self.manifest(metrics), self.grid.cases)
        for model in self.grid.models:
            manifest = self._decode(model, manifest)

    def _decode(self, model: str, manifest: Manifest) -> Manifest:
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


def _other_models(methods: dict[str, Method]) -> Iterator[str]:
    """Names of models that methods need besides the one that answers."""
    for method in methods.values():
        yield from plan_of(method, (Guidance(),)).models
