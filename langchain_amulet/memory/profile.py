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
from collections.abc import Iterable, Mapping, Sequence, Sized
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from langchain_amulet.errors import AmuletError, PreferenceError
from langchain_amulet.preferences.preference import (
    MOST_PREFERENCES,
    Preference,
    PreferenceLike,
    check_characters,
    preferences_of,
)
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.validation.wording import dotted, quoted

TOPIC_CHARS = 100
TOPICS = 32

Lifetime = datetime | timedelta | float | None
"""When something ends: a moment, or how long from now, in seconds if a number; None for never."""


def end_of(lifetime: Lifetime, start: datetime) -> datetime | None:
    """The moment at which something ends.

    Raises:
        PreferenceError: It is no time, one that is over, or one without a time zone.
    """
    if lifetime is None:
        return None
    try:
        end = lifetime if isinstance(lifetime, datetime) else start + _duration(lifetime)
    except (TypeError, ValueError, OverflowError):
        raise _refused("must be a time", quoted(lifetime)) from None
    if end.tzinfo is None:
        raise _refused("must have a time zone", end.isoformat())
    if end <= start:
        raise _refused("must be in the future", end.isoformat())
    return end


def _refused(rule: str, value: str) -> PreferenceError:
    return PreferenceError(
        f"An expiry {rule}, unlike {value}: give a datetime such as "
        "datetime.now(timezone.utc) + timedelta(days=1), or seconds."
    )


def _duration(lifetime: timedelta | float) -> timedelta:
    return lifetime if isinstance(lifetime, timedelta) else timedelta(seconds=lifetime)


def _moment(value: object) -> object:
    if isinstance(value, (datetime, str)) or value is None:
        return value
    raise PreferenceError(
        f"'expires_at' must be a datetime with a time zone, not {quoted(value)}: how many seconds "
        "a preference lasts is said by expires= where it is stored."
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
                    f"{len(topic.strip())}: name it in a word or two."
                )
        return topics

    def is_over(self, at: datetime) -> bool:
        """Whether it has expired."""
        return self.expires_at is not None and self.expires_at <= at

    def until(self, end: datetime | None) -> StoredPreference:
        """A copy that ends then, unless it has an end of its own."""
        if end is None or self.expires_at:
            return self
        return self.model_copy(update={"expires_at": end})

    @property
    def plain(self) -> Preference:
        """What of it is for a model to know; it was checked when this was made."""
        return Preference.model_construct(
            text=self.text, strength=self.strength, weight=self.weight
        )


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
        updated_at: When they were last changed; None where the store doesn't tell.
    """

    model_config = ConfigDict(frozen=True)

    preferences: tuple[StoredPreference, ...]
    updated_at: datetime | None = None

    @property
    def lasting(self) -> tuple[StoredPreference, ...]:
        """Those that aren't over by now: what can be set for another user, or told a model."""
        at = now()
        return tuple(each for each in self.preferences if not each.is_over(at))


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


def normalized(text: str) -> str:
    """What two texts have in common that are the same preference."""
    return text.strip().casefold()


def distinct(*read: Entries) -> Entries:
    """All preferences whose text isn't there again later.

    Writers at the same time can't see each other add the same text; what a user prefers is said
    once all the same. The others stay in the record, so that all of them can be forgotten.
    """
    entries: dict[str, StoredPreference] = {}
    for each in read:
        entries.update(each)
    if len(entries) < 2:
        return entries
    last = {normalized(entry.text): name for name, entry in entries.items()}
    return {name: each for name, each in entries.items() if last[normalized(each.text)] == name}


def named(preferences: Iterable[StoredPreference]) -> Entries:
    """Ids for preferences that came without: the same for the same, and before all others."""
    return {f"0-{_digest(place, each.text)}": each for place, each in enumerate(preferences)}


def dump(entries: Entries) -> dict[str, Any]:
    """The value that is stored for preferences."""
    return {"preferences": _dumped(entries)}


def dump_change(change: Change) -> dict[str, Any]:
    """The value that is stored for a change."""
    return {
        "action": change.action,
        "at": change.at.isoformat(),
        "added": _dumped(change.added),
        "removed": _dumped(change.removed),
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
        raise PreferenceError(
            f"A stored value can't be of type {type(value).__name__}: store an object."
        )
    if set(value) == {"preferences"}:
        values, entries = value["preferences"], {}
        if isinstance(values, Sized) and len(values) > MOST_PREFERENCES:
            raise PreferenceError(
                f"A record may hold at most {MOST_PREFERENCES} preferences, not {len(values)}: "
                "store fewer."
            )
        if isinstance(values, Mapping):
            for name in sorted(values, key=str):
                entries[str(name)] = _read(values[name], "preferences", name)
            return entries
        if isinstance(values, Sequence) and not isinstance(values, str):
            return named(_read(each, "preferences", place) for place, each in enumerate(values))
        raise PreferenceError(
            f"'preferences' can't be of type {type(values).__name__}: store a list."
        )
    if set(value) <= {"kind", "content"}:
        return named([_read(_content(value.get("content")), "content")])
    return named([_read(value)])


def read_change(value: Mapping[str, Any]) -> Change:
    """A change out of a stored value.

    Raises:
        PreferenceError: It isn't one.
    """
    with explained(PreferenceError, Change.model_fields, quoting=False):
        return Change.model_validate(value)


def _dumped(entries: Entries) -> dict[str, Any]:
    return {
        name: entry.model_dump(mode="json", exclude_defaults=True)
        for name, entry in entries.items()
    }


def _read(value: object, *place: object) -> StoredPreference:
    """One preference; a complaint names the place that it is in."""
    try:
        if isinstance(value, str):
            return StoredPreference(text=value)
        if isinstance(value, Mapping):
            fields: dict[str, Any] = dict(zip(map(str, value), value.values(), strict=True))
            return StoredPreference(**fields)
        raise PreferenceError(
            f"A preference can't be of type {type(value).__name__}: store a text or an object."
        )
    except AmuletError as error:
        told = f"in {dotted(place)}, {error}" if place else str(error)
        raise PreferenceError(told) from error


def _content(value: object) -> object:
    """Undo that langmem wraps a text once more where it extracted it by its own schema."""
    if isinstance(value, Mapping) and set(value) == {"content"}:
        return value["content"]
    return value


def _digest(place: int, text: str) -> str:
    return f"{place:03d}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)
