"""What can be counted in a text: length, readability, sentiment, formality, repetition.

Sentiment and parts of speech are textblob's, whose English word lists come with the package; the
two mean little for other languages. Nothing here needs a model or the network.

This module knows texts: nothing of who wrote them.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from langchain_amulet.validation.packages import needing

with needing("evaluate", "Scoring of attributes"):
    from textblob.sentiments import PatternAnalyzer
    from textblob.taggers import PatternTagger

DEEPENS = ("NN", "JJ", "IN", "TO")
"""Parts of speech that formal texts have more of: nouns, adjectives, prepositions."""

LOOSENS = ("PRP", "WP", "VB", "MD", "RB", "UH")
"""Those that they have fewer of: pronouns, verbs, adverbs, interjections."""

ARTICLES = frozenset({"a", "an", "the"})


def words(text: str) -> list[str]:
    """The words of a text, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text)


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its closing mark."""
    return re.findall(r"[^.!?]+[.!?]*", text.strip())


def length(text: str) -> float:
    """How many words."""
    return len(words(text))


def readability(text: str) -> float | None:
    """Years of school that an easy read takes: the index of Coleman and Liau (1975).

    It counts letters, words and sentences, and no syllables, for which one would have to guess or
    to download a dictionary. None for a text without words.
    """
    found = words(text)
    if not found:
        return None
    letters = sum(character.isalnum() for word in found for character in word)
    return (5.88 * letters - 29.6 * len(sentences(text))) / len(found) - 15.8


def repetition(text: str, n: int = 4) -> float:
    """Share of the text's word n-grams that it has already used; 0 where none repeats."""
    return 1.0 - distinct(text, n)


def distinct(text: str, n: int) -> float:
    """Share of different ones among the text's word n-grams; 1 where there are none."""
    found = [word.lower() for word in words(text)]
    grams = Counter(tuple(found[at : at + n]) for at in range(len(found) - n + 1))
    return len(grams) / grams.total() if grams else 1.0


def longest_repeat(text: str) -> float:
    """Words of the longest phrase that the text says again; 0 where no word comes twice."""
    # A phrase that comes twice holds shorter ones that do, so that the lengths can be bisected.
    return bisect_left(range(1, len(words(text)) + 1), True, key=lambda n: distinct(text, n) == 1.0)


class English:
    """English word lists, read once: what words express, and which part of speech they are."""

    def __init__(self) -> None:
        """Read the lists."""
        self._analyzer, self._tagger = PatternAnalyzer(), PatternTagger()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # textblob leaves its files open
            self.sentiment("Fine.")
            self.formality("Fine.")

    def sentiment(self, text: str) -> float:
        """From -1, negative, to 1, positive; 0 where no word expresses anything."""
        return float(self._analyzer.analyze(text).polarity)

    def formality(self, text: str) -> float | None:
        """From 0 to 100: the F-score of Heylighen and Dewaele (1999), from parts of speech.

        None for a text without words.
        """
        tags: Iterable[tuple[str, str]] = self._tagger.tag(text)
        tagged = [(word.lower(), tag) for word, tag in tags if any(map(str.isalnum, word))]
        if not tagged:
            return None
        formal = sum(tag.startswith(DEEPENS) or word in ARTICLES for word, tag in tagged)
        informal = sum(tag.startswith(LOOSENS) for _, tag in tagged)
        return 50 * (1 + (formal - informal) / len(tagged))


def attributes() -> Mapping[str, Callable[[str], float | None]]:
    """All of them by their names."""
    english = English()
    return {
        "words": length,
        "readability": readability,
        "sentiment": english.sentiment,
        "formality": english.formality,
        "repetition": repetition,
        "longest_repeat": longest_repeat,
        "distinct_1": lambda text: distinct(text, 1),
        "distinct_2": lambda text: distinct(text, 2),
    }
