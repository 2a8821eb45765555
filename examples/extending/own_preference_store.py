"""A preference store of your own: what users prefer, in a JSON file.

::

    cd examples/extending
    python own_preference_store.py
    langchain-amulet preferences list --store own_preference_store:store
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from langchain_amulet import ChatAmulet
from langchain_amulet.memory import SimplePreferenceStore, StoredPreference


class JsonFileStore(SimplePreferenceStore):
    """Preferences in a file that people can read, for one program at a time."""

    def __init__(self, file: Path) -> None:
        """Read nothing yet; the file needn't be there."""
        self.file = file

    def load(self, user_id: str) -> Any:
        """What was saved last for a user."""
        return self._read().get(user_id)

    def save(self, user_id: str, preferences: tuple[StoredPreference, ...]) -> None:
        """Keep a user's preferences."""
        kept = self._read()
        fields = {"mode": "json", "exclude_defaults": True}
        kept[user_id] = [preference.model_dump(**fields) for preference in preferences]
        self.file.write_text(json.dumps(kept, indent=2, ensure_ascii=False), encoding="utf-8")

    def list(self, limit: int = 100, offset: int = 0) -> tuple[str, ...]:
        """The users, for `langchain-amulet preferences list`: nothing else needs it."""
        return tuple(user for user, kept in self._read().items() if kept)[offset:][:limit]

    def _read(self) -> dict[str, Any]:
        return json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}


def store() -> JsonFileStore:
    """The store that the command line opens."""
    return JsonFileStore(Path("preferences.json"))


if __name__ == "__main__":
    memory = store()
    memory.set("ada", "Keep it short.")
    with ChatAmulet(model="pocket", temperature=0, memory=memory) as llm:
        for user in ("ada", "somebody else"):
            print(f"{user}:", llm.invoke("How do I sleep better?", user_id=user).text)
