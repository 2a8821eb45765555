"""Where a run keeps what it has: one folder, written by one process at a time.

=================  ========================================================
run.json           what it was made with, see `manifest`
questions.jsonl    what was asked, with the preference of every style
answers.jsonl      an answer or a failure a line, see `records`
traces.jsonl       tokens with their probabilities, of a few questions
scores.jsonl       scores, see `scoring`
report/            tables, plots and a page, see `report`
=================  ========================================================

This module knows files: nothing of models or scores.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from amulet_evals.run import journal
from amulet_evals.run.grid import Case, Grid
from amulet_evals.run.manifest import Manifest
from amulet_evals.run.records import AnswerRecord, Failure, read_answers
from langchain_amulet.errors import ConfigurationError


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Name the files; none needs to be there."""
        self.path = path
        self.answers = path / "answers.jsonl"
        self.traces = path / "traces.jsonl"
        self.scores = path / "scores.jsonl"
        self.report = path / "report"
        self._manifest = path / "run.json"
        self._questions = path / "questions.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that writes here, until the block is left.

        Raises:
            ConfigurationError: Another process writes here, or nobody can.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise ConfigurationError(
                f"One process at a time writes to a run, and another one writes to "
                f"{str(self.path)!r}: wait for it, or name a new folder."
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"A run's folder must be a place to write to, but {str(self.path)!r} isn't: "
                f"{error.strerror}. Name another."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, manifest: Manifest, cases: Iterable[Case]) -> Manifest:
        """Write down what the run is made with; returns it with what was there before.

        A run without a single answer has nothing to be comparable with, and begins anew.

        Raises:
            ConfigurationError: The run was begun with something else, see `Manifest.continuing`.
        """
        if self._manifest.exists():
            earlier = self.manifest
            if any(isinstance(each, AnswerRecord) for each in self.read_answers().values()):
                manifest = manifest.continuing(earlier)
        _replace(self._questions, b"".join(journal.line(asdict(case)) for case in cases))
        self.write(manifest)
        return manifest

    def write(self, manifest: Manifest) -> None:
        """Write down what the run is made with."""
        _replace(self._manifest, manifest.model_dump_json(indent=2).encode() + b"\n")

    @property
    def manifest(self) -> Manifest:
        """What the run is made with.

        Raises:
            ConfigurationError: There is no run here.
        """
        try:
            return Manifest.model_validate_json(self._manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{str(self.path)!r} must be the folder of an evaluation, but its run.json can't "
                f"be read: {error}. Name the folder that `evaluate` wrote to."
            ) from error

    @property
    def grid(self) -> Grid:
        """What the report is about."""
        manifest = self.manifest
        methods = {label: manifest.methods[label] for label in manifest.labels}
        cases = tuple(Case(**row) for row in journal.rows(self._questions))
        return Grid(manifest.models, methods, cases, manifest.samples)

    def read_answers(self) -> dict[str, AnswerRecord | Failure]:
        """Everything that was answered, by key."""
        return read_answers(journal.rows(self.answers))


def _replace(path: Path, content: bytes) -> None:
    """Put a whole file in the place of another, so that nobody ever sees half of it."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content)
    os.replace(draft, path)
