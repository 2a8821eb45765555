"""What is stored of a user: preferences that may depend on a topic or end on a day, and changes.

A stored value is one of

- ``{"preferences": {id: preference, ...}}``, what this package writes. An id is given once, when
  the preference is, and sorts by time.
- ``{"preferences": [preference, ...]}`` or a preference by itself, ``{"text": ...}``, for those
  who write by hand;
- ``{"content": ...}`` and ``{"kind": ..., "content": ...}``, as langmem writes them.

Everything is checked when it is made and again when it is read. This module knows nothing of
stores, nor of whose profile it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from langchain_amulet.errors import AmuletError, PreferenceError
from langchain_amulet.preferences.preference import (
    Preference,
    PreferenceLike,
    check_characters,
    preferences_of,
)
from langchain_amulet.validation import explained

TOPIC_CHARS = 100
TOPICS = 32

Lifetime = datetime | timedelta | float | None
"""When something ends: a moment, or how long from now, in seconds if a number; None for never."""


def end_of(lifetime: Lifetime, start: datetime) -> datetime | None:
    """The moment at which something ends.

    Raises:
        PreferenceError: It has ended already, or says a time without a time zone.
    """
    if lifetime is None:
        return None
    try:
        end = lifetime if isinstance(lifetime, datetime) else start + _duration(lifetime)
        is_to_come = end.tzinfo is not None and end > start
    except (TypeError, ValueError, OverflowError):
        is_to_come = False
    if not is_to_come:
        raise PreferenceError(
            f"An expiry must be a time to come, with a time zone, not {lifetime!r}: give a "
            "datetime such as datetime.now(timezone.utc) + timedelta(days=1), or seconds."
        )
    return end


def _duration(lifetime: timedelta | float) -> timedelta:
    return lifetime if isinstance(lifetime, timedelta) else timedelta(seconds=lifetime)


def _moment(value: object) -> object:
    if isinstance(value, (datetime, str)) or value is None:
        return value
    raise PreferenceError(
        f"'expires_at' must be a datetime with a time zone, not {value!r}: how many seconds a "
        "preference lasts is said by expires= where it is stored."
    )


def _topics(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class StoredPreference(Preference):
    """A preference as it is kept for a user.

    Attributes:
        when: Topics; the preference applies if the last message that the human wrote is about
            one of them. Without any it applies always.
        expires_at: From then on it doesn't apply; None for never.

    Raises:
        PreferenceError: As for `Preference`.
    """

    when: Annotated[tuple[str, ...], BeforeValidator(_topics), Field(max_length=TOPICS)] = ()
    expires_at: Annotated[AwareDatetime | None, BeforeValidator(_moment)] = None

    @field_validator("when")
    @classmethod
    def _check_topics(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            check_characters("when", topic)
            if not topic.strip() or len(topic) > TOPIC_CHARS:
                raise PreferenceError(
                    f"A topic of 'when' must have 1 to {TOPIC_CHARS} characters, not "
                    f"{topic[:40]!r}: name it in a word or two."
                )
        return topics

    def is_over(self, at: datetime) -> bool:
        """Whether it has expired."""
        return self.expires_at is not None and self.expires_at <= at

    def until(self, end: datetime | None) -> StoredPreference:
        """The same with an end, unless it has one of its own."""
        return (
            self if end is None or self.expires_at else self.model_copy(update={"expires_at": end})
        )

    @property
    def plain(self) -> Preference:
        """What of it a model is told."""
        return Preference(self.text, strength=self.strength, weight=self.weight)


def stored_preferences(value: PreferenceLike) -> tuple[StoredPreference, ...]:
    """One preference, several, or none, as they can be stored.

    Raises:
        PreferenceError: Something in it isn't a preference.
    """
    return preferences_of(value, StoredPreference)


Entries = Mapping[str, StoredPreference]
"""Preferences by their ids."""


class Profile(BaseModel):
    """What is stored of one user now.

    Attributes:
        preferences: All of them, oldest first, whether they apply at the moment or not.
        updated_at: When they were last changed.
    """

    model_config = ConfigDict(frozen=True)

    preferences: tuple[StoredPreference, ...]
    updated_at: datetime


Action = Literal["set", "add", "forget", "learn"]


class Change(BaseModel):
    """One change of a user's preferences.

    Attributes:
        action: What was asked for.
        at: When.
        added: What came, by id.
        removed: What went, by id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    at: AwareDatetime
    added: dict[str, StoredPreference] = Field(default_factory=dict)
    removed: dict[str, StoredPreference] = Field(default_factory=dict)


def dump(entries: Entries) -> dict[str, Any]:
    """The value that is stored for preferences."""
    return {"preferences": {name: _dumped(entry) for name, entry in entries.items()}}


def dump_change(change: Change) -> dict[str, Any]:
    """The value that is stored for a change."""
    return {
        "action": change.action,
        "at": change.at.isoformat(),
        "added": {name: _dumped(entry) for name, entry in change.added.items()},
        "removed": {name: _dumped(entry) for name, entry in change.removed.items()},
    }


def is_ours(value: Mapping[str, Any]) -> bool:
    """Whether this package wrote a value: only then do its ids tell one change from another."""
    return isinstance(value.get("preferences"), Mapping)


def read_entries(value: Mapping[str, Any]) -> Entries:
    """Preferences out of a stored value, oldest first.

    Raises:
        PreferenceError: The value has none of the shapes above, or a field is malformed.
    """
    if not isinstance(value, Mapping):
        raise PreferenceError(f"A stored value can't be {value!r:.80}: store an object.")
    if set(value) == {"preferences"}:
        held = value["preferences"]
        if isinstance(held, Mapping):
            return {name: _read(held[name], f"preferences.{name}") for name in sorted(held)}
        if isinstance(held, Sequence) and not isinstance(held, str):
            found = (_read(entry, f"preferences.{place}") for place, entry in enumerate(held))
            return _named(found)
        raise PreferenceError(f"'preferences' can't be {held!r:.80}: store a list.")
    if set(value) <= {"kind", "content"}:
        return _named([_read(_content(value.get("content")), "content")])
    return _named([_read(value)])


def read_change(value: Mapping[str, Any]) -> Change:
    """A change out of a stored value.

    Raises:
        PreferenceError: It isn't one.
    """
    with explained(PreferenceError, Change.model_fields):
        return Change.model_validate(value)


def _dumped(entry: StoredPreference) -> dict[str, Any]:
    return entry.model_dump(mode="json", exclude_defaults=True)


def _read(value: object, place: str = "") -> StoredPreference:
    """One preference; a complaint names the place."""
    try:
        if isinstance(value, (str, Mapping)):
            (preference,) = stored_preferences(value)
            return preference
        raise PreferenceError(f"A preference can't be {value!r:.80}: store a text or an object.")
    except AmuletError as error:
        raise PreferenceError(f"in {place}, {error}" if place else str(error)) from error


def _content(value: object) -> object:
    """Undo that langmem wraps a text once more where it extracted it by its own schema."""
    if isinstance(value, Mapping) and set(value) == {"content"}:
        return value["content"]
    return value


def _named(entries: Iterable[StoredPreference]) -> Entries:
    """Ids for preferences that came without: the same for the same, and before all others."""
    return {f"0-{_digest(place, entry.text)}": entry for place, entry in enumerate(entries)}


def _digest(place: int, text: str) -> str:
    return f"{place:03d}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(timezone.utc)
