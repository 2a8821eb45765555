"""What a user prefers, and where a call finds it.

A preference comes from the call's keyword arguments, from ``configurable`` or ``metadata`` of its
config, or from the model's constructor, in that order. ``None`` is an answer too: no preference.

This module knows LangChain's config: nothing of prompts, tokenizers or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel, ConfigDict, Field, field_validator

from langchain_amulet.errors import PreferenceError
from langchain_amulet.methods import Pull, resolve_strength
from langchain_amulet.validation import explained

KEY = "preference"
"""The name under which calls and configs carry a preference."""


class Preference(BaseModel):
    """How a user wants to be answered.

    Attributes:
        text: The wish in words, as the model will read it.
        strength: How strongly the answer is moved towards it: a number or one of
            `langchain_amulet.methods.STRENGTHS`; None for the method's own strength.
        weight: Its share beside other preferences of the same call; 0 leaves it out.

    Raises:
        PreferenceError: The text is empty, or a field is unknown or malformed.
        ConfigurationError: The strength has an unknown name, or isn't a finite number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    text: str = Field(min_length=1)
    strength: float | str | None = None
    weight: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)

    def __init__(self, text: str | None = None, /, **fields: Any) -> None:
        """Make a preference of its text and, by name, strength and weight."""
        given = {} if text is None else {"text": text}
        with explained(PreferenceError, type(self).model_fields):
            super().__init__(**given, **fields)

    @field_validator("strength")
    @classmethod
    def _check_strength(cls, strength: float | str | None) -> float | str | None:
        if strength is not None:
            resolve_strength(strength)
        return strength

    @property
    def pull(self) -> Pull:
        """What a method needs to know of it: numbers, not words."""
        strength = None if self.strength is None else resolve_strength(self.strength)
        return Pull(strength=strength, weight=self.weight)


PreferenceLike = str | Preference | Mapping[str, Any] | Sequence[Any] | None
"""What is accepted as a preference: one, several, or none."""


def as_preferences(value: PreferenceLike) -> tuple[Preference, ...]:
    """One preference, several, or none, as a tuple; a text or a dict is made into a preference.

    Raises:
        PreferenceError: Something in it isn't a preference.
    """
    if value is None:
        return ()
    if isinstance(value, Preference):
        return (value,)
    if isinstance(value, str):
        return (Preference(value),)
    if isinstance(value, Mapping):
        return (Preference(**value),)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return tuple(preference for item in value for preference in as_preferences(item))
    raise PreferenceError(
        f"A preference must be a text or a Preference, or a list of these, not {value!r}: "
        "use None for no preference."
    )


def check_lengths(preferences: Iterable[Preference], limit: int) -> None:
    """Refuse preferences longer than ``limit`` characters, with `PreferenceError`."""
    for preference in preferences:
        if len(preference.text) > limit:
            raise PreferenceError(
                f"A preference may have at most {limit} characters, but "
                f"{preference.text[:40]!r}... has {len(preference.text)}: shorten it, or raise "
                "max_preference_chars."
            )


def lift(config: RunnableConfig | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A call's keyword arguments, with the preference that its config brings among them.

    In keyword arguments it reaches the cache key, callbacks and every way of streaming; in the
    config alone it reaches none of them. The config of the runnable that is running counts too.

    Raises:
        PreferenceError: What was found there isn't a preference.
    """
    surroundings = ensure_config(config)
    places = (kwargs, surroundings.get("configurable", {}), surroundings.get("metadata", {}))
    for place in places:
        if KEY in place:
            return {**kwargs, KEY: as_preferences(place[KEY])}
    return dict(kwargs)
