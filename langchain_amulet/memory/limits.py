"""What a program allows of its users' preferences, and which of them apply to a message.

This module knows preferences: nothing of stores, nor of whose they are.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from langchain_amulet.errors import PreferenceStoreError
from langchain_amulet.memory.conditions import Matcher
from langchain_amulet.memory.merging import check_count
from langchain_amulet.memory.profile import (
    Lifetime,
    Profile,
    StoredPreference,
    end_of,
    now,
    stored_preferences,
)
from langchain_amulet.preferences.preference import Preference, PreferenceLike, check_lengths
from langchain_amulet.validation import told


class Limits(BaseModel):
    """What `PreferenceMemory` may be told, as far as it isn't checked elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl: timedelta | None = Field(gt=timedelta(0))
    matcher: Matcher
    max_preferences: int = Field(ge=1)
    max_preference_chars: int = Field(ge=1)
    max_history: int = Field(ge=16)
    cache_seconds: float | None = Field(gt=0.0, allow_inf_nan=False)
    cache_users: int = Field(ge=1)

    def checked(
        self, preference: PreferenceLike, expires: Lifetime
    ) -> tuple[StoredPreference, ...]:
        """Preferences as they are to be stored.

        Raises:
            PreferenceError: Something isn't a preference, or there is too much of it.
        """
        end = end_of(self.ttl if expires is None else expires, now())
        preferences = tuple(each.until(end) for each in stored_preferences(preference))
        check_lengths(preferences, self.max_preference_chars)
        check_count(len(preferences), self.max_preferences)
        return preferences

    def applying(self, profile: Profile | None, about: str | None) -> tuple[Preference, ...]:
        """What of a profile applies now to a message; the newest, if it is too much.

        Raises:
            PreferenceStoreError: The matcher failed.
        """
        at = now()
        applying = [
            stored.plain
            for stored in (profile.preferences if profile else ())
            if not stored.is_over(at) and self.is_met(stored, about)
        ]
        return tuple(applying[-self.max_preferences :])

    def is_met(self, stored: StoredPreference, about: str | None) -> bool:
        """Whether a preference applies to a message, whenever.

        Raises:
            PreferenceStoreError: The matcher failed.
        """
        if not stored.when:
            return True
        try:
            return about is not None and self.matcher(stored.when, about)
        except Exception as error:
            raise PreferenceStoreError(
                f"The matcher failed on {stored.when}: {type(error).__name__}: {told(error)}. "
                "Mend it, or go on without preferences by on_store_error='ignore'."
            ) from error
