"""What serving costs: clients who read streams over HTTP, against the engine asked by itself.

A model answers 1, 8 and 32 questions at once in three ways, round by round: by the engine itself,
whose tokens are counted in the thread that asks; by `ChatAmulet`, whose chunks are read in an event
loop; and by `langchain-amulet serve` in this process, from a process of its own that reads all
streams as clients would. All three decode the same tokens from the same prompts. The table shows
tokens per second over all clients and the time to the first, as medians over the rounds, how much
of the engine's throughput is left, and what processor time all of it takes here.

    python -m benchmarks.serve                         # a random model of Qwen2-0.5B's shape
    python -m benchmarks.serve --shape tiny            # where the model takes no time at all
    python -m benchmarks.serve --model path/to/model   # any other
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
import uvicorn
from rich.table import Table
from transformers import AutoTokenizer

from amulet_evals.hardware import hardware
from amulet_server import Service, create_app, opened, read_settings
from benchmarks.harness import SHAPES, build, console
from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.cache_scope import cache_scope
from langchain_amulet.chat_models.call import prepare
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.engine.loading.loader import default_dtype

CLIENTS = (1, 8, 32)
NAME = "asked"
"""What clients call the model, whichever it is."""

PREFERENCE = "Keep it short."
REQUEST = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}"
)
QUESTION = "How do I sleep better, and what should I do about my dream number {}?"
"""Each client asks another one, and so has prompts of its own."""


class Burst(NamedTuple):
    """Some answers at once, as whoever asked for them saw it.

    Attributes:
        tokens: How many were made.
        seconds: From the first question to the last answer's end.
        first: Seconds to the first piece, the median over the clients.
    """

    tokens: int
    seconds: float
    first: float


@dataclass
class Way:
    """A way to ask, and what came of it, once per round."""

    name: str
    ask: Callable[[int], Burst]
    clients: int
    bursts: list[tuple[Burst, float]] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Tokens per second, the median over the rounds."""
        return statistics.median(each.tokens / each.seconds for each, _ in self.bursts)

    @property
    def first(self) -> float:
        """Milliseconds to the first piece, the median over the rounds."""
        return 1000 * statistics.median(each.first for each, _ in self.bursts)

    @property
    def cpu(self) -> float:
        """Milliseconds of processor time per token in this process, the median over the rounds."""
        return 1000 * statistics.median(cpu / each.tokens for each, cpu in self.bursts)

    def measure(self) -> tuple[Burst, float]:
        """Ask once; the second figure is this process's seconds of processor time."""
        busy = time.process_time()
        burst = self.ask(self.clients)
        return burst, time.process_time() - busy


# --- The engine and the chat model, asked in this process ---


def ask_engine(llm: ChatAmulet, clients: int) -> Burst:
    """Decode by the engine itself; prompts are made before the clock starts, as nobody's cost."""
    settings = llm.for_call(None, {"preference": PREFERENCE})

    calls = [
        prepare(
            llm.model,
            llm._handle,
            settings,
            llm._messages(question(client)),
            scope=cache_scope("off", None),
        )
        for client in range(clients)
    ]
    drafts = [call.draft() for call in calls]
    firsts, tokens, begun = [], 0, time.perf_counter()
    with ExitStack() as stack:
        streams = [stack.enter_context(draft.submit()) for draft in drafts]
        for stream in streams:
            next(stream)
            firsts.append(time.perf_counter() - begun)
        for stream in streams:
            tokens += 1 + sum(1 for _ in stream)
    return Burst(tokens, time.perf_counter() - begun, statistics.median(firsts))


async def ask_model(llm: ChatAmulet, client: int) -> tuple[int, float]:
    """One answer by LangChain's interface: its tokens, and when the first piece came."""
    first, tokens = 0.0, 0
    async with aclosing(llm.astream(question(client), preference=PREFERENCE)) as chunks:
        async for chunk in chunks:
            first = first or time.perf_counter()
            if chunk.usage_metadata:
                tokens += chunk.usage_metadata["output_tokens"]
    return tokens, first


async def at_once(ask: Callable[[int], Awaitable[tuple[int, float]]], clients: int) -> Burst:
    """All clients' answers, each asked for by a task of its own."""
    begun = time.perf_counter()
    answers = await asyncio.gather(*(ask(client) for client in range(clients)))
    seconds = time.perf_counter() - begun
    first = statistics.median(first - begun for _, first in answers)
    return Burst(sum(tokens for tokens, _ in answers), seconds, first)


def question(client: int) -> str:
    """What a client asks."""
    return QUESTION.format(client)


# --- The server, asked from another process ---


@contextmanager
def served(service: Service) -> Iterator[int]:
    """The port of a service that a thread of this process serves, with its model loaded."""
    config = uvicorn.Config(
        create_app(service), port=0, log_config=None, access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not (server.started and service.readiness.is_ready):
            time.sleep(0.05)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def read_streams(port: int, requests: Connection) -> None:
    """A process of clients: for each number that comes, so many at once; the answer to None."""
    while (clients := requests.recv()) is not None:
        requests.send(asyncio.run(at_once(partial(read_stream, port), clients)))


async def read_stream(port: int, client: int) -> tuple[int, float]:
    """One answer of the server.

    Clients have machines of their own, and these would share the server's: so its bytes are read
    from the socket and nothing is parsed but how many tokens there were, in the last event.
    """
    body = json.dumps(
        {
            "model": NAME,
            "messages": [{"role": "user", "content": question(client)}],
            "preference": PREFERENCE,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST.format(len(body), body).encode())
    first, read = 0.0, b""
    while piece := await reader.read(2**16):
        read += piece
        if not first and read.count(b"data: ") > 1:  # the first event is there before any token
            first = time.perf_counter()
    writer.close()
    used = re.search(rb'"completion_tokens":(\d+)', read)
    if used is None:
        raise RuntimeError(f"The server must answer whole, but says {read[-300:]!r}.")
    return int(used[1]), first


@contextmanager
def clients_of(port: int) -> Iterator[Callable[[int], Burst]]:
    """Asks a server from a process that is there, so that starting it counts nowhere."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=read_streams, args=(port, there), daemon=True)
    process.start()

    def ask(clients: int) -> Burst:
        here.send(clients)
        burst: Burst = here.recv()
        return burst

    try:
        yield ask
    finally:
        here.send(None)
        process.join()


# --- Measuring ---


def measure(ways: Sequence[Way], rounds: int) -> None:
    """Ask in all ways in turn, round after round, every other round backwards."""
    for number in range(rounds + 1):
        for way in ways if number % 2 else reversed(ways):
            measured = way.measure()
            if number:  # the first round only warms up
                way.bursts.append(measured)


def table(ways: Sequence[Way], title: str) -> Table:
    """The figures as printed."""
    shown = Table(title=title, title_justify="left", min_width=90)
    for column in ("clients", "asked", "tokens/s", "of engine", "CPU ms/token", "first token, ms"):
        shown.add_column(column, justify="left" if column == "asked" else "right")
    engine = {way.clients: way.throughput for way in ways if way.name == "engine"}
    for way in ways:
        share = way.throughput / engine[way.clients]
        figures = (f"{way.throughput:.0f}", f"{share:.0%}", f"{way.cpu:.2f}", f"{way.first:.0f}")
        shown.add_row(str(way.clients), way.name, *figures)
    return shown


def save_random(shape: str, device: str, folder: Path) -> str:
    """A random model with the bundled one's tokenizer, in a folder."""
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("pocket"))
    dtype = default_dtype(torch.device(device)) or torch.bfloat16
    model = build(shape, device, dtype, vocabulary=len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="pocket, a Hub id or a folder; random if left out")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="0.5b", help="of a random model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--tokens", type=int, default=64, help="per answer")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = given.model or save_random(given.shape, given.device, Path(folder))
        settings = read_settings(
            model=model,
            name=NAME,
            load={"device": given.device, "max_rows": 2 * max(given.clients)},
            answers={"temperature": 0.0, "max_tokens": given.tokens, "cache_scope": "off"},
        )
        service = stack.enter_context(opened(settings))
        ask_server = stack.enter_context(clients_of(stack.enter_context(served(service))))
        llm = service.llm
        ways = [
            Way(name, ask, clients)
            for clients in given.clients
            for name, ask in (
                ("engine", partial(ask_engine, llm)),
                ("ChatAmulet", lambda n: asyncio.run(at_once(partial(ask_model, llm), n))),
                ("server", ask_server),
            )
        ]
        measure(ways, given.rounds)
        name = given.model or f"random Qwen2 {given.shape}"
        console().print(table(ways, f"{name}, {given.tokens} tokens\n{hardware(given.device)}"))


if __name__ == "__main__":
    main()
