"""What a server works with: the model, the store, the names that calls may use, and its counts.

Knows how these are opened and closed. Doesn't know HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from inspect import signature

from langgraph.store.base import BaseStore

from amulet_server.config import ServerSettings
from amulet_server.config_reading import warn_of_misspelled
from amulet_server.metrics import Metrics
from amulet_server.styles import StyleRegistry
from langchain_amulet import ChatAmulet, PreferenceMemory
from langchain_amulet.cli.store import opened_store
from langchain_amulet.engine.loading.hub import check_exists, resolve_model
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import PreferenceStore, as_store
from langchain_amulet.validation.wording import choose, quoted


@dataclass
class Readiness:
    """How far a server is with loading its model.

    Attributes:
        is_ready: Whether the model has answered once.
        failure: Why it couldn't be loaded.
        on_failure: Called when it can't be, so that a server needn't go on for nothing.
        on_ready: Called when it is.
    """

    is_ready: bool = False
    failure: Exception | None = None
    on_failure: Callable[[], object] = lambda: None
    on_ready: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Service:
    """A model and all that is around it, for as long as a server runs.

    Attributes:
        settings: What the server was told.
        llm: The model.
        store: What users prefer; None where nothing is kept.
        registry: The names that calls may use.
        metrics: What has been counted.
        readiness: Whether the model is loaded.
        cut: Set when answers that are still under way have to end, as the server stops.
        started: When it was opened, in seconds since the epoch.
    """

    settings: ServerSettings
    llm: ChatAmulet
    store: PreferenceStore | None
    registry: StyleRegistry
    metrics: Metrics = field(default_factory=Metrics)
    readiness: Readiness = field(default_factory=Readiness)
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    started: int = field(default_factory=lambda: int(time.time()))

    def check_model(self) -> None:
        """Make sure that there is a model to load, which loading it finds out only later.

        Raises:
            ModelNotFoundError: There is none of this name.
        """
        if self.llm.backend == "auto":  # to others a name may mean anything
            check_exists(resolve_model(self.llm.model), self.llm.revision)

    async def warm_up(self) -> None:
        """Load the model and have it answer once, or keep why that can't be."""
        try:
            await self.llm.aload()
            self.readiness.is_ready = True
            self.readiness.on_ready()
        except Exception as error:  # whatever a model's files can make loading raise
            self.readiness.failure = error
            self.readiness.on_failure()


@contextmanager
def opened(settings: ServerSettings) -> Iterator[Service]:
    """A service, whose model and store are closed when the block ends. No weights are loaded yet.

    Warns of environment variables that look like settings and are none.

    Raises:
        ConfigurationError: A setting can't work.
        PreferenceStoreError: The store can't be opened.
    """
    warn_of_misspelled()
    with ExitStack() as stack:
        store = _store(settings, stack)
        llm = stack.enter_context(_model(settings, store))
        yield Service(settings, llm, store, StyleRegistry.of(settings))


def _store(settings: ServerSettings, stack: ExitStack) -> PreferenceStore | None:
    if settings.store is None:
        if settings.memory:
            raise ConfigurationError(
                "memory says how a store is used, but store names none: add it, or leave memory "
                "out."
            )
        return None
    store = stack.enter_context(opened_store(settings.store))
    if not isinstance(store, BaseStore):
        return as_store(store)
    known = sorted(signature(PreferenceMemory).parameters.keys() - {"store"})
    for name in settings.memory:
        if name not in known:
            raise ConfigurationError(
                f"{quoted(name)} is unknown in memory: {choose(name, known)} one of "
                f"{', '.join(known)}."
            )
    return PreferenceMemory(store, **settings.memory)


def _model(settings: ServerSettings, store: PreferenceStore | None) -> ChatAmulet:
    fixed = {"model": settings.model, "memory": store, "redact_preferences": True}
    both = settings.load.keys() & settings.answers.keys()
    if taken := sorted(both | ((settings.load.keys() | settings.answers.keys()) & fixed.keys())):
        raise ConfigurationError(
            f"load and answers hold settings of ChatAmulet, each once, but {taken[0]!r} is decided "
            "elsewhere: leave it out."
        )
    return ChatAmulet(**fixed, **settings.load, **settings.answers)
