"""What a user prefers: a wish in words, its strength, and its share beside other wishes.

What somebody prefers is theirs to tell, and errors end up in logs and traces: none quotes it.

This module knows nothing of LangChain, of where preferences come from, of prompts or of models.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from langchain_amulet.errors import PreferenceError
from langchain_amulet.methods import Guidance, resolve_strength
from langchain_amulet.validation import explained

LAYOUT = frozenset("\n\t")
"""Control characters that a text may hold."""


class Preference(BaseModel):
    """How a user wants to be answered.

    Attributes:
        text: The wish in words, as the model will read it.
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
        given = {} if text is None else {"text": text}
        with explained(PreferenceError, type(self).model_fields, quoting=False):
            super().__init__(**given, **fields)

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

    @property
    def guidance(self) -> Guidance:
        """What a method needs to know of it: numbers, not words."""
        strength = None if self.strength is None else resolve_strength(self.strength)
        return Guidance(strength=strength, weight=self.weight)


AnyPreference = TypeVar("AnyPreference", bound=Preference)

PreferenceLike = str | Preference | Mapping[str, Any] | Sequence[Any] | None
"""What is accepted as a preference: one, several, or none."""


def as_preferences(value: PreferenceLike) -> tuple[Preference, ...]:
    """One preference, several, or none, as a tuple; a text or a dict is made into a preference.

    Raises:
        PreferenceError: Something in it isn't a preference.
    """
    return preferences_of(value, Preference)


def preferences_of(value: PreferenceLike, kind: type[AnyPreference]) -> tuple[AnyPreference, ...]:
    """The same as a kind of preference that says more.

    Raises:
        PreferenceError: Something in it isn't a preference.
    """
    if value is None:
        return ()
    if isinstance(value, kind):
        return (value,)
    if isinstance(value, str):
        return (kind(value),)
    if isinstance(value, (Preference, Mapping)):
        return (kind(**{str(name): field for name, field in dict(value).items()}),)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(preference for item in value for preference in preferences_of(item, kind))
    raise PreferenceError(
        "A preference must be a text or a Preference, or a list of these, not of type "
        f"{type(value).__name__}: use None for no preference."
    )


def check_characters(name: str, text: object) -> object:
    """Refuse control characters and halves of characters; Windows' line ends become new lines.

    Raises:
        PreferenceError: There is one.
    """
    if not isinstance(text, str):
        return text  # which pydantic refuses
    text = text.replace("\r\n", "\n")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in LAYOUT:
            raise PreferenceError(
                f"{name!r} may hold no control characters but new lines and tabs, not "
                f"{character!r}: remove it."
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
