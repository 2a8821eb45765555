"""What the engine needs of whatever runs the model: seats, prefill, decode.

Two backends exist. ``batched`` keeps all streams as rows of one KV cache; ``sequential`` serves one
request at a time with the library's own cache. Knows nothing of sampling, queues or callers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

Prompts = tuple[tuple[int, ...], ...]


class Slot(Protocol):
    """One request's place in a backend: one row per stream."""

    @property
    def is_filled(self) -> bool:
        """Whether its prompts are in the cache, so that it can be started."""
        ...

    @property
    def rows(self) -> list[int]:
        """Where its streams are in the logits of the next ``decode``, in stream order."""
        ...

    def push(self, token: int) -> None:
        """Set the token that every stream feeds at the next ``decode``."""
        ...


class Backend(Protocol):
    """Runs one causal language model."""

    @property
    def in_one_pass(self) -> bool:
        """Whether a ``decode`` is one forward pass, its rows the rows of the logits."""
        ...

    @property
    def max_streams(self) -> int:
        """The most streams that one request may have."""
        ...

    @property
    def live_rows(self) -> int:
        """Streams that hold memory now."""
        ...

    def has_room(self, streams: int) -> bool:
        """Whether a request with this many streams could join now."""
        ...

    def join(self, prompts: Prompts) -> Slot:
        """Take a request in. Nothing is computed yet."""
        ...

    def leave(self, seat: Any) -> None:
        """Let a request go, at any time; its memory is free at once."""
        ...

    def prefill(self) -> Mapping[Any, Exception]:
        """Put one more chunk of the waiting prompts into the cache, if any wait.

        Returns:
            The seats for which that failed, with what it raised. They are still to ``leave``.
        """
        ...

    def start(self, seat: Any) -> None:
        """Let a filled seat take part in ``decode`` from now on.

        What it raises, such as for want of memory, leaves the seat where it was.
        """
        ...

    @property
    def prefill_tokens(self) -> int:
        """Prompt tokens computed since the start; shared ones count once."""
        ...

    def decode(self, forward: Callable[[Callable[[], Tensor]], Tensor]) -> Tensor:
        """One step of every started seat: logits ``[rows, vocabulary]``.

        Args:
            forward: Runs the forward pass that it is given, so the caller can watch it.
        """
        ...


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens, from the start, two prompts have in common."""
    pairs = enumerate(zip(first, second, strict=False))
    unlike = (place for place, (one, other) in pairs if one != other)
    return next(unlike, min(len(first), len(second)))
