"""Hundreds of users at once, a cache on: nobody is ever answered by another's preference."""

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_amulet import ChatAmulet, PreferenceMemory
from support.engines import engine_of

QUESTION = "How do I sleep better?"
WORKERS = 8
WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "islet", "jetty"]


@pytest.fixture(scope="module", params=[200, pytest.param(1000, marks=pytest.mark.exhaustive)])
def wishes(request: pytest.FixtureRequest) -> dict[str, str]:
    """What each of so many users prefers; no two of them the same."""
    rng = random.Random(0)
    return {f"user-{n}": f"{' '.join(rng.choices(WORDS, k=4))} {n}" for n in range(request.param)}


@pytest.fixture(scope="module")
def llm(tiny: str) -> Iterator[ChatAmulet]:
    steadily: dict[str, Any] = {"dtype": "float32", "temperature": 0.0, "max_tokens": 4}
    # As hard as the paper steers, so that nobody's answer is another's.
    with ChatAmulet(model=tiny, method="amulet", **steadily) as model:
        yield model


@pytest.fixture(scope="module")
def alone(llm: ChatAmulet, wishes: dict[str, str]) -> dict[str, str]:
    """What each user is answered where there are no others, no store and no cache."""
    configs: Any = [{"metadata": {"preference": wish}} for wish in wishes.values()]
    answers = llm.batch([QUESTION] * len(wishes), configs)
    found = {user: answer.text for user, answer in zip(wishes, answers, strict=True)}
    assert len(set(found.values())) > 0.9 * len(wishes)  # so that an answer tells whose it is
    return found


@pytest.fixture(autouse=True)
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


class Used(BaseCallbackHandler):
    """Notes the preference that a call was traced with."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        preferences = kwargs["invocation_params"]["preference"]
        self.texts.extend(preference.text for preference in preferences)


def calls(wishes: dict[str, str]) -> list[tuple[str, int]]:
    """Each user twice and some nobodies between, in an order of chance, numbered."""
    users = [*wishes, *wishes, *(f"nobody-{n}" for n in range(len(wishes) // 10))]
    random.Random(1).shuffle(users)
    return [(user, place) for place, user in enumerate(users)]


def config_of(user: str, place: int, used: Used) -> Any:
    where = ("configurable", "metadata")[place % 2]
    return {where: {"user_id": user}, "callbacks": [used]}


def check(
    answers: list[tuple[str, str, list[str]]],
    wishes: dict[str, str],
    alone: dict[str, str],
    plain: str,
) -> None:
    """No answer but the user's own, and none made with another's preference."""
    for user, text, used in answers:
        assert text == alone.get(user, plain), user
        assert used == ([wishes[user]] if user in wishes else []), user


def test_eight_workers_answer_hundreds_of_users(
    llm: ChatAmulet, wishes: dict[str, str], alone: dict[str, str], tmp_path: Path
) -> None:
    with SqliteStore.from_conn_string(str(tmp_path / "users.db")) as store:
        store.setup()
        memory = PreferenceMemory(store)
        for user, wish in wishes.items():
            memory.set(user, wish)
        knowing = llm.model_copy(update={"memory": memory})

        def ask(call: tuple[str, int]) -> tuple[str, str, list[str]]:
            used = Used()
            answer = knowing.invoke(QUESTION, config_of(*call, used))
            return call[0], answer.text, used.texts

        before = engine_of(llm).stats().admitted
        with ThreadPoolExecutor(WORKERS) as workers:
            answers = list(workers.map(ask, calls(wishes)))
        decoded = engine_of(llm).stats().admitted - before
    check(answers, wishes, alone, llm.invoke(QUESTION).text)
    assert decoded < 1.5 * len(wishes)  # the others came from the cache


async def test_as_many_tasks_as_calls_answer_hundreds_of_users(
    llm: ChatAmulet, wishes: dict[str, str], alone: dict[str, str]
) -> None:
    memory = PreferenceMemory(InMemoryStore())
    for user, wish in wishes.items():
        await memory.aset(user, wish)
    knowing = llm.model_copy(update={"memory": memory})

    async def ask(user: str, place: int) -> tuple[str, str, list[str]]:
        used = Used()
        config = config_of(user, place, used)
        if place % 3:
            return user, (await knowing.ainvoke(QUESTION, config)).text, used.texts
        text = "".join([chunk.text async for chunk in knowing.astream(QUESTION, config)])
        return user, text, used.texts

    answers = await asyncio.gather(*(ask(*call) for call in calls(wishes)[:500]))
    check(answers, wishes, alone, llm.invoke(QUESTION).text)
