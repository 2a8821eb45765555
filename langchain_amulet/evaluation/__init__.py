"""Methods compared on questions and preferences: the paper's table, from one call or command.

`evaluate` asks everything of everything (models, questions, preferences, methods, samples), has
the answers scored, and makes a `report`. It is resumed by calling it again.

This package needs langchain-amulet[evaluate].
"""

from langchain_amulet.evaluation.evaluate import evaluate
from langchain_amulet.evaluation.questions import QuestionSource
from langchain_amulet.evaluation.report import report
from langchain_amulet.evaluation.settings import Decoding, Evaluation, RewardSettings, Scoring

__all__ = [
    "Decoding",
    "Evaluation",
    "QuestionSource",
    "RewardSettings",
    "Scoring",
    "evaluate",
    "report",
]
