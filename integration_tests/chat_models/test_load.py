"""Under load everybody gets what they would get alone, and nothing is left behind.

In float32 a batch rounds otherwise than a single request: logits differ by some 3e-5 with the shape
of the batch, which steering multiplies by its strength. So tokens are equal unless two of them are
as good as tied, and draws are compared in float64, where rounding is out of sight.
"""

import asyncio
import gc
import itertools
import resource
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_amulet import Amulet, ChatAmulet
from langchain_amulet.engine import CacheScope, Engine, Request, Stats, TokenStream
from langchain_amulet.errors import AmuletError, EngineClosedError
from langchain_amulet.methods import Guidance
from langchain_amulet.sampling import SamplingParams
from support.engines import engine_of

THREADS, TASKS = 32, 200
TIE = 2e-3
"""Nats between the two best tokens, below which rounding may decide."""

THINGS = ("sleep", "bread", "rain", "tea", "chess", "bees", "paint", "shoes", "maps", "ice")
WISHES = ("kind", "short", "formal", "funny", "exact", "warm", "bold", "calm", "plain", "merry")
CALLS: list[tuple[str, dict[str, Any]]] = [
    (f"Question {number}: what about {thing}?", {"preference": f"Be {wish} about it, {number}."})
    for number, (thing, wish) in enumerate(itertools.product(THINGS * 2, WISHES))
]
"""A question and a preference of its own for everybody."""


@pytest.fixture(scope="module")
def llm(tiny: str) -> Iterator[ChatAmulet]:
    with ChatAmulet(
        model=tiny,
        dtype="float32",
        temperature=0.0,
        max_tokens=6,
        logprobs=True,
        top_logprobs=2,
        max_queue=10_001,
    ) as model:
        yield model


@pytest.fixture(scope="module")
def alone(llm: ChatAmulet) -> list[AIMessage]:
    """The answers, asked for one after the other."""
    return [llm.invoke(question, **wish) for question, wish in CALLS]


def tokens(answer: AIMessage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.response_metadata["logprobs"]["content"]
    return found


def assert_same(answers: list[AIMessage], references: list[AIMessage]) -> None:
    """The same tokens; after a tie there is nothing more to compare, and ties are rare."""
    ties = 0
    for answer, reference in zip(answers, references, strict=True):
        ours, theirs = tokens(answer), tokens(reference)
        assert len(ours) == len(theirs)
        pairs = zip(ours, theirs, strict=True)
        other = next((their for our, their in pairs if our["bytes"] != their["bytes"]), None)
        if other is not None:
            best, second = (top["logprob"] for top in other["top_logprobs"])
            assert best - second < TIE
            ties += 1
    assert ties <= len(references) // 20


def test_everybody_asks_for_something_else(alone: list[AIMessage], llm: ChatAmulet) -> None:
    assert len(CALLS) == TASKS
    assert len({answer.text for answer in alone}) > TASKS / 2
    plain = [llm.invoke(question).text for question, _ in CALLS[:20]]
    assert sum(a.text != b for a, b in zip(alone, plain, strict=False)) > 15


def test_threads_get_their_own_answers(llm: ChatAmulet, alone: list[AIMessage]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda call: llm.invoke(call[0], **call[1]), CALLS))
    assert_same(answers, alone)


async def test_tasks_get_their_own_answers(llm: ChatAmulet, alone: list[AIMessage]) -> None:
    answers = await asyncio.gather(*(llm.ainvoke(question, **wish) for question, wish in CALLS))
    assert_same(answers, alone)


async def test_streams_of_threads_and_tasks_at_once_get_their_own(
    llm: ChatAmulet, alone: list[AIMessage]
) -> None:
    def stream(call: tuple[str, dict[str, Any]]) -> Any:
        first, *others = llm.stream(call[0], **call[1])
        return sum(others, first)

    async def astream(call: tuple[str, dict[str, Any]]) -> Any:
        first, *others = [chunk async for chunk in llm.astream(call[0], **call[1])]
        return sum(others, first)

    with ThreadPoolExecutor(THREADS) as pool:
        threads = [pool.submit(stream, call) for call in CALLS[:50]]
        by_tasks = await asyncio.gather(*map(astream, CALLS[50:100]))
        by_threads = await asyncio.gather(*map(asyncio.wrap_future, threads))
    assert_same([*by_threads, *by_tasks], alone[:100])


async def test_seeded_draws_are_the_same_alone_and_under_load(tiny: str) -> None:
    drawn = [(question, {**wish, "seed": seed}) for seed, (question, wish) in enumerate(CALLS)][:48]
    with ChatAmulet(
        model=tiny, dtype="float64", temperature=1.0, max_tokens=6, logprobs=True
    ) as llm:
        references = [llm.invoke(question, **settings) for question, settings in drawn]
        assert len({answer.text for answer in references}) > 40
        with ThreadPoolExecutor(THREADS) as pool:
            threads = [pool.submit(llm.invoke, question, **how) for question, how in drawn[:24]]
            by_tasks = await asyncio.gather(*(llm.ainvoke(text, **how) for text, how in drawn[24:]))
            by_threads = await asyncio.gather(*map(asyncio.wrap_future, threads))
    for answer, reference in zip([*by_threads, *by_tasks], references, strict=True):
        assert [t["bytes"] for t in tokens(answer)] == [t["bytes"] for t in tokens(reference)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread is doing."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def submitted(stats: Stats) -> int:
    """How many requests an engine was ever given."""
    return stats.admitted + stats.queued


async def test_cancelled_tasks_free_their_rows_at_once(
    llm: ChatAmulet, alone: list[AIMessage]
) -> None:
    engine = engine_of(llm)
    before = engine.stats()
    long = {"max_tokens": 900, "temperature": 1.5, "logprobs": False}
    leaving = [
        asyncio.create_task(llm.ainvoke(question, **{**wish, **long}))
        for question, wish in CALLS[:60]
    ]
    await until(lambda: submitted(engine.stats()) - submitted(before) == 60)
    await until(lambda: engine.stats().rows == llm.max_rows)
    staying = [asyncio.create_task(llm.ainvoke(text, **wish)) for text, wish in CALLS[60:100]]
    busy = engine.stats()
    for task in leaving:
        task.cancel()
    assert_same(list(await asyncio.gather(*staying)), alone[60:100])
    await until(lambda: not engine.stats().rows)
    after, left = engine.stats(), sum(task.cancelled() for task in leaving)
    assert left > 40  # a few may have come to their end by themselves
    assert after.cancelled - before.cancelled == left
    assert after.finished - before.finished == 100 - left
    assert (after.queued, after.active_requests) == (0, 0)
    # They had hundreds of steps to go: what was made since is for the others.
    assert after.decode_steps - busy.decode_steps < 150


async def test_who_calls_a_closed_model_is_told_while_others_finish(
    tiny: str, alone: list[AIMessage], llm: ChatAmulet
) -> None:
    fields = {name: getattr(llm, name) for name in llm.model_fields_set} | {"max_rows": 4}
    closing, other = ChatAmulet(**fields), ChatAmulet(**fields).load()  # on the same weights
    engine = engine_of(closing)
    before = submitted(engine.stats())
    under_way = [asyncio.create_task(closing.ainvoke(text, **wish)) for text, wish in CALLS[:20]]
    await until(lambda: submitted(engine.stats()) == before + 20)
    closing.close()
    began = time.monotonic()
    for call in (closing.ainvoke(CALLS[0][0]), asyncio.to_thread(closing.invoke, CALLS[0][0])):
        with pytest.raises(EngineClosedError, match="make a new ChatAmulet"):
            await call
    assert time.monotonic() - began < 1.0
    assert_same(list(await asyncio.gather(*under_way)), alone[:20])
    other.close()


async def test_who_waits_for_an_engine_that_is_closed_is_told(tiny: str) -> None:
    llm = ChatAmulet(model=tiny, max_rows=4, max_tokens=900, temperature=1.5)
    engine = engine_of(llm)
    waiting = [asyncio.create_task(llm.ainvoke(text, **wish)) for text, wish in CALLS[:50]]
    pool = ThreadPoolExecutor(8)
    blocked = [pool.submit(llm.invoke, text, **wish) for text, wish in CALLS[50:58]]
    await until(lambda: engine.stats().queued > 50)
    await asyncio.to_thread(engine.close)
    outcomes = await asyncio.gather(
        *waiting, *map(asyncio.wrap_future, blocked), return_exceptions=True
    )
    told = [outcome for outcome in outcomes if isinstance(outcome, EngineClosedError)]
    ended = [outcome for outcome in outcomes if isinstance(outcome, AIMessage)]
    assert len(told) > 50  # a few may have come to their end before
    assert len(told) + len(ended) == 58
    assert not (engine.stats().rows or engine.stats().queued)
    with pytest.raises(EngineClosedError):
        llm.invoke(CALLS[0][0])
    pool.shutdown()


class Broken:
    """A constraint that fails its request."""

    def allowed(self) -> Any:
        raise ValueError("broken")

    def accept(self, token: int) -> None:
        raise ValueError("broken")


def ask(engine: Engine, number: int) -> TokenStream:
    """A short request; some run late, some break, and some are left by their callers."""
    prompts = ((*range(5, 17), number % 97, number % 89), (*range(5, 17), number % 89))
    plan, greedy = Amulet().plan([Guidance()]), SamplingParams(temperature=0.0)
    # What is kept of prompts is kept on purpose, and would look like what is left behind.
    scope = CacheScope(keeps=False)
    request = Request(prompts, plan, greedy, max_tokens=1 + number % 2, cache_scope=scope)
    if number % 50 == 7:
        request = replace(request, timeout=1e-9)
    if number % 50 == 8:
        request = replace(request, constraint=Broken())
    generation = engine.submit(request)
    if number % 50 == 9:
        generation.cancel()
    with pytest.raises(AmuletError) if number % 50 in (7, 8, 9) else nullcontext():
        list(generation)
    return generation


def left_behind() -> tuple[int, int, int]:
    """Objects, bytes and threads that there are."""
    gc.collect()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return len(gc.get_objects()), memory * 1024, len(threading.enumerate())


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.exhaustive)])
def test_nothing_is_left_behind_by_thousands_of_requests(llm: ChatAmulet, count: int) -> None:
    engine = engine_of(llm)
    generations: weakref.WeakSet[TokenStream] = weakref.WeakSet()

    def ask_all(numbers: range) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for generation in pool.map(lambda number: ask(engine, number), numbers):
                generations.add(generation)

    ask_all(range(500))  # what is made once is made
    before, objects = engine.stats(), left_behind()
    ask_all(range(count))
    after, more = engine.stats(), left_behind()
    ended = [getattr(after, how) - getattr(before, how) for how in ("finished", "failed")]
    assert ended == [count * 94 // 100, count * 4 // 100]
    assert after.cancelled - before.cancelled == count * 2 // 100
    assert (after.rows, after.queued, after.active_requests) == (0, 0, 0)
    assert not generations
    assert more[0] - objects[0] < 200
    assert more[1] - objects[1] < 100e6  # ten KB each of 10,000; the rows of one take more
    assert more[2] == objects[2]


def test_nothing_is_left_behind_by_calls_of_the_chat_model(llm: ChatAmulet) -> None:
    def call_all() -> tuple[int, int, int]:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda call: llm.invoke(call[0], **call[1], max_tokens=1), CALLS[:99]))
        return left_behind()

    first, second = call_all(), call_all()
    assert second[0] - first[0] < 200
    assert second[2] == first[2]
    stats = engine_of(llm).stats()
    assert (stats.rows, stats.queued, stats.active_requests) == (0, 0, 0)


@pytest.mark.exhaustive
def test_a_round_of_answers_and_refusals_leaves_no_more_than_the_round_before() -> None:
    """In a process of its own, where nothing else comes and goes; it counts all that there is."""
    load = ["--answers", "1500", "--refusals", "200", "--rounds", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.leaks", *load], capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
