"""Memories that tell how they were asked."""

from langgraph.store.memory import InMemoryStore

from langchain_amulet import Preference, PreferenceMemory

KIND = "Be kind to them."


class Notes(PreferenceMemory):
    """A memory that says who it was asked for, and how."""

    def __init__(self, **preferences: str) -> None:
        super().__init__(InMemoryStore())
        self.asked: list[tuple[str, str, str | None]] = []
        for user_id, preference in preferences.items():
            self.set(user_id, preference)

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        self.asked.append(("get", user_id, about))
        return super().get(user_id, about)

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        self.asked.append(("aget", user_id, about))
        return await super().aget(user_id, about)


class Empty:
    """A memory over what is empty, and so false, until it is asked."""

    def __len__(self) -> int:
        return 0

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return (Preference(KIND),)

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return (Preference(KIND),)
