"""Preference stores of one's own, each made in another way."""

import asyncio
from typing import Any

from langchain_amulet import Preference
from langchain_amulet.memory import Profile, SimplePreferenceStore, StoredPreference


class SyncStore(SimplePreferenceStore):
    """Over a dict, synchronous."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def load(self, user_id: str) -> Any:
        return self.kept.get(user_id)

    def save(self, user_id: str, preferences: tuple[StoredPreference, ...]) -> None:
        self.kept[user_id] = preferences


class AsyncStore(SimplePreferenceStore):
    """Over a service that answers in JSON, asynchronous."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def load(self, user_id: str) -> Any:
        await asyncio.sleep(0)
        return self.kept.get(user_id)

    async def save(self, user_id: str, preferences: tuple[StoredPreference, ...]) -> None:
        await asyncio.sleep(0)
        self.kept[user_id] = [preference.model_dump(mode="json") for preference in preferences]


class HandwrittenStore:
    """All methods of the protocol, and nothing of the package's behind them."""

    def __init__(self) -> None:
        self.kept: dict[str, list[StoredPreference]] = {}

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return tuple(self.kept.get(user_id, ()))

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return self.get(user_id, about)

    def profile(self, user_id: str) -> Profile | None:
        kept = self.kept.get(user_id)
        return Profile(preferences=tuple(kept)) if kept else None

    async def aprofile(self, user_id: str) -> Profile | None:
        return self.profile(user_id)

    def set(self, user_id: str, preference: Any) -> None:
        self.kept[user_id] = _each_stored(preference)

    async def aset(self, user_id: str, preference: Any) -> None:
        self.set(user_id, preference)

    def add(self, user_id: str, preference: Any) -> None:
        self.kept.setdefault(user_id, []).extend(_each_stored(preference))

    async def aadd(self, user_id: str, preference: Any) -> None:
        self.add(user_id, preference)

    def forget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        kept = self.kept.get(user_id, [])
        gone = [each for each in kept if text is None or each.text.lower() == text.lower()]
        self.kept[user_id] = [each for each in kept if each not in gone]
        return tuple(gone)

    async def aforget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        return self.forget(user_id, text)


OWN_STORES = (SyncStore, AsyncStore, HandwrittenStore)


def _each_stored(preference: Any) -> list[StoredPreference]:
    given = [preference] if isinstance(preference, str) else preference
    return [StoredPreference(each) if isinstance(each, str) else each for each in given]
