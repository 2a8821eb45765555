"""What becomes of a task: an answer or a failure, as objects and as lines of JSON.

This module knows what is kept of a chat model's message: nothing of how it was made.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langchain_core.messages import AIMessage

from amulet_evals.run.grid import Task
from langchain_amulet.trace import ratio

Row = dict[str, Any]
"""A line of JSON."""

DIGITS = 5
"""Significant digits of what there is one number per token of."""
LEAST = 1e-38
"""About the least probability in float32."""


@dataclass(frozen=True)
class AnswerRecord:
    """One answer.

    Attributes:
        task: What it answers.
        text: The answer.
        tokens: How many there are in it, without those of answers that weren't given.
        finish_reason: "stop" if it ended by itself, "length" if it was cut off.
        mean_kl: Nats per token between the steered and the prompted distribution.
        kl: The same for each token.
        surprise: Nats per token by which the model itself, asked without preference and unsteered,
            is surprised by the answer; None where that wasn't read.
        strength: How strongly the method steered, see ``response_metadata``.
        started: When it was asked for, in seconds since 1970.
        seconds: How long it took, among others that were decoded with it.
    """

    task: Task
    text: str
    tokens: int
    finish_reason: str | None
    mean_kl: float
    kl: tuple[float, ...]
    surprise: float | None
    strength: Any
    started: float
    seconds: float

    @property
    def row(self) -> Row:
        """As a line of JSON, which begins with what was asked."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"key": self.task.key, **asdict(fields.pop("task")), **fields}


@dataclass(frozen=True)
class Failure:
    """A task that got no answer, and why."""

    task: Task
    kind: str
    message: str

    @property
    def row(self) -> Row:
        """As a line of JSON, which begins with what was asked."""
        error = {"type": self.kind, "message": self.message}
        return {"key": self.task.key, **asdict(self.task), "error": error}


def answer(task: Task, message: AIMessage, started: float, seconds: float) -> AnswerRecord:
    """What is kept of a message that was asked for with its trace."""
    metadata, usage = message.response_metadata, message.usage_metadata
    return AnswerRecord(
        task=task,
        text=message.text,
        tokens=_tokens(usage) if usage else 0,
        finish_reason=metadata["finish_reason"],
        mean_kl=metadata["mean_kl"],
        kl=tuple(_short(entry["kl"]) for entry in metadata["trace"]),
        surprise=_surprise([entry["base"] for entry in metadata["trace"]]),
        strength=metadata["strength"],
        started=round(started, 3),
        seconds=round(seconds, 3),
    )


def _surprise(base: Sequence[float | None]) -> float | None:
    """Minus the mean log-probability; a probability that is none in float32 is the least of it."""
    known = [max(each, LEAST) for each in base if each is not None]
    if not base or len(known) < len(base):
        return None
    return float(_short(-math.fsum(map(math.log, known)) / len(known)))


def _tokens(usage: Mapping[str, Any]) -> int:
    """The answer's own, without those of others that a search looked at."""
    details = usage.get("output_token_details", {})
    return int(details.get("answer", usage["output_tokens"]))


def read_answers(rows: Iterable[Mapping[str, Any]]) -> dict[str, AnswerRecord | Failure]:
    """Answers and failures by their keys; of several with one key the last counts."""
    return {row["key"]: _read(row) for row in rows}


def _read(row: Mapping[str, Any]) -> AnswerRecord | Failure:
    task = Task(**{name: row[name] for name in Task.__dataclass_fields__})
    if "error" in row:
        return Failure(task, row["error"]["type"], row["error"]["message"])
    fields = {name: row[name] for name in AnswerRecord.__dataclass_fields__ if name != "task"}
    return AnswerRecord(task=task, **{**fields, "kl": tuple(fields["kl"])})


@dataclass(frozen=True)
class TracedToken:
    """A token as it is shown.

    Attributes:
        text: What it adds to the text; nothing where a character isn't whole yet.
        base: Its probability under the conversation alone; None where that wasn't read.
        pref: Its probability in the prompted distribution.
        steered: Its probability as it was drawn from.
    """

    text: str
    base: float | None
    pref: float
    steered: float

    @property
    def ratio(self) -> float:
        """Its probability after steering, over the prompted one."""
        return ratio({"pref": self.pref, "steered": self.steered})


def traced_tokens(trace: Sequence[Mapping[str, Any]]) -> Iterator[TracedToken]:
    """An answer's tokens, from the trace of its message."""
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    for at, entry in enumerate(trace, 1):
        text = utf8.decode(bytes(entry["bytes"]), final=at == len(trace))
        yield TracedToken(
            text, _short(entry["base"]), _short(entry["pref"]), _short(entry["steered"])
        )


def read_traces(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[TracedToken, ...]]:
    """Tokens of answers, by the answers' keys."""
    return {row["key"]: tuple(TracedToken(*token) for token in row["tokens"]) for row in rows}


def _short(value: Any) -> Any:
    return None if value is None else float(f"{value:.{DIGITS}g}")
