"""Answers that nobody gave, for tests of what becomes of answers."""

from collections.abc import Callable
from typing import Any

from amulet_evals.data.questions import Question, QuestionSet
from amulet_evals.data.styles import Style
from amulet_evals.reporting.results import DECODED_METRICS, Results
from amulet_evals.run.grid import Grid, Task, cases, method_note
from amulet_evals.run.manifest import Metric
from amulet_evals.run.records import AnswerRecord, Failure
from langchain_amulet.methods import Amulet, Pref

REWARD = Metric(name="reward", title="reward", scorer="rm", needs="preference")
METHODS = {"pref": method_note(Pref()), "amulet": method_note(Amulet())}
STYLES = (Style("easy", ("Be easy.",)), Style("hard", ("Be hard.",)))


def answer(text: str = "Fine.", task: Task | None = None, **fields: Any) -> AnswerRecord:
    """An answer to a task."""
    made: dict[str, Any] = {
        "tokens": 1,
        "finish_reason": "stop",
        "mean_kl": 0.0,
        "kl": (),
        "surprise": 0.0,
        "strength": 0.0,
        "started": 0.0,
        "seconds": 1.0,
    }
    return AnswerRecord(task or Task("m", "pref", "Why?", "Be kind."), text, **{**made, **fields})


def grid(**sets: int) -> Grid:
    """Sets of so many questions, whose texts begin with the set's name."""
    made = [
        QuestionSet(name, tuple(Question(str(at), f"{name} {at}?") for at in range(count)))
        for name, count in sets.items()
    ]
    return Grid(("m",), METHODS, cases(made, STYLES, seed=0))


def results(grid: Grid, reward: Callable[[Task], float | None], **fields: Any) -> Results:
    """A run where ``reward(task)`` is each answer's; None for one that failed."""
    answers: dict[str, AnswerRecord | Failure] = {}
    scores = {}
    for task in grid.tasks("m"):
        value = reward(task)
        failed = Failure(task, "ContextLengthError", "It is too long.")
        answers[task.key] = failed if value is None else answer(task=task, **fields)
        scores["rm", task.key, task.preference, None] = {"reward": value}
    return Results(grid, answers, scores, (REWARD, *DECODED_METRICS), "pref")
