"""What the KV cache saves and what it holds: a chat's next turn, and memory for mixed lengths.

A random model, see `harness`, answers a conversation of 4,000 tokens. Then turns of 50 are asked
after it, and by themselves; the table shows medians of the times to the first token. At last
requests of 50 to 8,000 tokens are held at once, and memory is told beside the tokens it holds.

    python -m benchmarks.cache                    # Qwen2-0.5B's shape on the CPU, some minutes
    python -m benchmarks.cache --shape tiny
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import count
from typing import Any

import torch
from rich.table import Table

from benchmarks.harness import (
    PREFERENCE,
    Measurement,
    console,
    engine_model,
    headline,
    options,
    run,
    settle,
    some_ids,
)
from langchain_amulet.engine import CacheScope, Engine, Request
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan

CONVERSATION, TURN = 4000, 50
MIXED = (50, 8000, 90, 3000, 400, 64, 1500, 700)
"""Prompt tokens of the requests that are held at once."""

PLAN = Amulet().plan([Guidance()])
SEEDS = count()
"""Every turn is another one, or the second would be there whole."""


def request(
    conversation: tuple[int, ...],
    plan: Plan,
    scope: CacheScope,
    tokens: int,
    is_last: bool = False,
) -> Request:
    """A conversation in every stream, with the preference before it or after it in some."""
    preference = some_ids(PREFERENCE, 2)
    before, after = ((), preference) if is_last else (preference, ())
    prompts = tuple(
        (*before, *conversation, *after, 7) if stream.preferences else (*conversation, 7)
        for stream in plan.streams
    )
    sampling = SamplingParams(temperature=0.7, top_k=50, top_p=0.9, seed=0)
    return Request(prompts, plan, sampling, tokens, cache_scope=scope)


def first_token(
    engine: Engine, before: tuple[int, ...], scope: CacheScope, is_last: bool = False
) -> float:
    """Milliseconds from submission to the first token of a new turn after ``before``."""
    turn = some_ids(TURN, 10**6 + next(SEEDS))
    start = time.perf_counter()
    with engine.submit(request((*before, *turn), PLAN, scope, 2, is_last)) as answer:
        next(answer)
        milliseconds = 1000 * (time.perf_counter() - start)
    settle(engine)
    return milliseconds


def turns(engine: Engine, rounds: int) -> list[Measurement]:
    """A conversation that is computed, and turns by themselves and after it."""
    conversation, kept = some_ids(CONVERSATION, 1), CacheScope("kept")
    alone = CacheScope("alone", keeps=False)
    computed = first_token(engine, conversation, kept)
    rows = [
        Measurement(name, lambda b=before, s=scope, p=is_last: first_token(engine, b, s, p))  # type: ignore[misc]
        for where, is_last in (("first", False), ("last", True))
        for name, before, scope in (
            (f"{TURN} tokens alone, preference {where}", (), alone),
            (f"{TURN} after {CONVERSATION} kept, preference {where}", conversation, kept),
        )
    ]
    run(rows, rounds)
    name = f"{TURN} after {CONVERSATION} computed, once"
    return [*rows, Measurement(name, lambda: computed, times=[computed])]


def held(engine: Engine) -> tuple[int, int]:
    """Tokens and bytes that are held while requests of all lengths decode."""
    scope = CacheScope("mixed", keeps=False)
    with ExitStack() as stack:
        for length in MIXED:
            asked = request(some_ids(length, length), Plan.plain(), scope, 64)
            next(stack.enter_context(engine.submit(asked)))
        stats = engine.stats()
    settle(engine)
    return stats.kv_cache_tokens, stats.kv_cache_bytes


def table(rows: list[Measurement], title: str) -> Table:
    """The turns as printed."""
    shown = Table(title=title, title_justify="left", min_width=90)
    for column in ("first token of", "ms", "spread", "of those alone"):
        shown.add_column(column, justify="left" if column == "first token of" else "right")
    for place, row in enumerate(rows):
        ratio = row.median / rows[2 * (place in (2, 3))].median
        shown.add_row(row.name, f"{row.median:.0f}", row.spread, f"{ratio:.2f}")
    return shown


def bytes_per_token(model: Any) -> int:
    """What the keys and values of one token take."""
    config = model.config
    dim: int = config.hidden_size // config.num_attention_heads
    values = 2 * config.num_hidden_layers * config.num_key_value_heads * dim
    return int(values * torch.finfo(model.dtype).bits // 8)


def main() -> None:
    """Measure and print."""
    given = options(__doc__.splitlines()[0], tokens=2, rounds=3)
    model = engine_model(given.shape, given.device, given.dtype)
    shown = console()
    with Engine(model) as engine:
        rows = turns(engine, given.rounds)
        shown.print(table(rows, headline(given.shape, model.model)))
        stats = engine.stats()
    shown.print(
        f"computed {stats.prefill_tokens:,} prompt tokens; {stats.cache_read_tokens:,} were there"
    )
    with Engine(model) as engine:
        tokens, nbytes = held(engine)
    needed = tokens * bytes_per_token(model.model)
    shown.print(
        f"{len(MIXED)} requests of {min(MIXED)} to {max(MIXED):,} tokens hold {tokens:,} tokens "
        f"in {nbytes / 2**20:.1f} MiB: {nbytes / needed:.3f} of what these need"
    )


if __name__ == "__main__":
    main()
