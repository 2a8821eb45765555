"""How much of a trait a text has, by counting: one number per trait, higher for more of it.

Each counts a mark that readers notice, and nothing else: of two answers to one question, the one
with the higher number has more of the trait. The numbers of two traits aren't comparable; how
often one answer has more than another is, see `amulet_evals.study.said`.

This module knows English texts: nothing of who wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from amulet_evals.scorers.attributes import length, readability, sentences

Measure = Callable[[str], float | None]
"""A number for a text; None where there is nothing to count it in."""

ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)]|#{1,6})\s|^\s*\*\*[^*]+\*\*:?\s*$")
"""A line that is an item of a list, or a heading."""

EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]|[:;]-?[)(D]")

IMAGES = re.compile(
    r"\b(?:like an?|as if|as though|imagine|picture|think of (?:it|your|the|yourself))\b", re.I
)

WARMTH = re.compile(
    r"\b(?:glad|happy|sorry|dear|love(?:ly|d)?|kind(?:ly|ness)?|car(?:e|ing)|warm(?:ly|th)?|"
    r"friend(?:s|ly)?|together|understand(?:ing)?|feel(?:s|ings?)?|support(?:ive|ing)?|gentle|"
    r"gently|heart|hope|hug|comfort(?:ing|able)?|compassion(?:ate)?|empath\w+|thank(?:s|ful)?|"
    r"wonderful|proud|trust|welcome|joy|smile|you are not alone|here for you)\b",
    re.I,
)


FORMAL = re.compile(
    r"\b(?:advisable|furthermore|moreover|therefore|thus|hence|consequently|accordingly|"
    r"additionally|regarding|concerning|pursuant|hereby|herein|upon|whilst|shall|"
    r"one (?:is|should|may|must|can)|it is (?:essential|important|recommended|imperative|crucial)|"
    r"recommended|kindly|hesitate|inquir\w+|assist(?:ance)?|provide[sd]?|ensure|utili[sz]e\w*|"
    r"obtain|require[sd]?|sincerely|respectfully|request|guidance|in order to|ladies|sir|madam|"
    r"appropriate|sufficient|numerous|facilitate|implement\w*|i trust|my pleasure)\b",
    re.I,
)

CASUAL = re.compile(
    r"\w'(?:s|re|ll|ve|d|m|t)\b|\b(?:hey|hi|yeah|yep|nope|gonna|wanna|gotta|kinda|cool|stuff|guys|"
    r"buddy|awesome|lol|okay|ok|just|really|pretty|super|totally|thing(?:s|y)?|lots|bit|got|get)\b",
    re.I,
)


def formality(text: str) -> float | None:
    """Turns of formal English less those of casual English, per sentence."""
    found = sentences(text)
    more, less = (len(each.findall(text)) for each in (FORMAL, CASUAL))
    return (more - less) / len(found) if found else None


def per_sentence(pattern: re.Pattern[str]) -> Measure:
    """How often a pattern is found, per sentence."""

    def count(text: str) -> float | None:
        found = sentences(text)
        return len(pattern.findall(text)) / len(found) if found else None

    return count


def share_ending(mark: str) -> Measure:
    """Share of sentences that end in a mark."""

    def count(text: str) -> float | None:
        found = [each.rstrip() for each in sentences(text)]
        return sum(each.endswith(mark) for each in found) / len(found) if found else None

    return count


def listed(text: str) -> float | None:
    """Share of lines that are an item of a list or a heading."""
    lines = [line for line in text.splitlines() if line.strip()]
    return sum(ITEM.match(line) is not None for line in lines) / len(lines) if lines else None


def less_of(measure: Measure) -> Measure:
    """A measure turned round."""

    def turned(text: str) -> float | None:
        found = measure(text)
        return None if found is None else -found

    return turned


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "concise": less_of(length),
        "formal": formality,
        "simple": less_of(readability),
        "warm": per_sentence(WARMTH),
        "enthusiastic": share_ending("!"),
        "creative": per_sentence(IMAGES),
        "lists": listed,
        "emoji": lambda text: len(EMOJI.findall(text)) if text.strip() else None,
    }
)
"""A measure for each of `langchain_amulet.preferences.traits.TRAITS`, by its name."""

OF_STYLE: Mapping[str, Measure] = MappingProxyType(
    {
        "creative": MEASURES["creative"],
        "verbose": less_of(MEASURES["concise"]),
        "concise": MEASURES["concise"],
        "uplifting": MEASURES["enthusiastic"],
        "plain": MEASURES["simple"],
        "formal": MEASURES["formal"],
    }
)
"""A measure for each of the styles that the study asks for, by its name."""
