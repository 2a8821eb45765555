"""The engine: what callers hold to have requests decoded together.

Streams of a request run in lockstep as rows of one batch; requests join and leave between any
two steps. Knows token ids and a causal language model. Doesn't know text or LangChain.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from torch import Tensor

from langchain_amulet.engine.backends.base import Prompts
from langchain_amulet.engine.backends.select import select_backend
from langchain_amulet.engine.beam_search import (
    BeamMonitor,
    BeamResult,
    beam_search,
    check_for_beams,
)
from langchain_amulet.engine.ensemble import Ensemble, on_common_tokens
from langchain_amulet.engine.job import Job
from langchain_amulet.engine.model_runner import ModelRunner
from langchain_amulet.engine.request import Request
from langchain_amulet.engine.scheduler import Scheduler, Stats
from langchain_amulet.engine.scoring import score
from langchain_amulet.engine.token_stream import TokenStream
from langchain_amulet.errors import (
    ConfigurationError,
    EmptyInputError,
    RequestError,
)

T = TypeVar("T")


class Engine:
    """Decodes requests with one causal language model, on one background thread.

    The thread starts with the first request, sleeps while there is none, and ends with ``close``
    or when nobody holds the engine or a generation of it any more.

    Args:
        model: A Hugging Face causal language model, in evaluation mode. The engine is its only
            user while requests are under way.
        max_rows: The most prompt streams at a time, over all requests.
        max_queue: The most requests that may wait for rows.
        prefill_chunk: The most prompt tokens computed between two decode steps.

    Raises:
        ConfigurationError: A limit is below 1.
        UnsupportedModelError: The model can't be decoded with a cache.
    """

    def __init__(
        self, model: Any, *, max_rows: int = 64, max_queue: int = 4096, prefill_chunk: int = 256
    ) -> None:
        """Choose the backend by a short probe of the model."""
        limits = {"max_rows": max_rows, "max_queue": max_queue, "prefill_chunk": prefill_chunk}
        for name, value in limits.items():
            if value < 1:
                raise ConfigurationError(
                    f"{name} must be at least 1, got {value}. Leave it out for the default."
                )
        self._model, self._make_backend = model, select_backend(model)
        self._limits, self._attaching = (max_rows, prefill_chunk), threading.Lock()
        self._main = self._member(self)
        self._max_rows = min(max_rows, self._main.backend.max_streams)
        self._companions: weakref.WeakValueDictionary[str, ModelRunner] = (
            weakref.WeakValueDictionary()
        )
        self._core = Scheduler(Ensemble(self._main, max_rows), max_queue)
        self._finalizer = weakref.finalize(self, self._core.close)

    @property
    def runs_together(self) -> bool:
        """Whether all requests share one forward pass per step."""
        return self._main.backend.in_one_pass

    def attach(self, name: str, other: Engine) -> ModelRunner:
        """Let streams of requests name another engine's model, to be run here in lockstep.

        Weights are shared, and the other engine goes on as it is. The two must have the same
        tokens under the same ids, as one token is drawn and fed to both; which those are is not
        known here. The numbers of logits may differ by padding.

        Args:
            name: As in `Stream.model`.
            other: Whose model it is; this engine itself for its own.

        Returns:
            What keeps the model attached: hold it for as long as requests may name it. Those that
            are under way hold it, too.
        """
        with self._attaching:
            attached = self._companions.get(name)
            if attached is None or attached.model is not other._model:
                attached = self._main if other is self else self._member(other)
                self._companions[name] = attached
            return attached

    def submit(self, request: Request) -> TokenStream:
        """Queue a request and return its tokens to come.

        Raises:
            ConfigurationError: A stream names a model that isn't attached.
            ContextLengthError: The longest prompt and ``max_tokens`` exceed the model's context.
            RequestError: More streams than ``max_rows``, or a token id that the model lacks.
            QueueFullError: ``max_queue`` requests are waiting.
            EngineClosedError: The engine was closed.
        """
        models = [stream.model for stream in request.plan.streams]
        readers = self._readers(models, request.prompts, request.max_tokens)
        if len(readers) > self._max_rows:
            raise RequestError(
                f"A request may have at most {self._max_rows} streams, the engine's max_rows, "
                f"but has {len(readers)}. Raise max_rows or use fewer preferences."
            )
        return TokenStream(self._core.submit(request, readers), owner=self)

    def run(self, work: Callable[[Any], T]) -> Future[T]:
        """Do something else with the model: ``work(model)``, with nobody else using it.

        It runs on the engine's thread between two decode steps, in inference mode, and everybody
        waits for it. Pieces of work are done in their order, one per step, so requests under way
        and work take turns. Leave the model as you found it.

        Returns:
            What ``work`` returns or raises, to come. Cancelling it before it began undoes it.

        Raises:
            QueueFullError: ``max_queue`` pieces of work are waiting.
            EngineClosedError: The engine was closed; the future raises it if that comes later.
        """
        errand = Job(partial(work, self._model), owner=self)
        self._core.send(errand)
        return errand.outcome

    def score(
        self,
        prompts: Prompts,
        continuation: Sequence[int],
        models: Sequence[str | None] | None = None,
    ) -> Future[Tensor]:
        """How likely a continuation is after each prompt, token by token.

        Args:
            prompts: Token ids, one tuple per stream.
            continuation: Token ids, at least one.
            models: Who reads each prompt, as in `Stream.model`; this engine's model if left out.

        Returns:
            Log-probabilities of the whole vocabulary at each place of the continuation, to come:
            ``[streams, len(continuation), vocabulary]``, float32.

        Raises:
            EmptyInputError: A prompt or the continuation is empty.
            ConfigurationError: A model isn't attached.
            ContextLengthError: The longest prompt and the continuation exceed the context.
            RequestError: A token id that the model lacks. See ``run`` for the rest.
        """
        ids = tuple(continuation)
        if not prompts or not all((*prompts, ids)):
            raise EmptyInputError(
                "Scoring needs at least one token in each prompt and in the continuation, got "
                f"{[len(prompt) for prompt in prompts]} and {len(ids)}. Add the missing ones."
            )
        readers = self._readers(models or [None] * len(prompts), prompts, len(ids))
        for member in set(readers):
            member.check(ids, 0)
        width = self._main.width

        def work(model: Any) -> Tensor:
            pairs = zip(readers, prompts, strict=True)
            return on_common_tokens([score(m.model, m.head, p, ids) for m, p in pairs], width)

        return self.run(work)

    def search(
        self,
        request: Request,
        beams: int,
        length_penalty: float = 1.0,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Future[BeamResult]:
        """Find the likeliest answer to one prompt by beam search, while all others wait.

        Args:
            request: Prompt, ``max_tokens`` and stop tokens; sampling doesn't apply.
            beams: How many, at least 2.
            length_penalty: Answers are compared by log-probability over length to this power.
            is_wanted: Asked at each step; when nobody wants the answer the search ends.

        Returns:
            What is found, to come; or ``DeadlineError``, ``CancelledError``, ``GenerationError``.

        Raises:
            RequestError: The request has a grammar, penalties or several streams. See ``submit``
                and ``run`` for the rest.
        """
        check_for_beams(request)
        models = [stream.model for stream in request.plan.streams]
        (reader,) = self._readers(models, request.prompts, request.max_tokens)
        model, head, watch = reader.model, reader.head, BeamMonitor(request.timeout, is_wanted)
        return self.run(lambda _: beam_search(model, head, request, beams, length_penalty, watch))

    def stats(self) -> Stats:
        """What the engine is doing and has done."""
        return self._core.stats()

    def close(self) -> None:
        """Fail what is under way with ``EngineClosedError`` and stop the thread."""
        self._finalizer()

    def __enter__(self) -> Engine:
        """Close on leaving the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self.close()

    def _readers(
        self, models: Sequence[str | None], prompts: Prompts, length: int
    ) -> tuple[ModelRunner, ...]:
        """Who reads each prompt, once it is sure that they can, with ``length`` more tokens."""
        readers = tuple(map(self._reader, models))
        for member, prompt in zip(readers, prompts, strict=True):
            member.check(prompt, length)
        return readers

    def _reader(self, model: str | None) -> ModelRunner:
        member = self._main if model is None else self._companions.get(model)
        if member is None:
            raise ConfigurationError(
                f"A stream's model must be attached to the engine, but {model!r} isn't: attach "
                "it, and hold what that returns."
            )
        return member

    def _member(self, other: Engine) -> ModelRunner:
        return ModelRunner(other._model, other._make_backend(*self._limits))
