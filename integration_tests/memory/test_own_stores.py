"""A preference store of one's own serves wherever `PreferenceMemory` does."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import (
    ConfigurationError,
    CorruptProfileError,
    PreferenceError,
    PreferenceStoreError,
)
from langchain_amulet.memory import (
    Limits,
    PreferenceExtractor,
    PreferenceMemory,
    PreferenceStore,
    SimplePreferenceStore,
    StoredPreference,
    as_memory,
    as_store,
    preference_tools,
)
from langchain_amulet.memory.lookups import UNANSWERED
from langchain_amulet.middleware import PreferenceMiddleware
from support.own_stores import OWN_STORES, AsyncStore, SyncStore
from support.stores import Caller

ROOT = Path(__file__).parents[2]
ADA: Any = {"configurable": {"user_id": "ada"}}
SHORT, KIND, FORMAL = "Keep it short.", "Be kind.", "Please be formal."

every_own = pytest.mark.parametrize("kind", OWN_STORES, ids=lambda kind: kind.__name__)
every_simple = pytest.mark.parametrize("kind", [SyncStore, AsyncStore])
both_ways = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


class Scripted(GenericFakeChatModel):
    """Says what the script has, whatever is asked."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def calling(tool: str, **args: Any) -> Scripted:
    """A model that calls a tool and then says that it is done."""
    call = {"name": tool, "args": args, "id": "1"}
    return Scripted(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Done.")]))


# --- What `SimplePreferenceStore` makes of two methods ---


@every_simple
@both_ways
async def test_what_was_set_added_and_forgotten_last_is_what_applies(
    kind: type[SimplePreferenceStore], is_async: bool
) -> None:
    call = Caller(kind(), is_async)
    assert await call("get", "ada") == ()
    assert await call("profile", "ada") is None
    assert await call("forget", "ada") == ()
    await call("set", "ada", [SHORT, Preference(KIND, strength="strong", weight=0.5)])
    assert await call("get", "ada") == (
        Preference(SHORT),
        Preference(KIND, strength="strong", weight=0.5),
    )
    await call("add", "ada", [FORMAL, f" {SHORT.upper()}"])
    assert await call("forget", "ada", KIND.lower()) == (
        StoredPreference(KIND, strength="strong", weight=0.5),
    )
    assert [each.text for each in await call("get", "ada")] == [FORMAL, SHORT.upper()]
    assert len(await call("forget", "ada")) == 2
    assert await call("get", "ada") == await call("get", "bob") == ()


@every_simple
@both_ways
async def test_conditions_and_ends_hold(kind: type[SimplePreferenceStore], is_async: bool) -> None:
    call = Caller(kind(), is_async)
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    at_work = StoredPreference(FORMAL, when=["work"])
    await call("set", "ada", [SHORT, at_work, StoredPreference(KIND, expires_at=soon)])
    await asyncio.sleep(0.6)
    assert await call("get", "ada") == (Preference(SHORT),)
    assert await call("get", "ada", "At work?") == (Preference(SHORT), Preference(FORMAL))
    assert len((await call("profile", "ada")).preferences) == 3
    await call("add", "ada", "Be brief.")
    assert len((await call("profile", "ada")).preferences) == 3  # what was over is gone


async def test_a_store_that_hangs_keeps_so_many_threads_of_an_event_loops_callers() -> None:
    gate, asked = Event(), list[str]()

    class Hanging(SyncStore):
        def load(self, user_id: str) -> Any:
            asked.append(user_id)
            gate.wait(60.0)
            return super().load(user_id)

    store = Hanging()
    lookups = [asyncio.wait_for(store.aget("ada"), 0.3) for _ in range(2 * UNANSWERED)]
    assert {type(each) for each in await asyncio.gather(*lookups, return_exceptions=True)} == {
        TimeoutError
    }
    gate.set()
    assert await store.aget("ada") == ()
    assert len(asked) == UNANSWERED + 1


@every_simple
@both_ways
async def test_a_subclass_has_limits_of_its_own(
    kind: type[SimplePreferenceStore], is_async: bool
) -> None:
    class Small(kind):  # type: ignore[valid-type, misc]
        limits = Limits(max_preferences=1, max_preference_chars=20, matcher=lambda *_: True)

    call = Caller(Small(), is_async)
    await call("set", "ada", StoredPreference(KIND, when="anything"))
    assert await call("get", "ada", "Hello!") == (Preference(KIND),)
    for text, rule in (("x" * 21, "at most 20 characters"), (SHORT, "at most 1 stored")):
        with pytest.raises(PreferenceError, match=rule):
            await call("add", "ada", text)
    with pytest.raises(PreferenceError, match="user's id"):
        await call("get", " ")


@every_simple
@both_ways
async def test_what_it_keeps_must_be_preferences_to_be_read_but_not_to_be_replaced(
    kind: type[SyncStore], is_async: bool
) -> None:
    store = kind()
    call = Caller(store, is_async)
    store.kept["ada"] = [{"text": SHORT, "colour": "red"}]
    for method, *args in (("get",), ("profile",), ("add", KIND), ("forget", KIND)):
        with pytest.raises(CorruptProfileError, match=r"loaded for user 'ada'.*'colour'") as raised:
            await call(method, "ada", *args)
        assert SHORT not in str(raised.value)
    await call("set", "ada", KIND)
    assert await call("get", "ada") == (Preference(KIND),)


@both_ways
async def test_its_failures_are_those_of_a_store(is_async: bool) -> None:
    class Broken(SyncStore):
        def save(self, user_id: str, preferences: tuple[StoredPreference, ...]) -> None:
            raise OSError("disk on fire")

    call = Caller(Broken(), is_async)
    with pytest.raises(PreferenceStoreError, match="Broken failed: OSError,") as e:
        await call("set", "ada", SHORT)
    assert isinstance(e.value.__context__, OSError)  # which no trace shows


async def test_a_plain_one_is_not_called_in_the_event_loop_s_thread() -> None:
    class Blocking(SyncStore):
        def load(self, user_id: str) -> Any:
            return asyncio.run(asyncio.sleep(0, SHORT))  # which fails where a loop runs

    assert await Blocking().aget("ada") == (Preference(SHORT),)


def test_it_learns(llm: ChatAmulet) -> None:
    store = SyncStore()
    store.set("ada", SHORT)
    learned = store.learn("ada", model=llm, liked=[("How do I sleep better?", "Rest.")])
    assert store.get("ada") == (Preference(SHORT, strength=learned.preferences[0].strength),)


# --- Where a store is taken ---


@every_own
@both_ways
def test_a_model_answers_in_the_style_that_it_knows(
    llm: ChatAmulet, kind: type[SyncStore], is_async: bool
) -> None:
    store = kind()
    store.set("ada", KIND)
    knowing = llm.model_copy(update={"memory": as_memory(store)})
    asked = knowing.ainvoke("Hello!", ADA) if is_async else None
    answer = asyncio.run(asked) if asked else knowing.invoke("Hello!", ADA)
    assert answer.content == llm.invoke("Hello!", preference=KIND).content


@every_own
@both_ways
def test_tools_write_to_it(kind: type[SyncStore], is_async: bool) -> None:
    store = kind()

    def used(tool: Any, text: str) -> Any:
        arguments = {"preference": text}
        return (
            asyncio.run(tool.ainvoke(arguments, ADA)) if is_async else tool.invoke(arguments, ADA)
        )

    remember, forget = preference_tools(store)
    assert used(remember, SHORT) == used(remember, KIND) == "Remembered."
    assert used(forget, KIND.upper()) == "Forgotten."
    assert used(forget, KIND).endswith(f"What is remembered: {SHORT}")
    assert [each.text for each in store.get("ada")] == [SHORT]


@every_own
@both_ways
def test_an_agent_that_learns_keeps_it_there(kind: type[SyncStore], is_async: bool) -> None:
    store = kind()
    middleware = PreferenceMiddleware(store, learning=True, unsupported_model_behavior="ignore")
    script = calling("remember_preference", preference=SHORT)
    agent = create_agent(script, [], middleware=[middleware])
    asked: Any = {"messages": [("user", "Please.")]}
    asyncio.run(agent.ainvoke(asked, ADA)) if is_async else agent.invoke(asked, ADA)
    assert [each.text for each in store.get("ada")] == [SHORT]


@every_own
def test_an_extractor_keeps_there_what_it_extracts(kind: type[SyncStore]) -> None:
    store = kind()
    store.set("ada", KIND)
    found = {"remember": [SHORT], "forget": [KIND]}
    with PreferenceExtractor(calling("ExtractedPreferences", **found), store) as extractor:
        changed = extractor.extract("ada", [HumanMessage("Forget it all. Keep it short.")])
        assert extractor.flush()
    assert json.loads(changed.model_dump_json()) == found
    assert [each.text for each in store.get("ada")] == [SHORT]


def test_the_example_is_one_short_file_that_keeps_what_it_is_given(tmp_path: Path) -> None:
    example = ROOT / "examples" / "extending" / "own_preference_store.py"
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(example)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    ada, other = done.stdout.splitlines()
    assert ada.startswith("ada: ") and other.startswith("somebody else: ")
    assert len(ada) < len(other)
    kept = json.loads((tmp_path / "preferences.json").read_text(encoding="utf-8"))
    assert kept == {"ada": [{"text": SHORT}]}


# --- What is none ---


def test_all_of_them_are_stores() -> None:
    for kind in OWN_STORES:
        store = kind()
        assert isinstance(store, PreferenceStore)
        assert as_store(store) is as_memory(store) is store


class Half:
    """Knows, and can't be told."""

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return ()

    def add(self, user_id: str, preference: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    "take",
    [
        as_store,
        preference_tools,
        lambda store: PreferenceExtractor(Scripted(messages=iter(())), store),
    ],
)
def test_what_lacks_methods_is_refused_and_they_are_named(take: Any) -> None:
    with pytest.raises(ConfigurationError, match="type Half, which lacks aadd, aforget, aget, a"):
        take(Half())
    with pytest.raises(ConfigurationError, match="the class SyncStore, of which an instance"):
        take(SyncStore)


def test_what_can_not_be_asked_is_no_memory() -> None:
    with pytest.raises(ConfigurationError, match=r"memory must be .* type Half, which lacks aget"):
        as_memory(Half())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="the class PreferenceMemory, of which an inst"):
        ChatAmulet(memory=PreferenceMemory)
