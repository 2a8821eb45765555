"""Who stops listening stops the decoding: rows are free again at once."""

import asyncio

import pytest

from langchain_amulet import ChatAmulet
from support.engines import engine_of, wait_until_idle
from support.ways import invoke

QUESTION = "How do I sleep better?"
LONG = {"preference": "Be kind.", "max_tokens": 900, "temperature": 1.5}


async def test_a_cancelled_task_frees_its_rows(llm: ChatAmulet) -> None:
    task = asyncio.create_task(llm.ainvoke(QUESTION, **LONG))
    while not engine_of(llm).stats().rows:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_idle(llm)
    assert engine_of(llm).stats().cancelled >= 1


async def test_a_stream_that_is_left_frees_its_rows(llm: ChatAmulet) -> None:
    async for _ in llm.astream(QUESTION, **LONG):
        break
    await wait_until_idle(llm)
    for _ in llm.stream(QUESTION, **LONG):
        break
    await wait_until_idle(llm)


async def test_a_task_that_is_cancelled_before_it_starts_takes_no_rows(llm: ChatAmulet) -> None:
    await llm.ainvoke(QUESTION)
    before = engine_of(llm).stats().admitted
    task = asyncio.create_task(llm.ainvoke(QUESTION, **LONG))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    assert engine_of(llm).stats().admitted == before


async def test_the_others_go_on_when_one_is_cancelled(llm: ChatAmulet) -> None:
    expected = await asyncio.to_thread(invoke, llm, QUESTION, preference="Be kind.", max_tokens=60)
    leaving = asyncio.create_task(llm.ainvoke(QUESTION, **LONG))
    staying = [
        asyncio.create_task(llm.ainvoke(QUESTION, preference="Be kind.", max_tokens=60))
        for _ in range(4)
    ]
    await asyncio.sleep(0.02)
    leaving.cancel()
    assert [answer.content for answer in await asyncio.gather(*staying)] == [expected] * 4


async def test_the_event_loop_stays_free_while_an_answer_is_decoded(llm: ChatAmulet) -> None:
    task = asyncio.create_task(llm.ainvoke(QUESTION, preference="Be kind.", max_tokens=100))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 10
