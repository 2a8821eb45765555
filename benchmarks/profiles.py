"""What looking up a user's preferences costs among a million of them, against a first token.

Databases are filled through LangGraph's own batches with what `PreferenceMemory` writes: a record
and a change per user, and the record once more where each user has a namespace. Then users are
looked up at random, store by store in turn, round by round, so that whatever else the machine does
hits all alike. First tokens are those of a short question, which are the soonest: of the bundled
model, and of a random model of Qwen2-0.5B's shape.

    python -m benchmarks.profiles                     # needs the test extra, for PostgreSQL
    python -m benchmarks.profiles --users 10000 --json result.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
import torch
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore
from rich.console import Console
from rich.table import Table

from amulet_evals.hardware import hardware
from benchmarks.decode import first_token
from benchmarks.harness import PROMPT, engine_model
from langchain_amulet import Amulet, ChatAmulet, Preference, PreferenceMemory
from langchain_amulet.engine import Engine
from langchain_amulet.memory.namespaces import Namespace
from langchain_amulet.methods import Guidance
from support.postgres import Postgres

QUESTION = "How do I sleep better?"
WISHES = ("Keep it short.", "Be uplifting.", "Please use a formal tone.", "Explain it in detail.")
BATCH = 1000
"""Users stored at a time."""

OWNED = ("users", "{user_id}", "preferences")
CUSTOM_PLANS = "&options=-c%20plan_cache_mode%3Dforce_custom_plan"
"""Else PostgreSQL comes to plan lookups for a namespace of average size, and then reads through
that of the records, in which all users are."""

Lookup = Callable[[str], Awaitable[float]]
"""Looks a user up; returns milliseconds."""


@dataclass
class LookupTimes:
    """One line of the table: milliseconds, of all rounds."""

    name: str
    measure: Lookup
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of all lookups."""
        return statistics.median(self.times)

    @property
    def slowest(self) -> float:
        """What 99 of 100 lookups stay below."""
        return statistics.quantiles(self.times, n=100)[98]


def user(number: int) -> str:
    """A user's id."""
    return f"user-{number:07d}@example"


def operations(users: int) -> Iterator[PutOp]:
    """What a store is told for all users."""
    written = [_written(wish) for wish in WISHES]
    shared, owned = Namespace.of(("preferences",)), Namespace.of(OWNED)
    for number in range(users):
        record, change, key = written[number % len(written)]
        location, own = shared.location(user(number)), owned.location(user(number))
        yield PutOp(own.namespace, own.key, record, index=False)
        yield PutOp(location.namespace, location.key, record, index=False)
        yield PutOp(location.history, key, change, index=False)


def fill(store: BaseStore, users: int) -> float:
    """Store all users; returns seconds."""
    start = time.perf_counter()
    left = operations(users)
    while batch := list(islice(left, 3 * BATCH)):
        store.batch(batch)
    return time.perf_counter() - start


def called(memory: PreferenceMemory) -> Lookup:
    """A lookup that is waited for."""

    async def measure(user_id: str) -> float:
        start = time.perf_counter()
        found = memory.get(user_id, QUESTION)
        return _milliseconds(start, found)

    return measure


def awaited(memory: PreferenceMemory) -> Lookup:
    """A lookup in the event loop."""

    async def measure(user_id: str) -> float:
        start = time.perf_counter()
        found = await memory.aget(user_id, QUESTION)
        return _milliseconds(start, found)

    return measure


async def opened(stack: AsyncExitStack, file: str, uri: str) -> list[LookupTimes]:
    """Everything that is measured, in the order of the table."""
    sqlite = stack.enter_context(SqliteStore.from_conn_string(file))
    asqlite = await stack.enter_async_context(AsyncSqliteStore.from_conn_string(file))
    postgres = stack.enter_context(PostgresStore.from_conn_string(uri))
    apostgres = await stack.enter_async_context(AsyncPostgresStore.from_conn_string(uri))
    return [
        LookupTimes("SqliteStore", called(PreferenceMemory(sqlite))),
        LookupTimes("SqliteStore, with a deadline", called(PreferenceMemory(sqlite, timeout=1.0))),
        LookupTimes("SqliteStore, a namespace per user", called(PreferenceMemory(sqlite, OWNED))),
        LookupTimes("AsyncSqliteStore", awaited(PreferenceMemory(asqlite))),
        LookupTimes("PostgresStore", called(PreferenceMemory(postgres))),
        LookupTimes(
            "PostgresStore, with a deadline", called(PreferenceMemory(postgres, timeout=1.0))
        ),
        LookupTimes(
            "PostgresStore, a namespace per user", called(PreferenceMemory(postgres, OWNED))
        ),
        LookupTimes("AsyncPostgresStore", awaited(PreferenceMemory(apostgres))),
        LookupTimes("any of them, cached", called(PreferenceMemory(sqlite, cache_seconds=3600.0))),
    ]


def first_tokens(rounds: int) -> dict[str, float]:
    """Milliseconds to the first token of a short question in a style, by model."""
    with ChatAmulet(model="pocket", temperature=0) as llm:
        pocket = [_first_chunk(llm) for _ in range(rounds + 1)]
    model = engine_model("0.5b", "cpu", torch.bfloat16)
    plan = Amulet().plan([Guidance()])
    with Engine(model) as engine:
        half_billion = [first_token(engine, plan, PROMPT) for _ in range(rounds + 1)]
    # The first of each only warms up.
    return {
        "pocket": statistics.median(pocket[1:]),
        "Qwen2-0.5B": statistics.median(half_billion[1:]),
    }


def table(lines: list[LookupTimes], tokens: dict[str, float], title: str) -> Table:
    """The rows as printed."""
    shown = Table(title=title, title_justify="left", min_width=90)
    shown.add_column("", no_wrap=True)
    shares = (f"of a first token, {name}" for name in tokens)
    for column in ("median, ms", "99th percentile, ms", *shares):
        shown.add_column(column, justify="right")
    for line in lines:
        shares = (
            f"{line.median / first:.2%}, {line.slowest / first:.2%}" for first in tokens.values()
        )
        shown.add_row(line.name, f"{line.median:.3f}", f"{line.slowest:.3f}", *shares)
    return shown


async def main() -> None:
    """Fill, look up and print."""
    options = _arguments()
    console = Console(width=None if Console().is_terminal else 120)
    with tempfile.TemporaryDirectory() as folder, Postgres() as server:
        file, uri = str(Path(folder) / "store.db"), server.uri + CUSTOM_PLANS
        for opening in (SqliteStore.from_conn_string(file), PostgresStore.from_conn_string(uri)):
            with opening as store:
                store.setup()
                seconds = fill(store, options.users)
            console.print(f"{type(store).__name__}: {options.users:,} users in {seconds:.0f} s")
        with psycopg.connect(server.uri, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE store")  # as the server does by itself in time
        async with AsyncExitStack() as stack:
            lines = await opened(stack, file, uri)
            await _measure(lines, options)
    tokens = first_tokens(options.rounds)
    console.print(table(lines, tokens, f"{options.users:,} users, {hardware('cpu')}"))
    for name, milliseconds in tokens.items():
        console.print(f"first token of {name}: {milliseconds:.1f} ms")
    if options.json:
        result = {
            "users": options.users,
            "milliseconds": {line.name: [line.median, line.slowest] for line in lines},
            "first tokens": tokens,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


async def _measure(lines: list[LookupTimes], options: argparse.Namespace) -> None:
    random.seed(0)
    known = [user(random.randrange(options.users)) for _ in range(options.lookups)]
    for round_number in range(options.rounds + 1):
        for line in lines:
            # Those who are cached must have been seen before.
            drawn = (user(random.randrange(options.users)) for _ in range(options.lookups))
            users = known if "cached" in line.name else list(drawn)
            times = [await line.measure(user_id) for user_id in users]
            if round_number:  # the first round only warms up
                line.times += times


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--lookups", type=int, default=400, help="per store and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


def _written(wish: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A record, a change and the change's key, as `PreferenceMemory` stores them."""
    store = InMemoryStore()
    PreferenceMemory(store).set("someone", wish)
    record, change = sorted(store.search(()), key=lambda item: len(item.namespace))
    return record.value, change.value, change.key


def _milliseconds(start: float, found: tuple[Preference, ...]) -> float:
    milliseconds = 1000 * (time.perf_counter() - start)
    if len(found) != 1:
        raise RuntimeError(f"A user has one preference, not {found}.")
    return milliseconds


def _first_chunk(llm: ChatAmulet) -> float:
    start = time.perf_counter()
    chunks = llm.stream(QUESTION, preference=WISHES[0])
    next(chunk for chunk in chunks if chunk.text)
    milliseconds = 1000 * (time.perf_counter() - start)
    for _ in chunks:  # the next one isn't to wait for it
        pass
    return milliseconds


if __name__ == "__main__":
    asyncio.run(main())
