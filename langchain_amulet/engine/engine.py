"""The engine: what callers hold to have requests decoded together.

Streams of a request run in lockstep as rows of one batch; requests join and leave between any
two steps. Knows token ids and a causal language model. Doesn't know text or LangChain.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from torch import Tensor

from langchain_amulet.engine.backend import Prompts
from langchain_amulet.engine.beams import Found, Watch, beam_search, check_for_beams
from langchain_amulet.engine.core import Core, Stats
from langchain_amulet.engine.errand import Errand
from langchain_amulet.engine.generation import Generation
from langchain_amulet.engine.head import Head
from langchain_amulet.engine.lockstep import context_length
from langchain_amulet.engine.request import Request
from langchain_amulet.engine.scoring import score
from langchain_amulet.engine.selection import select_backend
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
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
        backend = select_backend(model, max_rows, prefill_chunk)
        self._max_streams = backend.max_streams
        self.context_length = context_length(model.config)
        self.vocabulary = int(model.get_input_embeddings().num_embeddings)
        self.runs_together = backend.in_one_pass
        self._model, self._head = model, Head(model.get_output_embeddings())
        self._core = Core(backend, self._head, max_queue)
        self._finalizer = weakref.finalize(self, self._core.close)

    def submit(self, request: Request) -> Generation:
        """Queue a request and return its tokens to come.

        Raises:
            ContextLengthError: The longest prompt and ``max_tokens`` exceed the model's context.
            RequestError: More streams than ``max_rows``, or a token id that the model lacks.
            QueueFullError: ``max_queue`` requests are waiting.
            EngineClosedError: The engine was closed.
        """
        self._check_ids(request.prompts)
        self._check_length(request.longest, request.max_tokens)
        self._check_streams(request)
        return Generation(self._core.submit(request), owner=self)

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
        errand = Errand(partial(work, self._model), owner=self)
        self._core.send(errand)
        return errand.outcome

    def score(self, prompts: Prompts, continuation: Sequence[int]) -> Future[Tensor]:
        """How likely a continuation is after each prompt, token by token.

        Args:
            prompts: Token ids, one tuple per stream.
            continuation: Token ids, at least one.

        Returns:
            Log-probabilities of the whole vocabulary at each place of the continuation, to come:
            ``[streams, len(continuation), vocabulary]``, float32.

        Raises:
            EmptyInputError: A prompt or the continuation is empty.
            ContextLengthError: The longest prompt and the continuation exceed the context.
            RequestError: A token id that the model lacks. See ``run`` for the rest.
        """
        ids = tuple(continuation)
        if not prompts or not all((*prompts, ids)):
            raise EmptyInputError(
                "Scoring needs at least one token in each prompt and in the continuation, got "
                f"{[len(prompt) for prompt in prompts]} and {len(ids)}. Add the missing ones."
            )
        self._check_ids((*prompts, ids))
        self._check_length(max(map(len, prompts)), len(ids))
        return self.run(lambda model: score(model, self._head, prompts, ids))

    def search(
        self,
        request: Request,
        beams: int,
        length_penalty: float = 1.0,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Future[Found]:
        """Find the likeliest answer to a plain prompt by beam search, while all others wait.

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
        self._check_ids(request.prompts)
        self._check_length(request.longest, request.max_tokens)
        watch = Watch(request.timeout, is_wanted)
        return self.run(
            lambda model: beam_search(model, self._head, request, beams, length_penalty, watch)
        )

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

    def _check_length(self, prompt: int, answer: int) -> None:
        if self.context_length is not None and prompt + answer > self.context_length:
            raise ContextLengthError(
                f"Prompt and answer must fit the model's context of {self.context_length} tokens, "
                f"but {prompt} + {answer} is {prompt + answer}. Shorten the conversation or lower "
                "max_tokens."
            )

    def _check_streams(self, request: Request) -> None:
        if request.plan.models:
            raise ConfigurationError(
                "An engine decodes streams of its own model only, but the plan has some of "
                f"{', '.join(map(repr, request.plan.models))}: use a method with one model."
            )
        if len(request.prompts) > self._max_streams:
            raise RequestError(
                f"A request may have at most {self._max_streams} streams, the engine's max_rows, "
                f"but has {len(request.prompts)}. Raise max_rows or use fewer preferences."
            )

    def _check_ids(self, prompts: Prompts) -> None:
        for prompt in prompts:
            if not 0 <= min(prompt) <= max(prompt) < self.vocabulary:
                raise RequestError(
                    f"Token ids must lie in [0, {self.vocabulary}), the model's vocabulary, but "
                    f"a prompt spans [{min(prompt)}, {max(prompt)}]. Use the model's tokenizer."
                )
