"""Methods compared on questions and preferences: the paper's table, from one call or command.

`evaluate` asks everything of everything (models, questions, preferences, methods, samples), has
the answers scored, and makes a `report`. It is resumed by calling it again.

A neighbour of `langchain_amulet`, which doesn't know it: the command line finds its commands by
entry points. It needs langchain-amulet[evaluate]. As there, what is heavy is imported when it is
asked for.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amulet_evals.config import Decoding, Evaluation, RewardSettings, Scoring
    from amulet_evals.data.questions import QuestionSource
    from amulet_evals.evaluation import evaluate, score
    from amulet_evals.reporting.report import report

__all__ = [
    "Decoding",
    "Evaluation",
    "QuestionSource",
    "RewardSettings",
    "Scoring",
    "evaluate",
    "report",
    "score",
]

_HOMES = MappingProxyType(
    {
        "Decoding": "config",
        "Evaluation": "config",
        "QuestionSource": "data.questions",
        "RewardSettings": "config",
        "Scoring": "config",
        "evaluate": "evaluation",
        "report": "reporting.report",
        "score": "evaluation",
    }
)


def __getattr__(name: str) -> Any:
    """A public name, from the module where it is at home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, whether they were imported yet or not."""
    return __all__
