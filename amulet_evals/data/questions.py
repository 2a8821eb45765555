"""What is asked: questions from files and from the Hub, and samples of them.

This module knows rows and columns: nothing of preferences, models or answers.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from amulet_evals.hashing import number
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.packages import needing


class QuestionSource(BaseModel):
    """Where questions come from; a text alone is its ``source``.

    Attributes:
        source: A file that ends in .json (a list of rows), .jsonl (a row per line) or .csv; or
            the id of a data set on the Hub. A row is an object, or the question itself.
        name: What tables call it; None for the file's or data set's own name.
        column: Where a row has its question.
        subset: Which configuration of a data set on the Hub; None for its only one.
        split: Which part of a data set on the Hub.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(min_length=1)
    name: str | None = None
    column: str = "question"
    subset: str | None = None
    split: str = "test"

    @model_validator(mode="before")
    @classmethod
    def _take_text(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class Question:
    """One question, with a name that is its own within its set."""

    id: str
    text: str


@dataclass(frozen=True)
class QuestionSet:
    """Questions from one source, in their order."""

    name: str
    questions: tuple[Question, ...]

    def sample(self, limit: int | None, seed: int) -> QuestionSet:
        """At most ``limit`` of them, in their order; a higher limit adds to those of a lower."""
        chosen = sorted(self.questions, key=lambda each: number(seed, each.id, each.text))[:limit]
        kept = {question.id for question in chosen}
        return replace(self, questions=tuple(each for each in self.questions if each.id in kept))


def read_sets(
    sources: Iterable[QuestionSource], limit: int | None, seed: int
) -> tuple[QuestionSet, ...]:
    """A sample of each source, see `QuestionSet.sample`.

    Raises:
        ConfigurationError: See `read_questions`; or two sources have one name, so that no table
            could tell them apart.
    """
    sets = tuple(read_questions(source).sample(limit, seed) for source in sources)
    names = [each.name for each in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(
            f"Each source of questions needs a name of its own, but two are called {twice!r}: "
            "give one another name, in Python or in a config file."
        )
    return sets


def read_questions(source: QuestionSource) -> QuestionSet:
    """All questions of a source.

    Raises:
        ConfigurationError: The source isn't there or is empty, or a row has no question.
    """
    path = Path(source.source).expanduser()
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        rows, name = _from_hub(source), source.source.split("/")[-1]
    else:
        rows, name = _from_file(path, reader), path.stem
    found = tuple(_question(row, at, source) for at, row in enumerate(rows, 1))
    if not found:
        raise ConfigurationError(
            f"Questions must be one at least, but {source.source!r} has none: name another source."
        )
    ids = [question.id for question in found]
    if len(set(ids)) < len(ids):  # ids of the rows' own don't tell them apart: their places do
        found = tuple(replace(each, id=str(at)) for at, each in enumerate(found, 1))
    return QuestionSet(source.name or name, found)


def _question(row: Any, at: int, source: QuestionSource) -> Question:
    text = row.get(source.column) if isinstance(row, Mapping) else row
    if not (isinstance(text, str) and text.strip()):
        columns = f"its columns are {list(row)}" if isinstance(row, Mapping) else f"it is {row!r}"
        raise ConfigurationError(
            f"Every row needs a question, but row {at} of {source.source!r} has no text in its "
            f"column {source.column!r}: {columns}. Name the right column, or mend the row."
        )
    named = row.get("id", row.get("index", at)) if isinstance(row, Mapping) else at
    return Question(str(named), text)


def _from_file(path: Path, reader: Callable[[Iterable[str]], Iterator[Any]]) -> Iterator[Any]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            yield from reader(lines)
    except OSError as error:
        raise ConfigurationError(
            f"Questions are read from a file that is there, not {str(path)!r}: {error.strerror}. "
            "Check the path."
        ) from error
    except (ValueError, csv.Error) as error:
        raise ConfigurationError(
            f"{str(path)!r} must hold what its name says, but can't be read: {error}. Rows are a "
            "list in .json, one per line in .jsonl, and under a header in .csv."
        ) from error


def _from_json(lines: Iterable[str]) -> Iterator[Any]:
    rows = json.loads("".join(lines))
    if not isinstance(rows, list):
        raise ValueError(f"it holds {type(rows).__name__} and no list")
    yield from rows


def _from_jsonl(lines: Iterable[str]) -> Iterator[Any]:
    yield from (json.loads(line) for line in lines if line.strip())


def _from_csv(lines: Iterable[str]) -> Iterator[Any]:
    yield from csv.DictReader(lines)


READERS: Mapping[str, Callable[[Iterable[str]], Iterator[Any]]] = MappingProxyType(
    {".json": _from_json, ".jsonl": _from_jsonl, ".csv": _from_csv}
)
"""How files are read, by the end of their names."""


def _from_hub(source: QuestionSource) -> Iterable[Any]:
    """Rows of a data set; needs the network, unless the library has it in its cache."""
    what = f"{source.source!r}, which is no .json, .jsonl or .csv file but a data set on the Hub,"
    with needing("evaluate", what):
        datasets: Any = importlib.import_module("datasets")
    try:
        rows: Iterable[Any] = datasets.load_dataset(
            source.source, source.subset, split=source.split
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{source.source!r} must be a data set on the Hub with a split {source.split!r}, but "
            f"can't be loaded: {str(error).rstrip('.')}. Check the name, the subset and the split."
        ) from error
    return rows
