"""How the answers to the exported questions are scored: in style, and true to the topic.

Both are exact, and made for ``langchain-amulet evaluate``: a question, an answer and a preference
to a number. Knows nothing of models or methods.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import mean

from pocket.corpus.styles import Coins, advise
from pocket.corpus.world import Topic, load_world
from pocket.evaluation.results.export import QUESTIONS, WISHES
from pocket.evaluation.scorers import SCORERS, FactCheck


@dataclass(frozen=True)
class Scale:
    """What a style's scorer says of unstyled and of fully styled answers, on average."""

    plain: float
    full: float


@dataclass(frozen=True)
class Key:
    """What is known of the exported questions and wishes.

    Attributes:
        topics: Topics by their questions.
        styles: Styles by their wordings.
        scales: Scales by their styles.
        true: Whether an answer is true to a topic.
    """

    topics: Mapping[str, Topic]
    styles: Mapping[str, str]
    scales: Mapping[str, Scale]
    true: FactCheck


def in_style(question: str, answer: str, preference: str) -> float:
    """How far an answer is on the way from unstyled, 0, to fully in style, 1.

    Both ends are averages over what the generator itself writes on the questions' topics.
    """
    style = key().styles[preference]
    scale = key().scales[style]
    return (SCORERS[style](answer) - scale.plain) / (scale.full - scale.plain)


def facts_right(question: str, answer: str, preference: str) -> float:
    """1 if an answer says what its topic knows, and nothing that only another topic knows."""
    return float(key().true(answer, key().topics[question]))


@lru_cache(maxsize=1)
def key() -> Key:
    """What is known of the exported files, read once."""
    world = load_world()
    by_id = {topic.id: topic for topic in world.topics}
    rows = map(json.loads, QUESTIONS.read_text(encoding="utf-8").splitlines())
    topics = {row["question"]: by_id[row["topic"]] for row in rows}
    wordings = json.loads(WISHES.read_text(encoding="utf-8"))

    def average(style: str, *obeyed: str) -> float:
        coins = Coins(random.Random(0), frozenset(obeyed), fully=True)
        return mean(SCORERS[style](advise(topic, world, coins)) for topic in topics.values())

    return Key(
        topics=topics,
        styles={text: style for style, texts in wordings.items() for text in texts},
        scales={style: Scale(average(style), average(style, style)) for style in wordings},
        true=FactCheck(world),
    )
