"""The engine: what callers hold to have requests decoded together.

Streams of a request run in lockstep as rows of one batch; requests join and leave between any
two steps. Knows token ids and a causal language model. Doesn't know text or LangChain.
"""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import Any

from langchain_amulet.engine.core import Core, Stats
from langchain_amulet.engine.generation import Generation
from langchain_amulet.engine.head import Head
from langchain_amulet.engine.lockstep import context_length
from langchain_amulet.engine.request import Request
from langchain_amulet.engine.selection import select_backend
from langchain_amulet.errors import ConfigurationError, ContextLengthError, RequestError


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
        self._core = Core(backend, Head(model.get_output_embeddings()), max_queue)
        self._finalizer = weakref.finalize(self, self._core.close)

    def submit(self, request: Request) -> Generation:
        """Queue a request and return its tokens to come.

        Raises:
            ContextLengthError: The longest prompt and ``max_tokens`` exceed the model's context.
            RequestError: More streams than ``max_rows``, or a token id that the model lacks.
            QueueFullError: ``max_queue`` requests are waiting.
            EngineClosedError: The engine was closed.
        """
        self._check(request)
        return Generation(self._core.submit(request), owner=self)

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

    def _check(self, request: Request) -> None:
        wanted = request.longest + request.max_tokens
        if self.context_length is not None and wanted > self.context_length:
            raise ContextLengthError(
                f"Prompt and answer must fit the model's context of {self.context_length} tokens, "
                f"but {request.longest} + max_tokens {request.max_tokens} is {wanted}. Shorten "
                "the conversation or lower max_tokens."
            )
        if len(request.prompts) > self._max_streams:
            raise RequestError(
                f"A request may have at most {self._max_streams} streams, the engine's max_rows, "
                f"but has {len(request.prompts)}. Raise max_rows or use fewer preferences."
            )
        for prompt in request.prompts:
            if not 0 <= min(prompt) <= max(prompt) < self.vocabulary:
                raise RequestError(
                    f"Token ids must lie in [0, {self.vocabulary}), the model's vocabulary, but "
                    f"a prompt spans [{min(prompt)}, {max(prompt)}]. Use the model's tokenizer."
                )
