"""Decode steps of a few fixed shapes, so that a GPU can play them back: CUDA graphs.

For few rows a step takes a GPU less time than Python takes to launch its kernels, nearly all of
which are the body's: the model without its head. So the body is run at buckets of rows and columns,
on tensors that stay where they are, and recorded at the first step of each bucket. What fills a
bucket up belongs to nobody, and nobody sees it.

Recordings are few, the oldest go first, and all go when the cache's memory moves. Where one can't
be made, for want of memory or because a model's body waits for the device, none are made any more,
and steps are computed as they are elsewhere.

Knows a model's body and windows of a cache. Doesn't know requests, or what hidden states are for.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.huggingface.attention_masks import attention_masks
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.kv_cache import CacheWindow, KVCache

MOST_RECORDINGS = 32
"""How many are kept. They share one pool of memory, so each adds little but its inputs."""

LEAST_COLUMNS = 256
"""The smallest bucket of columns, and the least by which two differ."""

Body = Callable[[], Any]
"""A step of fixed shape: it reads tensors that stay where they are, and gives the body's output."""

Recorder = Callable[[Body], Body]
"""What makes of a step one that is quicker to repeat."""


@dataclass(frozen=True)
class Recording:
    """A step of fixed shape.

    Attributes:
        tokens: What it is fed, ``[rows, 1]``.
        window: Where it reads and writes.
        play: Computes it.
    """

    tokens: Tensor
    window: CacheWindow
    play: Body


class StaticSteps:
    """The decode steps of one cache.

    Args:
        lm: The model.
        cache: What its rows are in.
        record: How a step is recorded; ``CUDAGraphs().record`` on a GPU.
    """

    def __init__(self, lm: CausalLM, cache: KVCache, record: Recorder) -> None:
        """Start without recordings."""
        self._lm, self._cache, self._record = lm, cache, record
        self._recordings: OrderedDict[tuple[int, int], Recording] = OrderedDict()
        self._memory: tuple[int, ...] = ()
        self.is_on = True

    def __len__(self) -> int:
        """How many recordings there are."""
        return len(self._recordings)

    @contextmanager
    def computed(self, tokens: Tensor, window: CacheWindow) -> Iterator[None]:
        """Have this thread's forward pass in the block find its body computed already.

        The pass must be given the same as without this, since the body of a model that doesn't ask
        for it in one piece is computed once more.

        Args:
            tokens: What is fed, ``[rows, 1]``.
            window: Where to, as the cache prepared it.
        """
        output = self._played(tokens, window) if self.is_on and self._cache.layers else None
        self._cache.window = window
        if output is None:
            yield
            return
        with self._lm.substitute.by(output) as usage:
            yield
        if not usage.is_used:
            self._turn_off()

    def _played(self, tokens: Tensor, window: CacheWindow) -> Any:
        """The body's output for the rows of a window; None if there can't be a recording."""
        rows = len(tokens)
        shape = rows_bucket(rows), columns_bucket(window.columns)
        padded = self._cache.padded(window, *shape)
        try:
            recording = self._recording(shape, padded)
            recording.tokens.zero_()
            recording.tokens[:rows] = tokens
            for name, held in _tensors(recording.window).items():
                held.copy_(getattr(padded, name))
            return _first_rows(recording.play(), rows)
        except Exception:  # whatever can't be captured, out of memory too
            self._turn_off()
            return None

    def _recording(self, shape: tuple[int, int], window: CacheWindow) -> Recording:
        memory = self._cache.addresses
        if memory != self._memory:
            self._recordings.clear()
            self._memory = memory
        if shape not in self._recordings:
            self._recordings[shape] = self._recorded(window)
            if len(self._recordings) > MOST_RECORDINGS:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(shape)
        return self._recordings[shape]

    def _recorded(self, window: CacheWindow) -> Recording:
        clones: dict[str, Any] = {name: held.clone() for name, held in _tensors(window).items()}
        own = replace(window, **clones)
        tokens = torch.zeros_like(own.positions)
        config, dtype = self._lm.config, self._lm.dtype

        def body() -> Any:
            self._cache.window = own
            masks = attention_masks(config, own.positions, own.columns, dtype)
            return self._lm.fill(tokens, own.positions, self._cache.cache, masks)

        return Recording(tokens, own, self._record(body))

    def _turn_off(self) -> None:
        self.is_on = False
        self._recordings.clear()


class CUDAGraphs:
    """Records steps as CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        """Start without memory."""
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, body: Body) -> Body:
        """Capture what the body does on the device."""
        aside, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            body()  # libraries set themselves up in a first run, which can't be captured
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = body()

        def play() -> Any:
            graph.replay()
            return output

        return play


def rows_bucket(rows: int) -> int:
    """To how many rows so many are filled up: a power of two."""
    return 1 << (rows - 1).bit_length()


def columns_bucket(columns: int) -> int:
    """To how many columns so many are filled up: by a quarter at most, or a few."""
    quarter = 1 << max(0, (columns - 1).bit_length() - 3)
    step = max(LEAST_COLUMNS, quarter)
    return -(-columns // step) * step


def _tensors(window: CacheWindow) -> dict[str, Tensor]:
    return {name: held for name, held in vars(window).items() if isinstance(held, Tensor)}


def _first_rows(output: Any, rows: int) -> Any:
    part = copy.copy(output)
    part.last_hidden_state = output.last_hidden_state[:rows]
    return part
