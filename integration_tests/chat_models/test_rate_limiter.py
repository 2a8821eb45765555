"""A rate limiter holds calls back, however they are made, and answers from a cache don't count."""

import time
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.rate_limiters import BaseRateLimiter, InMemoryRateLimiter

from langchain_amulet import ChatAmulet
from support.ways import DIRECT, Way, invoke

QUESTION = "How do I sleep better?"

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


class Counting(BaseRateLimiter):
    """Lets everybody through."""

    def __init__(self) -> None:
        self.count = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.count += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


def limited(tiny: str, limiter: BaseRateLimiter, **fields: Any) -> ChatAmulet:
    settings = {"dtype": "float32", "temperature": 0.0, "max_tokens": 3}
    return ChatAmulet(model=tiny, rate_limiter=limiter, **settings, **fields)


@every_way
def test_every_call_asks_once(tiny: str, way: Way) -> None:
    limiter = Counting()
    llm = limited(tiny, limiter)
    way(llm, QUESTION)
    way(llm.bind(preference="Be kind."), QUESTION)
    assert limiter.count == 2


def test_copies_share_the_limiter(tiny: str) -> None:
    limiter = Counting()
    llm = limited(tiny, limiter)
    invoke(llm.with_preference("Be kind."), QUESTION)
    llm.batch([QUESTION] * 3)
    assert limiter.count == 4


def test_answers_from_the_cache_are_free(tiny: str) -> None:
    limiter = Counting()
    llm = limited(tiny, limiter, cache=InMemoryCache())
    assert invoke(llm, QUESTION) == invoke(llm, QUESTION)
    assert limiter.count == 1


def test_langchains_limiter_holds_calls_back(tiny: str) -> None:
    limiter = InMemoryRateLimiter(
        requests_per_second=20, check_every_n_seconds=0.001, max_bucket_size=1
    )
    llm = limited(tiny, limiter)
    llm.get_num_tokens("a")  # which loads the model
    began = time.perf_counter()
    llm.batch([QUESTION] * 5)
    assert time.perf_counter() - began >= 4 / 20
