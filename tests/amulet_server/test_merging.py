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
    found = [item async for item in merged([counted(most, ended) for most in (3, 0, 5)])]
    for number, most in enumerate((3, 0, 5)):
        assert [item for index, item in found if index == number] == list(range(most))


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
