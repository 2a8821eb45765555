"""Several streams read as one."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from amulet_server.routes.merging import merged


async def counted(most: int, ended: list[int]) -> AsyncGenerator[int, None]:
    try:
        for number in range(most):
            await asyncio.sleep(0)
            yield number
    finally:
        ended.append(most)


async def failing() -> AsyncGenerator[int, None]:
    yield 0
    raise ValueError("of a stream")


async def test_everything_comes_once_and_in_the_order_of_its_stream() -> None:
    ended: list[int] = []
    streams = [counted(most, ended) for most in (3, 0, 5)]
    found = [item async for come in merged(streams) for item in come]
    for number, most in enumerate((3, 0, 5)):
        assert [item for index, item in found if index == number] == list(range(most))


async def test_who_comes_late_is_given_all_that_is_there() -> None:
    stream = merged([counted(3, []), counted(4, [])])
    found = [await anext(stream)]
    await asyncio.sleep(0.05)
    found += [come async for come in stream]
    assert sum(map(len, found)) == 7
    assert len(found) == 2


async def test_what_came_before_a_failure_is_given_first() -> None:
    found: list[tuple[int, int]] = []
    with pytest.raises(ValueError, match="of a stream"):
        async for come in merged([failing()]):
            found += come
    assert found == [(0, 0)]


async def test_what_ends_all_of_them_is_told_and_no_stream_goes_on() -> None:
    ended: list[int] = []
    stop = asyncio.Event()

    async def end() -> None:
        await stop.wait()
        raise ValueError("of who stops")

    stream = merged([counted(10**9, ended), counted(10**9, ended)], end)
    assert await anext(stream)
    stop.set()
    with pytest.raises(ValueError, match="of who stops"):
        _ = [item async for item in stream]
    assert ended == [10**9, 10**9]


async def test_nothing_is_waited_for_once_all_streams_are_over() -> None:
    stream = merged([counted(2, [])], asyncio.Event().wait)
    assert sum([len(come) async for come in stream]) == 2


async def test_what_would_have_ended_them_is_no_failure_once_all_streams_are_over() -> None:
    async def end() -> None:
        while len(ended) < 2:
            await asyncio.sleep(0)
        raise ValueError("of who stops")

    ended: list[int] = []
    stream = merged([counted(1, ended), counted(3, ended)], end)
    found = await anext(stream)
    await asyncio.sleep(0.05)  # by then all of it is there, and who stops, too
    found += [item async for come in stream for item in come]
    assert len(found) == 4 and sorted(ended) == [1, 3]


async def test_closing_it_ends_all_streams() -> None:
    ended: list[int] = []
    stream = merged([counted(10**9, ended), counted(10**9, ended)])
    await anext(stream)
    await stream.aclose()
    assert ended == [10**9, 10**9]


async def test_when_one_stream_fails_the_others_end() -> None:
    ended: list[int] = []
    with pytest.raises(ValueError, match="of a stream"):
        _ = [item async for item in merged([counted(10**9, ended), failing()])]
    assert ended == [10**9]
