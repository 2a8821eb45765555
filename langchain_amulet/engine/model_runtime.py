"""The models in use in this process: each is loaded once, with one engine, whoever asks for it.

Models and forks: a child has neither its parent's threads nor what these were about to unlock. So a
fork waits until no thread loads; a child loads what it uses itself; and it does so in a thread of
its own, see `_loaded`.

Knows that models are loaded and run. Doesn't know how, nor requests, prompts or LangChain.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import NoneType
from typing import Any, TypeVar

from langchain_amulet.engine.backends.base import LoadedModel, ModelInfo
from langchain_amulet.engine.backends.registry import load
from langchain_amulet.engine.engine import Engine
from langchain_amulet.engine.loading.load_gate import LoadGate
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.engine.remote import RemoteEngine, RemoteModel
from langchain_amulet.engine.stats import Stats
from langchain_amulet.errors import ConfigurationError, EngineClosedError
from langchain_amulet.validation.checks import check_type
from langchain_amulet.validation.wording import quoted
from langchain_amulet.waiting.threads import Workers, in_ended_thread

T = TypeVar("T")

logger = logging.getLogger(__name__)

AnyEngine = Engine | RemoteEngine
"""What has requests decoded, here or on a server."""

WORKERS = 8
"""How many threads at a time load a model, or prepare what it is asked."""

_GATE = LoadGate()
"""State of the whole process, as `_Runtimes` is: it is the process that forks."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_GATE.before_fork,
        after_in_parent=_GATE.after_fork,
        after_in_child=_GATE.after_fork_in_child,
    )


class ModelRuntime:
    """A model's place in the process: its weights and its engine, loaded at first use, once.

    Attributes:
        workers: Threads for what takes long around the model, such as loading it: its own, so that
            nothing else in the program waits for them.
        holders: Whose releasing it, by the last of them, closes it: a call under way holds it, too,
            and isn't to outlive them.
    """

    def __init__(self, model_id: str, options: LoadOptions) -> None:
        """Remember what to load; nothing is loaded yet."""
        self._model_id, self._options = model_id, options
        self.workers = Workers(WORKERS)
        self.holders: weakref.WeakSet[object] = weakref.WeakSet()
        self._loading = threading.RLock()
        self._closed = False
        self._opened: tuple[LoadedModel, AnyEngine] | None = None
        self._derived: dict[Callable[[ModelRuntime], Any], Any] = {}

    @property
    def loaded(self) -> LoadedModel:
        """The weights and the tokenizer. Raises as ``load`` does, and loads again when asked."""
        return self._open()[0]

    @property
    def engine(self) -> AnyEngine:
        """The engine that runs them, here or on a server. Raises as ``load`` and ``Engine`` do."""
        return self._open()[1]

    @property
    def info(self) -> ModelInfo | None:
        """What may be known of the model; None while it isn't loaded."""
        return None if self._opened is None else self._opened[0].info

    @property
    def stats(self) -> Stats:
        """What its engine is doing and has done; nothing while it isn't loaded."""
        return Stats() if self._opened is None else self._opened[1].stats()

    def derived(self, make: Callable[[ModelRuntime], T]) -> T:
        """What ``make`` derives from the loaded model: made once, shared, kept as long as it."""
        if make not in self._derived:  # without a lock, as every call comes this way
            with _GATE.loading(), self._loading:
                if make not in self._derived:
                    self._derived[make] = make(self)
        found: T = self._derived[make]
        return found

    def _open(self) -> tuple[LoadedModel, AnyEngine]:
        with _GATE.loading(), self._loading:
            if self._opened is None and not self._closed:
                begun, options = time.monotonic(), self._options
                loaded = _loaded(self._model_id, options)
                self._opened = loaded, _engine(loaded, options)
                _log(self._model_id, loaded.info, time.monotonic() - begun)
            if self._closed:  # while it was loaded, perhaps
                self.close()
                raise EngineClosedError(
                    f"A closed model can't answer, and {self._model_id!r} was closed before this "
                    "call ended: make a new ChatAmulet."
                )
            assert self._opened is not None
            return self._opened

    def close(self) -> None:
        """Fail what is under way with ``EngineClosedError``; waits for no load."""
        self._closed = True
        if self._opened is not None:
            self._opened[1].close()


def _engine(loaded: LoadedModel, options: LoadOptions) -> AnyEngine:
    if isinstance(loaded, RemoteModel):
        return RemoteEngine(loaded, max_queue=options.max_queue)
    return Engine(
        loaded,
        max_rows=options.max_rows,
        max_queue=options.max_queue,
        prefill_chunk=options.prefill_chunk,
        kv_cache_memory=options.kv_cache_memory,
    )


def _log(model_id: str, info: ModelInfo, seconds: float) -> None:
    logger.info(
        "Loaded %s in %.1f s: %s on %s, run by the %s backend, context of %s tokens",
        model_id,
        seconds,
        info.dtype,
        info.device,
        info.backend or "program's own",
        info.context_length or "any number of",
    )


def _loaded(model_id: str, options: LoadOptions) -> LoadedModel:
    """Load a model in a thread that ends with it.

    In a fork whose parent had computed with several threads, the thread that forked would wait for
    them for ever: OpenMP remembers each thread's helpers, and they weren't forked. A new thread has
    no helpers yet and gets its own.
    """
    return in_ended_thread(partial(load, model_id, options))


@dataclass(frozen=True)
class _Runtimes:
    """The runtimes in use, by process, model and options.

    State of the whole process, because weights are gigabytes, and a program that makes ten chat
    models of one name wants them once. So ``acquire`` hands the same runtime to all.
    Entries are weak: when the last holder drops its runtime, engine and weights go. A forked
    process gets runtimes of its own, because engines don't survive a fork.
    """

    runtimes: weakref.WeakValueDictionary[tuple[int, str, LoadOptions], ModelRuntime] = field(
        default_factory=weakref.WeakValueDictionary
    )
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acquire(self, model_id: str, options: LoadOptions, holder: object = None) -> ModelRuntime:
        with _GATE.loading(), self.lock:  # else a fork might take the lock along, and never open it
            key = (os.getpid(), model_id, options)
            runtime = self.runtimes.setdefault(key, ModelRuntime(model_id, options))
            if holder is not None:
                runtime.holders.add(holder)
            return runtime

    def release(self, runtime: ModelRuntime, holder: object) -> None:
        with _GATE.loading(), self.lock:
            runtime.holders.discard(holder)
            if runtime.holders:
                return
            # Calls under way may keep it for a while: who asks for the model now gets a new one.
            for key in [key for key, each in self.runtimes.items() if each is runtime]:
                del self.runtimes[key]
        runtime.close()


_RUNTIMES = _Runtimes()


def acquire(
    model_id: str, options: LoadOptions | None = None, holder: object = None
) -> ModelRuntime:
    """The process's one runtime for a model and options; loads nothing yet.

    Keep the runtime for as long as the model is needed: when it is dropped everywhere, its engine
    stops and its weights are freed.

    Args:
        model_id: What to load.
        options: How; None for the defaults.
        holder: Who is to `release` it; None for who only keeps it.
    """
    check_type("model_id", model_id, str)
    check_type("options", options, LoadOptions, NoneType)
    if holder is not None:
        _check_holder(holder)
    return _RUNTIMES.acquire(model_id, options or LoadOptions(), holder)


def release(runtime: ModelRuntime, holder: object) -> None:
    """Let go of a runtime; when no holder is left, what is under way fails.

    Args:
        runtime: What was acquired.
        holder: Who acquired it. One that was dropped needn't let go.
    """
    check_type("runtime", runtime, ModelRuntime)
    _check_holder(holder)
    _RUNTIMES.release(runtime, holder)


def _check_holder(holder: object) -> None:
    if not hasattr(holder, "__weakref__") or not _is_told_apart(holder):
        raise ConfigurationError(
            f"A holder must be an object of a class of the program's own, not {quoted(holder)}: it "
            "is only known by being one."
        )


def _is_told_apart(holder: object) -> bool:
    try:
        hash(holder)
    except TypeError:  # as those are that compare by what they hold
        return False
    return True
