"""What a process has more after a round of load than after the same round before.

Each round asks a tiny random model for thousands of steered answers, a third of which are left
half way, and has thousands of calls of each kind refused. The first round is to warm up: whatever
is made once is made. What a leak is and what isn't is told by exact counts: objects by their type,
threads, open files, rows and requests of the engine, blocks of Python's allocator, and bytes that
the C allocator has handed out. What the process has from the system besides is the allocators'
own, and moves by megabytes; it is shown as it is, and after they were asked to give back what is
free. The C allocator's bytes grow until all shapes of passes have been met, as oneDNN and what is
between it and PyTorch keep what they made for each, 1,024 of them by default. With both
ONEDNN_PRIMITIVE_CACHE_CAPACITY and LRU_CACHE_CAPACITY at 64 in the environment these bytes were
190.2 and 190.3 MB after rounds of 50,000 answers.

    python -m benchmarks.leaks
    python -m benchmarks.leaks --answers 6000 --refusals 1000 --rounds 2    # 5 minutes of a core
    python -m benchmarks.leaks --answers 50000 --refusals 1000 --rounds 2   # over half an hour
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import console
from langchain_amulet import ChatAmulet
from langchain_amulet.errors import AmuletError
from support.engines import engine_of, wait_until_idle
from support.models import save_model

CLIENTS = 64
"""How many answers are under way at a time: as many rows as the model has, and as many waiting."""

REFUSED: dict[str, dict[str, Any]] = {
    "a preference that is too long": {"preference": "x" * 20_000},
    "a wrong temperature": {"preference": "y" * 1000, "temperature": -1},
    "an unknown argument": {"preference": "y" * 1000, "nosuch": 1},
    "more tokens than the context has": {"max_tokens": 10**6},
    "no time": {"timeout": 1e-9},
    "a tool that isn't there": {"tool_choice": "nosuch"},
    "a method that isn't there": {"method": "nosuch"},
    "a search that can't be": {"method": "beam_search:n=1000"},
    "a template that refuses": {"chat_template": "{{ messages[0].content }}{{ 1 // 0 }}"},
    "a model that isn't there": {"model": "no/such/model"},
}


MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class HeapInfo(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO.split()]


def bytes_in_use() -> int | None:
    """Bytes that the C allocator has handed out, its free ones not counted; None if unknown."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):  # another C library
        return None
    mallinfo.restype = HeapInfo
    info = mallinfo()
    return int(info.uordblks) + int(info.hblkhd)


def bytes_of_tensors() -> int:
    """Bytes that tensors hold, shared ones once."""
    # Of these types alone, as other things answer for tensors; packed weights have no storage.
    tensors = (
        each for each in gc.get_objects() if type(each) in (torch.Tensor, torch.nn.Parameter)
    )
    storages = (each.untyped_storage() for each in tensors if not each.is_mkldnn)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def give_back() -> None:
    """Have the C allocator return what is free to the system, where it can be asked."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of the process that are in memory; 0 where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


EXACT = {
    "objects": 200,
    "blocks of Python's allocator": 2000,
    "bytes of tensors": 4_000_000,
    "threads": 0,
    "open files": 0,
    "rows and requests": 0,
}
"""What must not grow from the second round on, but for so much that comes and goes."""


@dataclass(frozen=True)
class Census:
    """What there is in the process at a moment when nothing is under way.

    Attributes:
        numbers: By name. Exact ones, and the process's size.
        objects: How many objects of each type the collector knows. By the types themselves: names
            made for each count would be thousands of blocks that the next one finds.
    """

    numbers: dict[str, int]
    objects: Counter[type] = field(repr=False)

    @classmethod
    def taken(cls, llm: ChatAmulet) -> Census:
        """Count, after collecting what is garbage."""
        for _ in range(3):
            gc.collect()
        stats = engine_of(llm).stats()
        size = resident()
        give_back()
        objects = Counter(type(each) for each in gc.get_objects())
        numbers = {
            "objects": objects.total(),
            "blocks of Python's allocator": sys.getallocatedblocks(),
            "bytes of the C allocator": bytes_in_use() or 0,
            "bytes of tensors": bytes_of_tensors(),
            "threads": len(threading.enumerate()),
            "open files": len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0,
            "rows and requests": stats.rows + stats.queued + stats.active_requests,
            "resident bytes": size,
            "resident bytes, the free ones given back": resident(),
        }
        return cls(numbers, objects)

    def grown_since(self, before: Census) -> dict[str, int]:
        """How many more objects there are, by type, most first."""
        most = (self.objects - before.objects).most_common(8)
        return {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in most}

    def leaks_since(self, before: Census) -> list[str]:
        """The exact numbers by which a round left more behind than the round before."""
        return [
            name
            for name, slack in EXACT.items()
            if self.numbers[name] - before.numbers[name] > slack
        ]


async def answers(llm: ChatAmulet, count: int) -> None:
    """Have so many answers made, a third of which are left: at the first token, or in the queue."""
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            asked = f"Question {number}?", {"preference": f"Be kind, {number}."}
            await WAYS[number % len(WAYS)](llm, *asked)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await wait_until_idle(llm)


async def whole(llm: ChatAmulet, question: str, style: dict[str, Any]) -> None:
    """An answer that is waited for."""
    await llm.ainvoke(question, **style)


async def streamed(llm: ChatAmulet, question: str, style: dict[str, Any]) -> None:
    """An answer that is read as it comes."""
    async for _ in llm.astream(question, **style):
        pass


async def left(llm: ChatAmulet, question: str, style: dict[str, Any]) -> None:
    """An answer whose reader leaves after the first chunk."""
    stream = llm.astream(question, **style, max_tokens=900)
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]


async def cancelled(llm: ChatAmulet, question: str, style: dict[str, Any]) -> None:
    """An answer that is cancelled somewhere on its way."""
    task = asyncio.create_task(llm.ainvoke(question, **style, max_tokens=900))
    await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


WAYS: tuple[Callable[[ChatAmulet, str, dict[str, Any]], Awaitable[None]], ...] = (
    whole,
    streamed,
    left,
    whole,
    streamed,
    cancelled,
)


async def refusals(llm: ChatAmulet, count: int) -> None:
    """Have so many calls of each kind refused, each with a conversation of its own.

    In each way of waiting: in the caller's thread, for another one in time, in an event loop.
    """
    for kind, arguments in REFUSED.items():
        for number in range(count):
            question = f"Question {number}: " + "word " * 100
            with suppress(AmuletError):
                if number % 3 == 0:
                    llm.invoke(question, **arguments)
                elif number % 3 == 1:
                    llm.invoke(question, **{"timeout": 600.0, **arguments})
                else:
                    await streamed(llm, question, arguments)
                raise SystemExit(f"{kind} wasn't refused")


def table(counts: list[Census]) -> Table:
    """All counts, a column for each round, and by how much each may grow in one."""
    rounds = (str(number) for number in range(1, len(counts) + 1))
    shown = Table("after round", *rounds, "a leak is more than")
    for name in counts[0].numbers:
        slack = f"{EXACT[name]:,}" if name in EXACT else "(is the allocators')"
        shown.add_row(name, *(f"{census.numbers[name]:,}" for census in counts), slack)
    return shown


def conclude(counts: list[Census], made: int, refused: int, out: Console) -> None:
    """Say in words whether the last round left more behind than the one before, and fail if so."""
    done = f"The last round, {made:,} answers of which a third were left and {refused:,} refusals,"
    if leaks := counts[-1].leaks_since(counts[-2]):
        raise SystemExit(f"{done} left more behind than the one before: {', '.join(leaks)}.")
    out.print(f"{done} left nothing behind that the one before hadn't, but what comes and goes.")


def main() -> None:
    """Load, count, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=int, default=2000, help="answers a round")
    parser.add_argument("--refusals", type=int, default=200, help="refused calls of each kind")
    parser.add_argument("--rounds", type=int, default=4, help="of which the first warms up")
    asked = parser.parse_args()
    out = console()
    # Printed first, as rich looks its emoji up in a table of 6,000 blocks that it makes then.
    refused = asked.refusals * len(REFUSED)
    out.print(f"{asked.rounds} rounds of {asked.answers:,} answers and {refused:,} refusals")
    with tempfile.TemporaryDirectory() as folder:
        model = save_model(Path(folder))
        # So little that what is kept of prompts fills it in the first round; then others take over.
        settings: dict[str, Any] = {"kv_cache_memory": "4MiB", "temperature": 1.0, "max_tokens": 6}
        with ChatAmulet(model=model, dtype="float32", **settings) as llm:
            counts = []
            for _ in range(asked.rounds):
                asyncio.run(answers(llm, asked.answers))
                asyncio.run(refusals(llm, asked.refusals))
                counts.append(Census.taken(llm))
                out.print(table(counts))
            for number, (before, after) in enumerate(pairwise(counts), 2):
                out.print(f"more objects after round {number}:", after.grown_since(before))
            if len(counts) > 1:
                conclude(counts, asked.answers, refused, out)


if __name__ == "__main__":
    main()
