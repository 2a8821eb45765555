"""What may be given as a memory, made into one: stores, functions, or what an agent has.

This module knows the kinds of memories there are: nothing of what they hold, or of agents.
"""

from __future__ import annotations

import pickle
from functools import lru_cache
from typing import Self

from langgraph.store.base import BaseStore

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory.preference_memory import PreferenceMemory
from langchain_amulet.memory.preference_store import PreferenceStore
from langchain_amulet.memory.resolvers import Resolve, ResolverMemory
from langchain_amulet.preferences.resolution import PreferenceSource


def as_memory(value: PreferenceSource | BaseStore | Resolve) -> PreferenceSource:
    """What can be asked for preferences: as it is, over a LangGraph store, or over a function.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(value, BaseStore):
        return PreferenceMemory(value)
    if not isinstance(value, type):  # a class has the methods, too, but not for use
        if isinstance(value, PreferenceSource):
            return value
        if callable(value):
            return ResolverMemory(value)
    raise ConfigurationError(
        "A memory must be a PreferenceMemory or another object with get and aget, a store of "
        f"LangGraph's or a function of the user's id, not {_lacking(value, PreferenceSource)}: "
        "use one of those."
    )


def as_store(value: object) -> PreferenceStore:
    """What preferences can be kept in: as it is, or over a LangGraph store.

    Raises:
        ConfigurationError: It is neither; the message says which methods it lacks.
    """
    if isinstance(value, BaseStore):
        return PreferenceMemory(value)
    if isinstance(value, PreferenceStore) and not isinstance(value, type):
        return value
    raise ConfigurationError(
        f"Preferences can be kept in a PreferenceStore, not in {_lacking(value, PreferenceStore)}: "
        "use a PreferenceMemory over one of LangGraph's stores, or make a store of your own of "
        "SimplePreferenceStore."
    )


def check_pickled(memory: object, whose: str, remedy: str) -> None:
    """Refuse to pickle what has a memory that can't be.

    Args:
        memory: The memory.
        whose: Whose it is, for the message.
        remedy: What to pickle instead.

    Raises:
        ConfigurationError: It can't.
    """
    try:
        pickle.dumps(memory)
    except Exception as error:  # whatever a store raises that holds connections or locks
        raise ConfigurationError(
            f"To be pickled, {whose} memory must be something that can be, but this "
            f"{type(memory).__name__} isn't: {remedy}"
        ) from error


def _lacking(value: object, protocol: type) -> str:
    """A value that isn't of a protocol, by its type: what is in it may be somebody's preference."""
    if isinstance(value, type):
        return f"the class {value.__name__}, of which an instance is needed"
    methods = (name for name in dir(protocol) if not name.startswith("_"))
    missing = ", ".join(name for name in methods if not hasattr(value, name))
    return f"a value of type {type(value).__name__}, which lacks {missing}"


class AgentStore:
    """Where an agent's preferences are kept: in a store for all agents, or in each agent's own.

    Args:
        store: The store for all agents; None for each agent's own.

    Raises:
        ConfigurationError: It can't be written to.
    """

    def __init__(self, store: PreferenceStore | BaseStore | None = None) -> None:
        """Nothing is opened yet."""
        self._store = None if store is None else as_store(store)
        # One per store, so that all who use it here know of each other's writes.
        self._over = lru_cache(maxsize=8)(PreferenceMemory)

    def __deepcopy__(self, memo: object) -> Self:
        """The same: copies of an agent's tools write where the tools write."""
        return self

    def __reduce__(self) -> tuple[type[AgentStore], tuple[PreferenceStore | None]]:
        """What is pickled: the store for all agents, where it can be.

        Raises:
            ConfigurationError: It can't.
        """
        check_pickled(
            self._store,
            "the tools'",
            "pickle those of preference_tools(), which write to the store of the agent that has "
            "them.",
        )
        return AgentStore, (self._store,)

    def of(self, store: BaseStore | None) -> PreferenceStore:
        """The one for an agent whose own LangGraph store is this.

        Raises:
            ConfigurationError: There is neither a store for all nor one of its own.
        """
        if self._store is not None:
            return self._store
        if store is None:
            raise ConfigurationError(
                "An agent's preferences must be kept somewhere, but there is neither a memory nor "
                "a store: use create_agent(..., store=...), or give a PreferenceMemory."
            )
        return self._over(store)
