"""Answers that nobody gave, for tests of what becomes of answers."""

from typing import Any

from langchain_amulet.evaluation.grid import Ask
from langchain_amulet.evaluation.records import Answer


def answer(text: str = "Fine.", ask: Ask | None = None, **fields: Any) -> Answer:
    """An answer to something."""
    made: dict[str, Any] = {
        "tokens": 1,
        "finish_reason": "stop",
        "mean_kl": 0.0,
        "kl": (),
        "strength": 0.0,
        "started": 0.0,
        "seconds": 1.0,
    }
    return Answer(ask or Ask("m", "pref", "Why?", "Be kind."), text, **{**made, **fields})
