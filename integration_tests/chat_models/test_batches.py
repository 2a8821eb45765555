"""A batch is one call of many answers: it waits for room, and is interrupted as a whole."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.deadline import BATCH
from langchain_amulet.errors import DeadlineError, QueueFullError
from langchain_amulet.methods import BeamSearch
from langchain_amulet.waiting.threads import in_thread
from support.engines import engine_of, wait_until_idle, whole

QUESTION = "How do I sleep better?"
LONG: dict[str, Any] = {"max_tokens": 900, "temperature": 1.5}


@pytest.fixture
def narrow(tiny: str) -> Iterator[ChatAmulet]:
    """Where few calls fit into the queue."""
    with ChatAmulet(
        model=tiny, dtype="float32", temperature=0.0, max_tokens=3, max_rows=4, max_queue=3
    ) as llm:
        llm.load()
        yield llm


def contents(answers: list[Any]) -> list[str]:
    return [answer.content for answer in answers]


# --- Room ---


@pytest.mark.parametrize("method", ["auto", BeamSearch(2)])
async def test_batches_at_once_wait_for_each_other(narrow: ChatAmulet, method: Any) -> None:
    call = {"preference": "Be kind.", "method": method}
    expected = (await narrow.ainvoke(QUESTION, **call)).content
    found = await asyncio.gather(
        *[narrow.abatch([QUESTION] * 20, **call) for _ in range(3)],
        asyncio.to_thread(narrow.batch, [QUESTION] * 20, **call),
    )
    assert [contents(each) for each in found] == [[expected] * 20] * 4


def test_a_batch_fills_the_queue_for_others_and_not_for_itself(narrow: ChatAmulet) -> None:
    gate = threading.Event()
    engine_of(narrow).run(whole(lambda: gate.wait(30)))
    batches = [in_thread(lambda: narrow.batch([QUESTION] * 6)) for _ in range(2)]
    while narrow.stats().queued < 6:
        time.sleep(0.001)
    with pytest.raises(QueueFullError, match="At most 3 requests"):
        narrow.invoke(QUESTION)
    gate.set()
    assert [len(each.result(timeout=60)) for each in batches] == [6, 6]


def test_a_call_of_a_batch_waits_no_longer_than_its_timeout(narrow: ChatAmulet) -> None:
    gate = threading.Event()
    engine_of(narrow).run(whole(lambda: gate.wait(30)))
    try:
        with pytest.raises(DeadlineError, match=r"0\.2 s, which counts from"):
            narrow.batch([QUESTION] * 6, timeout=0.2)
    finally:
        gate.set()


# --- Interrupts ---


def as_completed(llm: ChatAmulet, inputs: list[Any], **call: Any) -> list[Any]:
    return list(llm.batch_as_completed(inputs, **call))


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("call", [ChatAmulet.batch, as_completed], ids=["batch", "as completed"])
def test_ctrl_c_ends_a_batch_at_once_and_frees_its_rows(
    llm: ChatAmulet, call: Callable[..., Any]
) -> None:
    llm.load()
    engine, main = engine_of(llm), threading.main_thread().ident
    assert threading.get_ident() == main

    def interrupt() -> None:
        while not engine.stats().rows:
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGINT)

    before = engine.stats()
    interrupting = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(llm, [QUESTION] * 200, **LONG)
    interrupting.result(timeout=30)
    asyncio.run(wait_until_idle(llm))
    assert engine.stats().admitted < before.admitted + 200
    assert engine.stats().cancelled > before.cancelled


async def test_who_leaves_the_answers_as_they_come_ends_the_others(llm: ChatAmulet) -> None:
    llm.load()
    before = engine_of(llm).stats()
    bodies: list[Any] = [QUESTION] * 40
    for _ in llm.batch_as_completed(bodies, {"max_concurrency": 4}, **LONG):
        break
    await wait_until_idle(llm)
    assert engine_of(llm).stats().admitted < before.admitted + len(bodies)
    assert llm.invoke(QUESTION)


def test_neither_caches_nor_traces_see_the_batch(llm: ChatAmulet) -> None:
    collector, cache = RunCollectorCallbackHandler(), InMemoryCache()
    cached = llm.model_copy(update={"cache": cache})
    config: Any = {"callbacks": [collector]}
    assert len(set(contents(cached.batch([QUESTION] * 3, config)))) == 1
    assert cached.invoke(QUESTION, config).content
    assert len(cache._cache) == 1
    assert BATCH not in f"{cache._cache} {collector.traced_runs}"
