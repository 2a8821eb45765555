"""What the last lookups found, for as long and for as many users as a program asks for.

This module knows neither stores nor users: only their ids.
"""

from __future__ import annotations

from threading import Lock

from cachetools import TTLCache

from langchain_amulet.memory.profile import Profile


class ProfileCache:
    """Profiles by user.

    Args:
        seconds: How long one is remembered; None to remember none.
        users: How many are.
    """

    def __init__(self, seconds: float | None, users: int) -> None:
        """Nothing is remembered yet."""
        self._lock = Lock()
        self._found: TTLCache[str, tuple[Profile | None]] | None = None
        if seconds is not None:
            self._found = TTLCache(users, seconds)
        self.drops = 0
        """How often one was dropped. What was read before the last time may be out of date."""

    def get(self, user_id: str) -> tuple[Profile | None] | None:
        """What was found of a user, by itself in a tuple; None if that isn't remembered."""
        with self._lock:
            return self._found.get(user_id) if self._found is not None else None

    def put(self, user_id: str, profile: Profile | None, drops: int) -> None:
        """Remember what was read when this had dropped so many."""
        with self._lock:
            if self._found is not None and drops == self.drops:
                self._found[user_id] = (profile,)

    def drop(self, user_id: str) -> None:
        """Remember nothing of a user, who is written to."""
        with self._lock:
            self.drops += 1
            if self._found is not None:
                self._found.pop(user_id, None)
