"""Where a user's preferences are kept in a LangGraph store, and where the history of changes is.

Either all users share a namespace and a user's record has the user's id for its key, which is the
convention of LangChain's documentation; or the namespace has the user's id in it, and everything
directly in it is that user's, which is how langmem writes.

This module knows names only: no stores, and nothing of what is kept there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from langchain_amulet.errors import (
    AmuletError,
    ConfigurationError,
    PreferenceError,
    PreferenceStoreError,
)
from langchain_amulet.preferences.user_id import check_user_id, is_user_id
from langchain_amulet.validation.wording import kind_of, quoted

USER = "{user_id}"
"""What stands for the user's id in a namespace."""

RECORD = "preferences"
"""The key of the record in a namespace that is one user's own."""

HISTORY = "preference_changes"
"""The first label of every history's namespace: beside the records, so that no search for these
finds those."""

RESERVED = ("langgraph", HISTORY)
"""First labels that are taken."""

NamespaceLike = Sequence[str] | Callable[[str], Sequence[str]]
"""Labels, in which ``{user_id}`` may stand; or a function of the user's id that gives them."""


@dataclass(frozen=True)
class RecordLocation:
    """Where one user's preferences are.

    Attributes:
        user_id: Whose they are.
        namespace: Where the record is.
        key: The record's key.
        owned: Whether everything directly in the namespace is the user's.
    """

    user_id: str
    namespace: tuple[str, ...]
    key: str
    owned: bool

    @property
    def history(self) -> tuple[str, ...]:
        """Where the user's changes are: a namespace that has no other inside it.

        Stores search a namespace with all that are inside it. If histories were nested as their
        records are, those of a tenant's users could hide, or be taken for, the tenant's own.
        """
        labels = (*self.namespace, self.user_id)
        quoted = (quote(label, "@+:", errors="surrogatepass") for label in labels)
        return HISTORY, "/".join(quoted).replace(".", "%2E")


@dataclass(frozen=True)
class Namespace:
    """Where all users' preferences are.

    Attributes:
        pattern: Labels, in which ``{user_id}`` may stand; or a function of the user's id.
    """

    pattern: tuple[str, ...] | Callable[[str], Sequence[str]]

    @classmethod
    def of(cls, value: NamespaceLike) -> Namespace:
        """Checked as far as it can be without a user.

        Raises:
            ConfigurationError: It isn't a namespace.
        """
        return cls(value if callable(value) else _labels(value))

    @cached_property
    def owned(self) -> bool:
        """Whether each user has a namespace.

        A function's namespaces are held to be shared: were one that is taken for a user's own, its
        other users' preferences would be that user's.
        """
        return not callable(self.pattern) and any(USER in label for label in self.pattern)

    def location(self, user_id: str) -> RecordLocation:
        """Where a user's preferences are.

        Raises:
            PreferenceError: This can't be a user's id, or not in this namespace.
            ConfigurationError: The function gave no namespace.
            PreferenceStoreError: The function failed.
        """
        check_user_id(user_id)
        if callable(self.pattern):
            return RecordLocation(user_id, _given(self.pattern, user_id), user_id, owned=False)
        if not self.owned:
            return RecordLocation(user_id, self.pattern, user_id, owned=False)
        labels = tuple(label.replace(USER, user_id) for label in self.pattern)
        if "." in user_id or labels[0] in RESERVED:
            raise PreferenceError(
                f"A user's id can't be {user_id!r} where it is part of a namespace, since labels "
                f"hold no full stops, and the first isn't one of {', '.join(RESERVED)}: give a "
                f"function that makes a label of it, or a namespace without {USER}."
            )
        return RecordLocation(user_id, labels, RECORD, owned=True)

    @property
    def wildcard(self) -> tuple[str, ...]:
        """The namespace with a ``*`` where users' ids are.

        Raises:
            ConfigurationError: It is a function, which can't be asked for its users.
        """
        if callable(self.pattern):
            raise ConfigurationError(
                "Users can't be listed where the namespace is a function: use a tuple, with "
                f"{USER} in it if need be."
            )
        return tuple("*" if USER in label else label for label in self.pattern)

    def user_of(self, namespace: tuple[str, ...]) -> str | None:
        """Whose namespace this is; None if nobody's, or of what can't be a user's id."""
        patterns = self.pattern if not callable(self.pattern) else ()
        if len(namespace) != len(patterns) or namespace[0] in RESERVED:
            return None
        users: set[str] = set()
        for label, pattern in zip(namespace, patterns, strict=True):
            found = re.fullmatch(re.escape(pattern).replace(re.escape(USER), "(.+)"), label, re.S)
            if found is None:
                return None
            users.update(found.groups())
        return users.pop() if len(users) == 1 and is_user_id(*users) else None


def _given(pattern: Callable[[str], Sequence[str]], user_id: str) -> tuple[str, ...]:
    """The namespace that a function gives, which is a program's own code."""
    try:
        labels = pattern(user_id)
    except AmuletError:
        raise
    except Exception as error:
        raise PreferenceStoreError(
            f"The namespace's function failed for user {quoted(user_id)}: {kind_of(error)}. Mend "
            "it; lookups can go on without it by on_store_error='ignore'."
        ) from None
    return _labels(labels)


def _labels(value: Sequence[str]) -> tuple[str, ...]:
    """The labels of a namespace, by the rules that all stores of LangGraph share."""
    labels = () if isinstance(value, str) or not isinstance(value, Sequence) else tuple(value)
    usable = (isinstance(label, str) and label and not set(label) & {".", "\0"} for label in labels)
    if not labels or not all(usable) or labels[0] in RESERVED:
        raise ConfigurationError(
            "A namespace must be a tuple of texts that aren't empty and hold no full stop, and "
            f"begin with none of {', '.join(RESERVED)}, not {quoted(value)}: use ('preferences',) "
            f"or ('users', {USER!r})."
        )
    return labels
