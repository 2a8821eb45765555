"""Exact scores of an answer: its style, and its truth to the topic.

Every scorer counts something that a reader can count too. Knows nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from amulet_evals.scorers.attributes import sentences, words
from pocket.corpus.world import Topic, World

FIGURES = re.compile(r"\b(like an?|as if)\b|^\s*(think of it as|imagine|picture)\b", re.IGNORECASE)
FORMALITIES = re.compile(
    r"\b(advisable|furthermore|one is|recommended|inquir[ey]|kindly|hesitate|disposal|"
    r"appreciate your|pleased to|my pleasure|your request|further assistance|regarding your|"
    r"raising this|i trust|satisfactory|my best wishes|guidance|it would be)\b",
    re.IGNORECASE,
)


def word_count(text: str) -> float:
    """Words in the answer."""
    return len(words(text))


def figures(text: str) -> float:
    """Sentences with "like a" or "as if", or that begin "Think of it as", "Imagine", "Picture"."""
    return sum(bool(FIGURES.search(sentence)) for sentence in sentences(text))


def exclamations(text: str) -> float:
    """Sentences that end in an exclamation mark."""
    return sum(sentence.rstrip().endswith("!") for sentence in sentences(text))


def formalities(text: str) -> float:
    """Sentences with a turn of formal English (the list is `FORMALITIES`)."""
    return sum(bool(FORMALITIES.search(sentence)) for sentence in sentences(text))


def long_words(text: str) -> float:
    """Share of words of eight letters or more."""
    found = words(text)
    return sum(len(word) >= 8 for word in found) / len(found) if found else 0.0


SCORERS: Mapping[str, Callable[[str], float]] = {
    "concise": word_count,
    "verbose": word_count,
    "creative": figures,
    "uplifting": exclamations,
    "formal": formalities,
    "plain": long_words,
}


class FactCheck:
    """Whether an answer says what its topic knows, and nothing that only another topic knows."""

    def __init__(self, world: World) -> None:
        """Learn what every topic of the world advises."""
        self._known = {topic.id: _advice(topic) for topic in world.topics}
        self._all = frozenset().union(*self._known.values())

    def __call__(self, answer: str, topic: Topic) -> bool:
        """True if a tip of the topic stands word for word in the answer, and none of another's."""
        lowered, own = answer.lower(), self._known[topic.id]
        return any(tip in lowered for tip in own) and not any(
            tip in lowered for tip in self._all - own
        )


def _advice(topic: Topic) -> frozenset[str]:
    return frozenset(text.lower() for tip in topic.tips for text in (tip.say, tip.plain))
