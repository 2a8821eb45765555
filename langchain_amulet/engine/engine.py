"""The engine: what callers hold to have requests decoded together.

Streams of a request decode in step as rows of one batch; requests join and leave between any two
steps. Knows token ids and backends. Doesn't know text, LangChain, or what runs a model.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from types import NoneType
from typing import TypeVar

from torch import Tensor

from langchain_amulet.engine.backends.base import Backend, LoadedModel, Prompts, Steps
from langchain_amulet.engine.beam_search import BeamResult, beam_search, check_for_beams
from langchain_amulet.engine.ensemble import Ensemble, by_backend
from langchain_amulet.engine.ensemble_step import on_common_tokens
from langchain_amulet.engine.job import Job
from langchain_amulet.engine.request import Request, as_tokens
from langchain_amulet.engine.scheduler import Scheduler
from langchain_amulet.engine.stats import Stats
from langchain_amulet.engine.token_stream import TokenStream
from langchain_amulet.errors import ConfigurationError, DeadlineError, EmptyInputError, RequestError
from langchain_amulet.validation.checks import check_count, check_type
from langchain_amulet.waiting.deadline import Deadline

T = TypeVar("T")

PREFILL_CHUNKS = {"cpu": 256, "cuda": 2048}
"""By kind of device, about how many prompt tokens it computes in the time of a few decode steps.
Set rather than measured while it runs, since where a prompt is cut shows in the last digits."""


class Engine:
    """Decodes requests with one model, on one background thread.

    The thread starts with the first request, sleeps while there is none, and ends with ``close``
    or when nobody holds the engine or a stream of it any more.

    Args:
        model: As `load` gives it, or a `HuggingFaceModel` around a model of one's own.
        max_rows: The most prompt streams at a time, over all requests.
        max_queue: The most requests that may wait for rows.
        prefill_chunk: The most prompt tokens computed between two decode steps; ``None`` for what
            takes the model's device about as long as a few of these, see `PREFILL_CHUNKS`.
        kv_cache_memory: The most bytes of keys and values, of requests and of what is kept for
            others that begin alike; of each model that the engine runs. None for a share of what
            is free now: of a computer's memory a quarter and at most 4 GiB, of a GPU's three
            quarters.

    Raises:
        ConfigurationError: A limit is below 1, or ``model`` isn't a loaded model.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        max_rows: int = 64,
        max_queue: int = 4096,
        prefill_chunk: int | None = None,
        kv_cache_memory: int | None = None,
    ) -> None:
        """Take the model over; nothing is computed yet."""
        if not isinstance(model, LoadedModel):
            raise ConfigurationError(
                f"An engine needs a loaded model, not {type(model).__name__}: use what load gives, "
                "or HuggingFaceModel(model) for a model of transformers."
            )
        if prefill_chunk is None:
            prefill_chunk = PREFILL_CHUNKS.get(model.info.device.split(":")[0], 256)
        limits = {"max_rows": max_rows, "max_queue": max_queue, "prefill_chunk": prefill_chunk}
        if kv_cache_memory is not None:
            limits["kv_cache_memory"] = kv_cache_memory
        for name, value in limits.items():
            check_count(name, value, 1)
        self._model, self._backend_limits = model, (max_rows, prefill_chunk, kv_cache_memory)
        self._row_limit = max_rows
        self._main = model.new_backend(*self._backend_limits)
        self._attached: weakref.WeakValueDictionary[str, Backend] = weakref.WeakValueDictionary()
        self._attaching = threading.Lock()
        self._scheduler = Scheduler(Ensemble(self._main, max_rows), max_queue)
        self._finalizer = weakref.finalize(self, self._scheduler.close)

    def attach(self, name: str, other: object) -> Backend:
        """Let streams of requests name another engine's model, to be run here beside this one's.

        Weights are shared, and the other engine goes on as it is. The two must have the same
        tokens under the same ids, as one token is drawn and fed to both; which those are is not
        known here. The numbers of logits may differ by padding.

        Args:
            name: As in `Stream.model`.
            other: The engine whose model it is; this one itself for its own.

        Returns:
            What keeps the model attached: hold it for as long as requests may name it. Those that
            are under way hold it, too.
        """
        check_type("name", name, str)
        check_type("other", other, Engine)
        assert isinstance(other, Engine)
        with self._attaching:
            attached = self._attached.get(name)
            if attached is None or attached.model is not other._model:
                is_own = other._model is self._model
                attached = self._main if is_own else other._model.new_backend(*self._backend_limits)
                self._attached[name] = attached
            return attached

    def submit(self, request: Request) -> TokenStream:
        """Queue a request and return its tokens to come.

        Raises:
            ConfigurationError: A stream names a model that isn't attached, or the request
                speculates and a model that reads for it can't forget what was drafted wrongly.
            ContextLengthError: The longest prompt and ``max_tokens`` exceed the model's context, or
                all of them the memory that there may be for them.
            RequestError: More streams than ``max_rows``, or a token id that the model lacks.
            QueueFullError: ``max_queue`` requests are waiting.
            EngineClosedError: The engine was closed.
            ReentrantCallError: The caller is code that this engine runs, and would wait for itself.
        """
        check_type("request", request, Request)
        models = [stream.model for stream in request.plan.streams]
        readers = self._readers(models, request.prompts, request.max_tokens)
        check_streams(len(readers), self._row_limit, self._model.info.max_streams)
        for backend, streams in by_backend(readers).items():
            if request.speculates and not backend.takes_drafts:
                raise ConfigurationError(_NO_DRAFTS.format(backend.name))
            prompts = tuple(request.prompts[stream] for stream in streams)
            backend.check_memory(prompts, request.max_tokens)
        return TokenStream(self._scheduler.submit(request, readers), owner=self)

    def run(
        self,
        steps: Steps[T],
        rows: int = 1,
        deadline: Deadline | None = None,
        waits_for_room: bool = False,
    ) -> Future[T]:
        """Do something else with the models, beside the requests.

        A step of it runs on the engine's thread after each step of the requests, in inference
        mode, and everybody waits for that step. A few pieces of work are under way at a time, and
        take turns. At each yield leave the models as you found them.

        Args:
            steps: What to do, yielding often.
            rows: How many sequences it holds in memory meanwhile.
            deadline: When it fails.
            waits_for_room: As in `Request`.

        Returns:
            What ``steps`` return, to come, or what they raise, as `GenerationError` if it isn't an
            error of the package. Cancelling it ends the work at its next step.

        Raises:
            QueueFullError: ``max_queue`` pieces of work are waiting.
            EngineClosedError: The engine was closed; the future raises it if that comes later.
            ReentrantCallError: As for ``submit``.
        """
        check_type("steps", steps, Iterator)
        check_count("rows", rows)
        check_type("waits_for_room", waits_for_room, bool)
        job = Job(steps, self, rows, deadline, waits_for_room)
        self._scheduler.send(job)
        return job.outcome

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
        check_type("prompts", prompts, tuple, list)
        check_type("models", models, tuple, list, NoneType)
        ids, starts = as_tokens(continuation), [as_tokens(prompt) for prompt in prompts]
        if not starts or not all((*starts, ids)):
            raise EmptyInputError(
                "Scoring needs at least one token in each prompt and in the continuation, got "
                f"{list(map(len, starts))} and {len(ids)}. Add the missing ones."
            )
        readers = self._readers(models or [None] * len(prompts), prompts, len(ids))
        for reader in set(readers):
            reader.model.info.check_prompt(ids, 0)
        pairs = list(zip(readers, prompts, strict=True))
        return self.run(_scores(pairs, ids, self._model.info.logits_width))

    def search(
        self, request: Request, beams: int, length_penalty: float = 1.0
    ) -> Future[BeamResult]:
        """Find the likeliest answer to one prompt by beam search.

        Args:
            request: Prompt, ``max_tokens``, stop tokens and timeout; sampling doesn't apply.
            beams: How many, at least 2.
            length_penalty: Answers are compared by log-probability over length to this power.

        Returns:
            What is found, to come; or ``DeadlineError``, ``GenerationError``. Cancelling it ends
            the search.

        Raises:
            RequestError: More beams than ``max_rows``, as each takes a row's memory; or the request
                has a grammar, penalties or several streams, or the backend can't search. See
                ``submit`` and ``run`` for the rest.
        """
        check_type("request", request, Request)
        check_count("beams", beams, 2)
        if beams > self._row_limit:
            raise RequestError(
                f"A search may have at most {self._row_limit} beams, the engine's max_rows, but "
                f"has {beams}. Raise max_rows or use fewer beams."
            )
        models = [stream.model for stream in request.plan.streams]
        backend, *_ = self._readers(models, request.prompts, request.max_tokens)
        check_for_beams(request)
        grown = backend.beams(request.prompts[0])
        steps = beam_search(grown, backend, request, beams, length_penalty)
        return self.run(steps, beams, _deadline(request), request.waits_for_room)

    def stats(self) -> Stats:
        """What the engine is doing and has done."""
        return self._scheduler.stats()

    def close(self) -> None:
        """Fail what is under way with ``EngineClosedError`` and stop the thread."""
        self._finalizer()

    def __enter__(self) -> Engine:
        """Close on leaving the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the thread."""
        self.close()

    def _readers(
        self, models: Sequence[str | None], prompts: Prompts, max_tokens: int
    ) -> tuple[Backend, ...]:
        """What reads each prompt, once it is sure that it can, with ``max_tokens`` more tokens."""
        readers = tuple(map(self._reader, models))
        for reader, prompt in zip(readers, prompts, strict=True):
            reader.model.info.check_prompt(prompt, max_tokens)
        return readers

    def _reader(self, model: str | None) -> Backend:
        check_type("A stream's model", model, str, NoneType)
        reader = self._main if model is None else self._attached.get(model)
        if reader is None:
            raise ConfigurationError(
                f"A stream's model must be attached to the engine, but {model!r} isn't: attach "
                "it, and hold what that returns."
            )
        return reader


def check_streams(count: int, max_rows: int, max_streams: int | None = None) -> None:
    """Refuse a request of more streams than are decoded at a time.

    Args:
        count: How many it has.
        max_rows: The most that there may be by the engine's settings.
        max_streams: The most that the model can read; None for any number.

    Raises:
        RequestError: There are more.
    """
    is_models = max_streams is not None and max_streams < count
    if count > max_rows or is_models:
        most = f"{max_streams} of them by this model" if is_models else f"max_rows, here {max_rows}"
        raise RequestError(
            f"A call's prompts are read side by side, at most {most}, but this one has {count}: "
            f"{'' if is_models else 'raise max_rows, '}use fewer preferences, or method='pref', "
            "which puts all of them into one prompt."
        )


_NO_DRAFTS = (
    "Speculation needs a backend that can forget tokens which were drafted wrongly, which "
    "{!r} can't: leave speculation out, or use a model that the batched backend runs."
)


def _scores(
    pairs: Sequence[tuple[Backend, Sequence[int]]], continuation: Sequence[int], width: int
) -> Steps[Tensor]:
    """How likely a continuation is after each prompt, by the backend that reads it."""
    rows: list[Tensor] = []
    for backend, prompt in pairs:
        logits = yield from backend.score(prompt, continuation)
        rows.append(logits.log_softmax(-1))
    return on_common_tokens(rows, width)


def _deadline(request: Request) -> Deadline | None:
    """When a search fails; None for never."""
    if request.timeout is None:
        return None
    return Deadline(time.monotonic() + request.timeout, partial(_too_late, request.timeout))


def _too_late(timeout: float) -> DeadlineError:
    return DeadlineError(
        f"The answer wasn't found within its timeout of {timeout} s by beam search. Raise timeout, "
        "or use fewer beams or tokens."
    )
