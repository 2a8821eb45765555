"""What a user prefers: a text, how strongly answers follow it, and its share beside others.

What somebody prefers is private, and errors end up in logs and traces: none quotes it.

This module knows nothing of LangChain, of where preferences come from, of prompts or of models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, field_validator

from langchain_amulet.errors import PreferenceError
from langchain_amulet.methods import Guidance, resolve_strength
from langchain_amulet.preferences.traits import (
    TRAITS,
    find_preset,
    find_trait,
    levels_in,
    means_traits,
)
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers, explanation

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but new lines and tabs, and halves of characters (Unicode's Cc and Cs)."""

STORED = "a StoredPreference has it, which is kept for a user: make one, or leave it out"
"""What to say of what only a preference that is stored can have."""


class Preference(FlaglessNumbers):
    """How a user wants to be answered.

    Attributes:
        text: The preference in words, as the model will read it.
        strength: How strongly the answer is moved towards it: a number or one of
            `langchain_amulet.methods.STRENGTHS`; None for the method's own strength.
        weight: Its share beside other preferences of the same call; 0 leaves it out.

    Raises:
        PreferenceError: A field is unknown or malformed, or the text is empty or holds control
            characters other than new lines and tabs.
        ConfigurationError: The strength has an unknown name, or isn't a finite number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    text: str = Field(min_length=1)
    strength: float | str | None = None
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)

    def __init__(self, text: str | None = None, /, **fields: Any) -> None:
        """Make a preference of its text and, by name, strength and weight."""
        positional = {} if text is None else {"text": text}
        try:  # not `explained`, which is two calls more: a stored preference is made for each call
            super().__init__(**positional, **fields)
        except ValidationError as error:
            known = type(self).model_fields
            others = {name: STORED for name in ("when", "expires_at") if name not in known}
            raise explanation(error, PreferenceError, known, False, others) from None

    @field_validator("text", mode="before")
    @classmethod
    def _check_text(cls, text: object) -> object:
        if isinstance(text, str) and not text.strip():
            raise PreferenceError(
                f"A preference can't be empty, but its text is {text!r}: leave the preference out, "
                "or use None for none."
            )
        return check_characters("text", text)

    @field_validator("strength")
    @classmethod
    def _check_strength(cls, strength: float | str | None) -> float | str | None:
        if strength is not None:
            resolve_strength(strength)
        return strength

    @classmethod
    def trait(cls, name: str, level: int = 1) -> Self:
        """More or less of a named trait, at a strength that was measured for it.

        Args:
            name: One of `langchain_amulet.preferences.TRAITS`, whatever its case.
            level: From -2, much less, to 2, much more, but not 0.

        Raises:
            PreferenceError: There is no such trait, or no such level.
        """
        text, strength = find_trait(name).at(level)
        return cls(text, strength=strength)

    @classmethod
    def preset(cls, name: str) -> tuple[Self, ...]:
        """The preferences that make a personality, one of `langchain_amulet.preferences.PRESETS`.

        Raises:
            PreferenceError: There is no such preset.
        """
        levels = find_preset(name)
        return tuple(cls.trait(trait, level) for trait, level in levels.items())

    def guidance(self, layer: int = 0) -> Guidance:
        """What a method needs to know of it: numbers, not words.

        Args:
            layer: What it stands on, see `Guidance`.
        """
        strength = None if self.strength is None else resolve_strength(self.strength)
        return Guidance(strength, self.weight, layer)


MOST_PREFERENCES = 1000
"""The most preferences that are taken at once; each is made, checked and rendered."""

AnyPreference = TypeVar("AnyPreference", bound=Preference)

PreferenceLike = str | Preference | Mapping[str, Any] | Sequence[Any] | None
"""What is accepted as a preference: one, several, or none."""


def as_preferences(value: PreferenceLike) -> tuple[Preference, ...]:
    """One preference, several, or none, as a tuple; a text or a dict is made into a preference.

    A text of traits with signs behind them, such as ``concise ++, formal -``, stands for these. Any
    other is how to answer, in words; so is the text of a dict or of a `Preference`, whatever it is.

    Raises:
        PreferenceError: Something in it isn't a preference.
    """
    return preferences_of(value, Preference)


def preferences_of(value: PreferenceLike, kind: type[AnyPreference]) -> tuple[AnyPreference, ...]:
    """One preference, several, or none, as a tuple of ``kind``, which may have further fields.

    Raises:
        PreferenceError: Something in it isn't a preference, or it holds more than
            `MOST_PREFERENCES`, lists in it and lists in those included.
    """
    found: list[AnyPreference] = []
    waiting, seen = [value], 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, Sequence) and not isinstance(item, (str, bytes)):
            seen += len(item)  # a list that holds itself never ends, and this does
            if seen > MOST_PREFERENCES:
                raise PreferenceError(
                    f"A call may have at most {MOST_PREFERENCES} preferences, lists of them "
                    f"counted as well, but there are {seen} or more: leave some out, or put "
                    "several into one text."
                )
            waiting.extend(reversed(item))
        elif isinstance(item, str):
            found.extend(_said(item, kind))
        elif item is not None:
            found.append(_preference_of(item, kind))
    return tuple(found)


def _said(text: str, kind: type[AnyPreference]) -> tuple[AnyPreference, ...]:
    """What a text asks for; a trait's bare name is a word, as any other."""
    levels = levels_in(text, TRAITS) if means_traits(text) else None
    if levels is None:
        return (kind(text),)
    return tuple(kind.trait(name, level) for name, level in levels)


def _preference_of(value: object, kind: type[AnyPreference]) -> AnyPreference:
    if isinstance(value, kind):
        return value
    if isinstance(value, (Preference, Mapping)):
        return kind(**{str(name): field for name, field in dict(value).items()})
    raise PreferenceError(
        "A preference must be a text or a Preference, or a list of these, not of type "
        f"{type(value).__name__}: use None for no preference."
    )


def have_strengths(preferences: Iterable[Preference]) -> bool:
    """Whether there are preferences and each has its own strength, so that no other is of use."""
    strengths = [each.strength for each in preferences if each.weight > 0.0]
    return bool(strengths) and None not in strengths


def check_characters(name: str, text: object) -> object:
    """Refuse control characters and halves of characters; Windows' line ends become new lines.

    Args:
        name: The field that the text is for.
        text: The text. What isn't one is given back, for pydantic to refuse.

    Raises:
        PreferenceError: There is one.
    """
    if not isinstance(text, str):
        return text
    text = text.replace("\r\n", "\n")
    if found := UNPRINTABLE.search(text):
        raise PreferenceError(
            f"{name!r} may hold no control characters but new lines and tabs, not "
            f"{found[0]!r}: remove it."
        )
    return text


def check_lengths(preferences: Iterable[Preference], limit: int) -> None:
    """Refuse preferences longer than ``limit`` characters, with `PreferenceError`."""
    for number, preference in enumerate(preferences, 1):
        if len(preference.text) > limit:
            raise PreferenceError(
                f"A preference may have at most {limit} characters, but number {number} of this "
                f"call has {len(preference.text)}: shorten it, or raise max_preference_chars."
            )
