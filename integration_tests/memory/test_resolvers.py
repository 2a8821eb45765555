"""A function of a user's id is a memory, held to what all memories are held to."""

import asyncio
import errno
from threading import Event
from typing import Any

import pytest

from langchain_amulet import Preference
from langchain_amulet.errors import (
    CorruptProfileError,
    PreferenceError,
    PreferenceStoreError,
    PreferenceTimeoutError,
    PreferenceWarning,
)
from langchain_amulet.memory import ResolverMemory, as_memory

SHORT, KIND, FORMAL = "Keep it short.", "Be kind.", "Please be formal."

both_ways = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


def ask(memory: Any, is_async: bool, *args: Any) -> tuple[Preference, ...]:
    return asyncio.run(memory.aget(*args)) if is_async else memory.get(*args)


def _known(user_id: str) -> str | None:
    return {"ada": SHORT}.get(user_id)


async def _aknown(user_id: str) -> str | None:
    await asyncio.sleep(0)
    return _known(user_id)


class Known:
    async def __call__(self, user_id: str) -> str | None:
        return await _aknown(user_id)


async def test_what_a_function_raises_is_told_by_its_kind_and_code() -> None:
    def fail(user_id: str) -> None:
        raise OSError(errno.ECONNREFUSED, f"the server of {user_id}'s wishes is down")

    memory = ResolverMemory(fail)
    with pytest.raises(PreferenceStoreError, match=r"failed: ConnectionRefusedError \(ECONNREF"):
        memory.get("eve")
    with pytest.raises(PreferenceStoreError, match=r"failed: ConnectionRefusedError \(ECONNREF"):
        await memory.aget("eve")


@both_ways
@pytest.mark.parametrize("resolve", [_known, _aknown, Known(), lambda user: _aknown(user)])
def test_a_function_of_the_users_id_is_a_memory(resolve: Any, is_async: bool) -> None:
    memory = as_memory(resolve)
    assert ask(memory, is_async, "ada", "anything") == (Preference(SHORT),)
    assert ask(memory, is_async, "bob") == ()


async def test_a_synchronous_function_does_not_hold_up_the_event_loop() -> None:
    gate = Event()

    def slow(user_id: str) -> str:
        gate.wait()
        return SHORT

    lookup = asyncio.create_task(as_memory(slow).aget("ada"))
    await asyncio.sleep(0.05)
    assert not lookup.done()
    gate.set()
    assert await lookup == (Preference(SHORT),)


async def test_a_coroutine_function_serves_where_there_is_no_await() -> None:
    """Even in the thread of an event loop that is running."""
    assert as_memory(_aknown).get("ada") == (Preference(SHORT),)


@both_ways
def test_a_function_that_fails_or_hangs_is_an_error_or_no_preference(is_async: bool) -> None:
    gate = Event()

    def broken(user_id: str) -> str:
        raise KeyError(user_id)

    def hanging(user_id: str) -> str:
        gate.wait()
        return SHORT

    with pytest.raises(PreferenceStoreError, match=r"'ada' failed: KeyError.*ResolverMemory\("):
        ask(ResolverMemory(broken), is_async, "ada")
    with pytest.raises(PreferenceTimeoutError):
        ask(ResolverMemory(hanging, timeout=0.05), is_async, "ada")
    with pytest.warns(PreferenceWarning):
        assert ask(ResolverMemory(broken, on_store_error="ignore"), is_async, "ada") == ()
    gate.set()


@both_ways
def test_a_function_that_gives_no_preference_is_an_error_or_no_preference(is_async: bool) -> None:
    def wrong(user_id: str) -> Any:
        return {"wish": SHORT}

    with pytest.raises(CorruptProfileError, match=r"'ada'.*'wish' is unknown"):
        ask(ResolverMemory(wrong), is_async, "ada")
    lenient = ResolverMemory(wrong, on_corrupt="ignore")
    with pytest.warns(PreferenceWarning):
        assert ask(lenient, is_async, "ada") == ()
    assert lenient.failures == 1


@pytest.mark.parametrize("given", ["a\x1b[31m", {"text": "a\0"}, {1: SHORT}], ids=repr)
@both_ways
def test_what_a_function_gives_is_held_to_the_same_rules(given: Any, is_async: bool) -> None:
    with pytest.raises(CorruptProfileError, match="'ada' is unusable"):
        ask(ResolverMemory(lambda user: given), is_async, "ada")


@pytest.mark.parametrize("user", [None, 3, "", "a\n"])
def test_a_function_is_not_asked_for_what_is_no_user(user: Any) -> None:
    with pytest.raises(PreferenceError, match="user's id"):
        ResolverMemory(pytest.fail).get(user)
