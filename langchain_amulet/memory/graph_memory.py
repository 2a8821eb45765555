"""The memory of an agent: one that was given, or the store of the graph that is running.

This module knows LangGraph's stores: nothing of models or of what is remembered.
"""

from __future__ import annotations

from functools import lru_cache

from langgraph.store.base import BaseStore

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory.preference_memory import PreferenceMemory
from langchain_amulet.preferences.resolution import PreferenceSource


class GraphMemory:
    """A memory, or whatever memory belongs to the graph that is running.

    Args:
        memory: A memory for all graphs; None for one over each graph's own store.

    Raises:
        ConfigurationError: It can't be written to.
    """

    def __init__(self, memory: PreferenceSource | None = None) -> None:
        """Nothing is opened yet."""
        if not isinstance(memory, PreferenceMemory | None):
            raise ConfigurationError(
                f"Preferences can be kept in a PreferenceMemory, not in {memory!r}: make one over "
                "a store, or None for the agent's own store."
            )
        self._memory = memory
        # One per store, so that all who use it here know of each other's writes.
        self._over = lru_cache(maxsize=8)(PreferenceMemory)

    def over(self, store: BaseStore | None) -> PreferenceMemory:
        """The memory for a graph that has this store.

        Raises:
            ConfigurationError: There is neither a memory nor a store.
        """
        if self._memory is not None:
            return self._memory
        if store is None:
            raise ConfigurationError(
                "An agent's preferences must be kept somewhere, but there is neither a memory nor "
                "a store: use create_agent(..., store=...), or give a PreferenceMemory."
            )
        return self._over(store)
