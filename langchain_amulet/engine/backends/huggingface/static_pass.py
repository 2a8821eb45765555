"""Passes of a few fixed shapes, so that a GPU can play them back: CUDA graphs.

For few tokens a pass takes a GPU less time than Python takes to launch its kernels, nearly all of
which are the body's: the model without its head. So the body is run at buckets of rows, tokens and
columns, on tensors that stay where they are, and recorded for each bucket. What fills a bucket up
belongs to nobody, and nobody sees it.

A step's pass can be begun before the host knows which tokens were drawn, as they are on the device
already: what the host does with them takes no time of the device's then.

Recordings are few, the oldest go first, and all go when the cache's memory moves. Where one can't
be made, for want of memory or because a model's body waits for the device, none are made any more,
and passes are computed as they are elsewhere.

Knows a model's body and rows of a cache. Doesn't know requests, or what hidden states are for.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from langchain_amulet.engine.backends.huggingface.attention_masks import attention_masks
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.kv_cache import CacheRow, CacheWindow, KVCache
from langchain_amulet.engine.transfers import Arrival, rectangle, sent

MOST_RECORDINGS = 64
"""How many are kept. They share one pool of memory, so each adds little but its inputs."""

MOST_TOKENS = 512
"""Passes over more tokens than that, padding included, keep a GPU busy by themselves."""

LEAST_COLUMNS = 128
"""The smallest bucket of columns, and the least by which two differ."""

LEAST_WIDTH = 16
"""The smallest bucket of tokens per row, but for one."""

MOST_PAUSED = 64
"""For how many steps none is begun early where that was of no use: where most distributions are so
flat that the first draw isn't the last word."""

Body = Callable[[], Any]
"""A pass of fixed shape: it reads tensors that stay where they are, and gives the body's output."""

Recorder = Callable[[Body], Body]
"""What makes of a pass one that is quicker to repeat."""

Shape = tuple[int, int, int]
"""Rows, tokens of each, and columns."""


@dataclass(frozen=True)
class Recording:
    """A pass of fixed shape.

    Attributes:
        tokens: What it is fed, ``[rows, tokens]``.
        listing: Where it reads and writes, see ``KVCache.listing``.
        play: Computes it.
    """

    tokens: Tensor
    listing: Tensor
    play: Body


@dataclass(frozen=True)
class BegunPass:
    """A step that was begun before it was known which tokens it is fed.

    Attributes:
        places: Where each row is in it, and how long the row was.
        tokens: What it was fed, ``[rows]``.
        output: What the body gave, of these rows alone.
    """

    places: dict[CacheRow, tuple[int, int]]
    tokens: Arrival
    output: Any

    def place(self, row: CacheRow, tokens: Sequence[int], fed: Sequence[int]) -> int | None:
        """Where the pass of a row that is fed these tokens is in this one; None if it isn't."""
        place, length = self.places.get(row, (0, -1))
        return place if row.length == length and [fed[place]] == list(tokens) else None


class StaticPasses:
    """The short passes of one cache.

    Args:
        lm: The model.
        cache: What its rows are in.
        record: How a pass is recorded; ``CUDAGraphs().record`` on a GPU.
    """

    def __init__(self, lm: CausalLM, cache: KVCache, record: Recorder) -> None:
        """Start without recordings."""
        self._lm, self._cache, self._record = lm, cache, record
        self._recordings: OrderedDict[Shape, Recording] = OrderedDict()
        self._met: set[Shape] = set()
        self._memory: tuple[int, ...] = ()
        self._begun: BegunPass | None = None
        self._pause = self._last_pause = 0
        self.is_on = True

    @property
    def shapes(self) -> list[Shape]:
        """Of what there are recordings."""
        return list(self._recordings)

    def output(self, rows: Sequence[CacheRow], tokens: Sequence[Sequence[int]]) -> Any:
        """Feed tokens to rows that were extended for them.

        Args:
            rows: At least one.
            tokens: What each is fed, at least one token.

        Returns:
            The body's output; None if it has to be computed elsewhere, which is as well if some of
            it was computed here.
        """
        if (begun := self._begun) is None or max(map(len, tokens)) > 1:
            return self._played(rows, tokens)
        self._begun = None
        fed = begun.tokens.tolist()
        places = [begun.place(*each, fed) for each in zip(rows, tokens, strict=True)]
        new = [index for index, place in enumerate(places) if place is None]
        self._learn(len(new) == len(rows))
        if len(new) == len(rows):
            return self._played(rows, tokens)
        known = begun.output.last_hidden_state
        if new:
            rest = self._played([rows[k] for k in new], [tokens[k] for k in new])
            if rest is None:
                return None
            after = iter(range(len(known), len(known) + len(new)))
            known = torch.cat([known, rest.last_hidden_state])
            places = [next(after) if place is None else place for place in places]
        elif places == list(range(len(known))):
            return begun.output
        return _of_rows(begun.output, known[torch.tensor(places, device=known.device)])

    def begin(self, rows: Sequence[CacheRow], tokens: Tensor) -> None:
        """Compute the pass of a step that is to come, as it will be if nothing gets in its way.

        Args:
            rows: Rows that were extended by a token.
            tokens: What each is going to be fed, ``[rows]``, as the device knows.
        """
        if self._pause:
            self._pause -= 1
            return
        arrival = Arrival(tokens)
        output = self._played(rows, tokens[:, None])
        if output is not None:
            # What is played next may use the same memory for something else.
            output = _of_rows(output, output.last_hidden_state.clone())
            places = {row: (place, row.length) for place, row in enumerate(rows)}
            self._begun = BegunPass(places, arrival, output)

    def _learn(self, was_in_vain: bool) -> None:
        """Begin nothing for a while, and for longer each time, where it is always in vain."""
        longer = min(max(2, 2 * self._last_pause), MOST_PAUSED)
        self._pause = self._last_pause = longer if was_in_vain else 0

    def _played(self, rows: Sequence[CacheRow], tokens: Tensor | Sequence[Sequence[int]]) -> Any:
        """The body's output for tokens fed to rows; None if there can't be a recording."""
        counts = list(map(len, tokens))
        columns = max(row.length + count for row, count in zip(rows, counts, strict=True))
        shape = rows_bucket(len(rows)), width_bucket(max(counts)), columns_bucket(columns)
        if not (self.is_on and self._cache.layers):
            return None
        if not self._lm.calls_body:
            self._turn_off()
            return None
        if shape[0] * shape[1] > MOST_TOKENS or not self._pays(shape):
            return None
        try:
            listing = sent(self._cache.listing(rows, counts, shape[0], shape[2]), self._lm.device)
            recording = self._recording(shape, listing)
            recording.listing.copy_(listing)
            recording.tokens.zero_()
            width = max(counts)
            fed = tokens if isinstance(tokens, Tensor) else rectangle(tokens, self._lm.device)
            recording.tokens[: len(rows), :width] = fed
            output = recording.play()
        except Exception:  # whatever can't be captured, out of memory too
            self._turn_off()
            return None
        return _of_rows(output, output.last_hidden_state[: len(rows), :width])

    def _pays(self, shape: Shape) -> bool:
        """Whether to record a shape: steps come again, prompts perhaps, which is seen by one."""
        is_new = shape not in self._met
        self._met.add(shape)
        return shape[1] == 1 or not is_new

    def _recording(self, shape: Shape, listing: Tensor) -> Recording:
        memory = self._cache.addresses
        if memory != self._memory:
            self._recordings.clear()
            self._memory = memory
        if shape not in self._recordings:
            self._recordings[shape] = self._recorded(shape, listing)
            if len(self._recordings) > MOST_RECORDINGS:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(shape)
        return self._recordings[shape]

    def _recorded(self, shape: Shape, listing: Tensor) -> Recording:
        rows, width, columns = shape
        own, tokens = listing.clone(), listing.new_zeros(rows, width)
        config, dtype = self._lm.config, self._lm.dtype

        def body() -> Any:
            window = self._cache.window = CacheWindow.of(own, width, columns)
            masks = attention_masks(config, window.positions, columns, dtype)
            return self._lm.fill(tokens, window.positions, self._cache.cache, masks)

        return Recording(tokens, own, self._record(body))

    def _turn_off(self) -> None:
        self.is_on = False
        self._recordings.clear()


class CUDAGraphs:
    """Records passes as CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        """Start without graphs."""
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._pool: Any = None

    def record(self, body: Body) -> Body:
        """Capture what the body does on the device."""
        aside, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            body()  # libraries set themselves up in a first run, which can't be captured
        current.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        if not self._graphs:  # a pool ends with its last graph
            self._pool = torch.cuda.graph_pool_handle()
        # Other threads may use the device meanwhile.
        capture = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        with _recovering(), capture:
            output = body()
        self._graphs.add(graph)

        def play() -> Any:
            graph.replay()
            return output

        return play


@contextmanager
def _recovering() -> Iterator[None]:
    """Let what fails within a capture leave the thread's stream and random numbers as they were."""
    stream = torch.cuda.current_stream()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    state = generator.clone_state()
    try:
        yield
    except BaseException:
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(state)
        raise


def rows_bucket(rows: int) -> int:
    """To how many rows so many are filled up: a power of two."""
    return 1 << (rows - 1).bit_length()


def width_bucket(tokens: int) -> int:
    """To how many tokens per row so many are filled up: one, or a power of two."""
    return 1 if tokens == 1 else max(LEAST_WIDTH, 1 << (tokens - 1).bit_length())


def columns_bucket(columns: int) -> int:
    """To how many columns so many are filled up: by a quarter at most, or a few."""
    quarter = 1 << max(0, (columns - 1).bit_length() - 3)
    step = max(LEAST_COLUMNS, quarter)
    return -(-columns // step) * step


def _of_rows(output: Any, hidden: Tensor) -> Any:
    part = copy.copy(output)
    part.last_hidden_state = hidden
    return part
