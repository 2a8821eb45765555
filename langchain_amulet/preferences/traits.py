"""Traits: ways of answering with a name, of which one may want more or less.

A trait is wanted at a level from -2, much less, to +2, much more. Each level is a text that the
model reads and a strength by which it is steered. Those in `TRAITS` were chosen so that steps of
all traits come as near to each other as two models that were tried allow, see docs/traits.md.

Knows texts and numbers. Doesn't know how they steer, or who wants them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from pydantic import ConfigDict, with_config

from langchain_amulet.errors import PreferenceError
from langchain_amulet.validation.wording import choose, quoted

Kind = TypeVar("Kind")

LEVELS = (-2, -1, 1, 2)
"""How much of a trait may be wanted; 0 would be to want nothing."""

SIGNS: Mapping[str, int] = MappingProxyType({"": 1, "+": 1, "++": 2, "-": -1, "--": -2})
"""How levels are written behind a trait's name."""

WRITTEN = re.compile(r"(?P<name>[A-Za-z][\w.-]*?)\s*(?P<sign>\+{1,2}|-{1,2})?")
"""A trait with its level, as it is written."""

DEGREED = re.compile(r"(?![A-Za-z]\+)[A-Za-z][\w.-]*?\s*[+-]+\s*\d*")
"""What was meant for one, whatever is wrong with it: a word with signs behind it. A letter with
plus right behind it is none, as in C++ or A+."""

SIGN = re.compile(r"\++|--+|(?<!\w)-|-(?!\w)")
"""A sign wherever it stands; a dash between two letters belongs to their word."""

WORDS = re.compile(rf"[\s,;]+|{SIGN.pattern}")
"""What stands between words, signs included."""

LONGEST_NAME = 80
"""Characters of what is looked at as one: of more the expression above would take long."""


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class Trait:
    """A way of answering.

    Attributes:
        more: What asks for more of it, in words.
        less: What asks for less of it; None to be pushed away from what asks for more.
        more_strengths: How strongly levels +1 and +2 are steered towards ``more``.
        less_strengths: How strongly -1 and -2 are steered: towards ``less``, or without it by
            ``more``, where strengths below -1 push away.
    """

    more: str
    less: str | None = None
    more_strengths: tuple[float, float] = (1.0, 2.0)
    less_strengths: tuple[float, float] = (-2.0, -3.0)

    def at(self, level: int) -> tuple[str, float]:
        """What is preferred at a level, in words, and how strongly.

        Raises:
            PreferenceError: It is none of `LEVELS`.
        """
        if isinstance(level, bool) or not isinstance(level, int) or level not in LEVELS:
            raise PreferenceError(
                f"A trait's level must be one of {', '.join(map(str, LEVELS))}, not "
                f"{quoted(level)}: use 1 for more of it, -1 for less, and leave it out for neither."
            )
        if level > 0:
            return self.more, self.more_strengths[level - 1]
        return self.less or self.more, self.less_strengths[-level - 1]


TRAITS: Mapping[str, Trait] = MappingProxyType(
    {
        "concise": Trait(
            more="Keep it short.",
            less="Please explain everything in detail.",
            more_strengths=(-0.4, 0.3),
            less_strengths=(-0.4, 0.7),
        ),
        "formal": Trait(
            more="Please use a formal tone.",
            less="Write casually, as you would to a friend.",
            more_strengths=(-0.7, 0.7),
            less_strengths=(-0.7, 0.3),
        ),
        "simple": Trait(
            more="Use simple words and short sentences.",
            more_strengths=(-0.7, 4.65),
            less_strengths=(-5.0, -5.0),
        ),
        "enthusiastic": Trait(
            more="Answer with joy and enthusiasm!",
            more_strengths=(-0.4, 2.0),
            less_strengths=(-2.0, -3.0),
        ),
        "creative": Trait(
            more="Be creative: use images and comparisons.",
            more_strengths=(-0.4, 0.0),
            less_strengths=(-2.0, -3.0),
        ),
        "lists": Trait(
            more="Answer as a bulleted list.",
            less="Write plain paragraphs.",
            more_strengths=(0.3, 4.65),
            less_strengths=(3.0, 3.0),
        ),
        "warm": Trait(
            more="Be warm, kind and caring.",
            more_strengths=(0.0, 2.0),
            less_strengths=(-2.0, -3.0),
        ),
        "emoji": Trait(
            more="Use lots of emojis like 😀 and 🎉.",
            less="Use plain text only.",
            more_strengths=(-0.2, 0.3),
            less_strengths=(0.0, 1.2),
        ),
    }
)
"""The traits that there are, by their names."""

PRESETS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "professional": MappingProxyType({"formal": 1, "concise": 1}),
        "friendly": MappingProxyType({"warm": 1, "formal": -1}),
        "candid": MappingProxyType({"concise": 1, "warm": -1}),
        "quirky": MappingProxyType({"creative": 1, "emoji": 1}),
        "detailed": MappingProxyType({"concise": -2}),
        "efficient": MappingProxyType({"concise": 2, "simple": 1}),
        "nerdy": MappingProxyType({"enthusiastic": 1, "simple": -1}),
        "sober": MappingProxyType({"warm": -1, "enthusiastic": -1}),
    }
)
"""Personalities that are made of traits, by their names: levels by traits' names."""


def find_trait(name: str) -> Trait:
    """The trait of a name, whatever its case.

    Raises:
        PreferenceError: There is none.
    """
    return _named("trait", name, TRAITS)


def find_preset(name: str) -> Mapping[str, int]:
    """The levels, by traits, of a preset's name, whatever its case.

    Raises:
        PreferenceError: There is none.
    """
    return _named("preset", name, PRESETS)


def _named(what: str, name: object, known: Mapping[str, Kind]) -> Kind:
    found = known.get(name.casefold()) if isinstance(name, str) else None
    if found is None:
        remedy = choose(name, known) if isinstance(name, str) else "use"
        if isinstance(name, str) and what == "trait" and (levels := read_levels(name, known)):
            remedy = f"give its level by itself, as in trait({levels[0][0]!r}, {levels[0][1]}), and"
        raise PreferenceError(
            f"A {what} must be one of {', '.join(known)}, not {quoted(name)}: {remedy} one of "
            "those, or say in words what is wanted."
        )
    return found


def read_levels(text: str, traits: Collection[str]) -> tuple[tuple[str, int], ...] | None:
    """Traits with their levels as people write them: ``concise ++, formal -``.

    Args:
        text: What is written. A trait without a sign is one at level 1.
        traits: The names that there are, in lower case.

    Returns:
        None if the text isn't made of traits alone.
    """
    found = [WRITTEN.fullmatch(part.strip()) for part in text.split(",")]
    names = [match["name"].casefold() if match else "" for match in found]
    if not all(name in traits for name in names):
        return None
    signs = (match["sign"] or "" for match in found if match)
    return tuple((name, SIGNS[sign]) for name, sign in zip(names, signs, strict=True))


def means_traits(text: str, names: Collection[str] = TRAITS) -> bool:
    """Whether a text is meant for traits, right or wrong: as words it could ask for the contrary.

    It is if a word with signs behind it stands between commas, or it is made of nothing but
    ``names``, in lower case, and signs, however they are divided.
    """
    parts = (part.strip() for part in text.split(","))
    if any(len(part) <= LONGEST_NAME and DEGREED.fullmatch(part) for part in parts):
        return True
    if SIGN.search(text) is None:
        return False
    words = [word.casefold() for word in WORDS.split(text) if word]
    return bool(words) and all(word in names for word in words)


def levels_in(text: str, traits: Collection[str]) -> tuple[tuple[str, int], ...] | None:
    """As `read_levels`, for what somebody prefers: what was meant for traits must be some.

    Raises:
        PreferenceError: The text is meant for traits and isn't made of them alone.
    """
    levels = read_levels(text, traits)
    if levels is None and means_traits(text, traits):
        raise PreferenceError(
            f"Traits with + or - behind them must be {', '.join(traits)}, each with +, ++, - or "
            f"--, with commas between them and nothing beside them: {remedy_for(text, traits)}, or "
            "say in a sentence what is wanted."
        )
    return levels


def remedy_for(text: str, traits: Collection[str]) -> str:
    """What to do about a text that was meant for traits, by the one that the first may be."""
    names = (name_before_signs(part.strip()) for part in text.split(","))
    unknown = next((name for name in names if name not in traits), "")
    return f"{choose(unknown, traits)} those"


def name_before_signs(part: str) -> str:
    """What stands before the signs at a text's end, in lower case; all of it if there are none."""
    # Not by an expression, which would look from each sign to the end of a long text.
    signed = part.rstrip("0123456789").rstrip()
    name = signed.rstrip("+-")
    return (part if name == signed else name.rstrip()).casefold()
