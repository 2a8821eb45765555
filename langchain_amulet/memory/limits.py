"""What a program allows of its users' preferences, and which of them apply to a message.

This module knows preferences: nothing of stores, nor of whose they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import ConfigDict, Field

from langchain_amulet.errors import PreferenceError, PreferenceStoreError
from langchain_amulet.memory.conditions import Matcher, mentions
from langchain_amulet.memory.profile import (
    Lifetime,
    StoredPreference,
    end_of,
    now,
    stored_preferences,
)
from langchain_amulet.preferences.preference import (
    MOST_PREFERENCES,
    Preference,
    PreferenceLike,
    check_lengths,
)
from langchain_amulet.validation.checks import check_type
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers
from langchain_amulet.validation.wording import kind_of, quoted

LONGEST_TTL = timedelta(days=1_000_000)
"""How long a preference may last at the most, 2,700 years: calendars end with the year 9999."""


class Limits(FlaglessNumbers):
    """How many preferences a user may have, how long they are, and how long they last.

    Attributes:
        ttl: How long a preference lasts that has no end of its own; seconds if a number.
        matcher: Decides whether a message is about one of a preference's topics.
        max_preferences: The most preferences of one user.
        max_preference_chars: The longest one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl: timedelta | None = Field(default=None, gt=timedelta(0), le=LONGEST_TTL)
    matcher: Matcher = mentions
    max_preferences: int = Field(default=16, ge=1, le=MOST_PREFERENCES)
    max_preference_chars: int = Field(default=2000, ge=1)

    def checked(
        self, preference: PreferenceLike, expires: Lifetime
    ) -> tuple[StoredPreference, ...]:
        """Preferences as they are to be stored.

        Raises:
            PreferenceError: Something isn't a preference or is over, or there is too much of it.
        """
        at = now()
        end = end_of(self.ttl if expires is None else expires, at)
        preferences = tuple(each.until(end) for each in stored_preferences(preference))
        _check_time_left(preferences, at)
        check_lengths(preferences, self.max_preference_chars)
        check_count(len(preferences), self.max_preferences)
        return preferences

    def applying(
        self, stored: Sequence[StoredPreference], about: str | None
    ) -> tuple[Preference, ...]:
        """What of a user's preferences applies now to a message; the newest, if it is too much.

        Raises:
            PreferenceStoreError: The matcher failed.
        """
        is_list = isinstance(stored, (list, tuple))
        if not (is_list and all(isinstance(each, StoredPreference) for each in stored)):
            raise PreferenceError(
                f"What is stored must be a list of StoredPreference, not {quoted(stored)}: give "
                "those of a profile."
            )
        at, applying = datetime.now(UTC), []
        for each in stored:
            if each.expires_at and each.is_over(at):
                continue
            if not each.when or self.is_met(each, about):
                applying.append(each.plain)
        return tuple(applying[-self.max_preferences :])

    def is_met(self, stored: StoredPreference, about: str | None) -> bool:
        """Whether a preference's condition holds for a message, whether it is over or not.

        Raises:
            PreferenceStoreError: The matcher failed.
        """
        check_type("stored", stored, StoredPreference, error=PreferenceError)
        if not stored.when:
            return True
        try:
            return about is not None and self.matcher(stored.when, about)
        except Exception as error:
            raise PreferenceStoreError(
                f"The matcher failed: {kind_of(error)}, in words that aren't shown, as they may "
                "quote a message. Mend it, or go on without preferences by on_store_error='ignore'."
            ) from None


def _check_time_left(preferences: Sequence[StoredPreference], at: datetime) -> None:
    """Refuse preferences that nobody would ever see applied, with `PreferenceError`."""
    for number, preference in enumerate(preferences, 1):
        if preference.is_over(at):
            raise PreferenceError(
                f"A preference must have time left, but number {number} of this call ended at "
                f"{preference.expires_at}: give a later 'expires_at', or leave the preference "
                "out. A profile's `lasting` has none that is over."
            )


def check_count(count: int, limit: int) -> None:
    """Refuse more preferences than ``limit``, with `PreferenceError`."""
    if count > limit:
        raise PreferenceError(
            f"A user may have at most {limit} stored preferences, not {count}: forget one first, "
            "or raise max_preferences."
        )
