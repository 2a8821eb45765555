"""A user's preferences are remembered alike by every store, and in both ways of calling."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.store.base import BaseStore, PutOp

from langchain_amulet import Preference, PreferenceMemory
from langchain_amulet.errors import (
    CorruptProfileError,
    PreferenceError,
    PreferenceStoreError,
    PreferenceWarning,
)
from langchain_amulet.memory import StoredPreference
from langchain_amulet.memory.namespaces import HISTORY, Namespace
from support.postgres import Postgres
from support.stores import ALL, SQL, Caller, Databases, Opening, emptied, set_up

SHARED, OWNED = ("preferences",), ("users", "{user_id}", "preferences")
ADAS = ("users", "ada", "preferences")
SHORT, KIND, FORMAL = "Keep it short.", "Be kind.", "Please be formal."

UNLIKE = ["ada", "Ada", "ada%2Eb", "ada/b", "*", "%", "_", "users", "{user_id}", "Ада", "😀"]
"""Users who are easily taken for one another."""

every_store = pytest.mark.parametrize("opening", ALL.values(), ids=ALL)
every_database = pytest.mark.parametrize("opening", SQL.values(), ids=SQL)
every_namespace = pytest.mark.parametrize("namespace", [SHARED, OWNED], ids=["shared", "owned"])


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture(scope="module")
def blank(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Databases with their tables."""
    databases = Databases(tmp_path_factory.mktemp("blank") / "store.db", server.uri)
    set_up(databases)
    return databases


@pytest.fixture
def databases(blank: Databases, tmp_path: Path) -> Databases:
    return emptied(blank, tmp_path)


@pytest.fixture
async def store(
    opening: Callable[[Databases], Opening], databases: Databases
) -> AsyncIterator[BaseStore]:
    async with opening(databases) as opened:
        yield opened


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def _caller(store: BaseStore, is_async: bool, *args: Any, **kwargs: Any) -> Caller:
    return Caller(PreferenceMemory(store, *args, **kwargs), is_async)


@every_store
@every_namespace
async def test_of_an_unknown_user_nothing_is_known(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    call = _caller(store, is_async, namespace)
    assert await call("get", "ada") == ()
    assert await call("profile", "ada") is None
    assert await call("history", "ada") == ()
    assert await call("forget", "ada") == ()
    assert await call("list") == ()


@every_store
@every_namespace
async def test_what_was_set_added_and_forgotten_last_is_what_applies(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    call = _caller(store, is_async, namespace)
    await call("set", "ada", [SHORT, Preference(KIND, strength="strong", weight=0.5)])
    assert await call("get", "ada") == (
        Preference(SHORT),
        Preference(KIND, strength="strong", weight=0.5),
    )
    await call("add", "ada", FORMAL)
    assert await call("forget", "ada", SHORT.upper()) == (StoredPreference(SHORT),)
    assert [preference.text for preference in await call("get", "ada")] == [KIND, FORMAL]
    await call("set", "ada", SHORT)
    assert await call("get", "ada") == (Preference(SHORT),)
    assert await call("forget", "ada") == (StoredPreference(SHORT),)
    assert await call("get", "ada") == ()
    assert await call("list") == ()


@every_store
@every_namespace
async def test_the_history_tells_what_was_done_newest_first(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    call = _caller(store, is_async, namespace)
    before = datetime.now(UTC)
    await call("set", "ada", SHORT)
    await call("add", "ada", KIND)
    await call("set", "bob", FORMAL)
    await call("forget", "ada", SHORT)
    history = await call("history", "ada")
    assert [change.action for change in history] == ["forget", "add", "set"]
    assert [[entry.text for entry in change.added.values()] for change in history] == [
        [],
        [KIND],
        [SHORT],
    ]
    assert [entry.text for entry in history[0].removed.values()] == [SHORT]
    moments = [before, *(change.at for change in reversed(history)), datetime.now(UTC)]
    assert moments == sorted(moments)
    assert await call("history", "ada", limit=1) == history[:1]


@every_store
@every_namespace
async def test_erasing_a_user_leaves_nothing_of_them_and_all_of_others(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    call = _caller(store, is_async, namespace)
    for user in ("ada", "bob"):
        for wish in (SHORT, KIND, FORMAL):
            await call("add", user, wish)
    await call("erase", "bob")
    left = await _searched(store)
    assert left and not any(
        "bob" in label for item in left for label in (*item.namespace, item.key)
    )
    assert await call("history", "bob") == ()
    assert len(await call("get", "ada")) == len(await call("history", "ada")) == 3


@every_store
async def test_users_are_told_apart_whatever_their_ids(store: BaseStore, is_async: bool) -> None:
    call = _caller(store, is_async)
    users = [*UNLIKE, "ada ", "ada.b", "ada@example.com", "langgraph", "' OR 1=1 --", "a" * 256]
    for user in users:
        await call("set", user, f"I am {user}")
    for user in users:
        assert await call("get", user) == (Preference(f"I am {user}"),)
        (change,) = await call("history", user)
        assert [entry.text for entry in change.added.values()] == [f"I am {user.strip()}"]
    assert sorted(await call("list")) == sorted(users)


@every_store
async def test_users_with_a_namespace_each_are_told_apart(store: BaseStore, is_async: bool) -> None:
    call = _caller(store, is_async, ("users", "{user_id}"))
    for user in UNLIKE:
        await call("set", user, f"I am {user}")
    for user in UNLIKE:
        assert await call("get", user) == (Preference(f"I am {user}"),)
    assert sorted(await call("list")) == sorted(UNLIKE)
    with pytest.raises(PreferenceError, match="full stop"):
        await call("set", "ada.b", SHORT)


@every_store
async def test_a_namespace_may_be_a_function_of_the_user(store: BaseStore, is_async: bool) -> None:
    call = _caller(store, is_async, lambda user: ("tenants", user.partition("@")[2]))
    await call("set", "ada@acme", SHORT)
    await call("set", "bob@acme", KIND)
    assert await call("get", "ada@acme") == (Preference(SHORT),)
    assert await call("get", "bob@acme") == (Preference(KIND),)
    assert await call("get", "ada@other") == ()


@every_store
async def test_users_are_listed_page_by_page(store: BaseStore, is_async: bool) -> None:
    for namespace in (SHARED, OWNED):
        call = _caller(store, is_async, namespace)
        for number in range(7):
            await call("set", f"user-{number}", SHORT)
        pages = [await call("list", limit=3, offset=offset) for offset in (0, 3, 6, 9)]
        assert [len(page) for page in pages] == [3, 3, 1, 0]
        assert sorted(sum(pages, ())) == [f"user-{number}" for number in range(7)]


@every_store
async def test_a_record_is_where_langchains_convention_has_it(
    store: BaseStore, is_async: bool
) -> None:
    call = _caller(store, is_async)
    await call("set", "ada", SHORT)
    item = await _got(store, ("preferences",), "ada")
    assert [entry["text"] for entry in item.value["preferences"].values()] == [SHORT]


@every_store
@pytest.mark.parametrize(
    "value",
    [
        {"content": SHORT},
        {"kind": "Memory", "content": {"content": SHORT}},
        {"preferences": [{"text": SHORT}]},
        {"text": SHORT},
    ],
    ids=lambda value: "-".join(value),
)
async def test_what_other_programs_wrote_is_read_changed_and_forgotten(
    store: BaseStore, is_async: bool, value: dict[str, Any]
) -> None:
    for namespace, place, key in (
        (SHARED, SHARED, "ada"),
        (OWNED, ADAS, "1"),
    ):
        call = _caller(store, is_async, namespace)
        await _put(store, place, key, value)
        assert await call("get", "ada") == (Preference(SHORT),)
        assert await call("list") == ("ada",)
        await call("add", "ada", KIND)
        assert await call("get", "ada") == (Preference(SHORT), Preference(KIND))
        assert await call("forget", "ada", SHORT) == (StoredPreference(SHORT),)
        assert await call("get", "ada") == (Preference(KIND),)
        await _put(store, place, key, value)
        await call("set", "ada", FORMAL)
        assert await call("get", "ada") == (Preference(FORMAL),)


@every_store
@every_namespace
async def test_a_record_that_makes_no_sense_is_an_error_or_left_out_with_a_warning(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    place, key = (SHARED, "ada") if namespace == SHARED else (ADAS, "1")
    await _put(store, place, key, {"text": SHORT, "colour": "red"})
    strict = _caller(store, is_async, namespace)
    await strict("set", "bob", KIND)
    for method, *args in (("get", "ada"), ("profile", "ada"), ("add", "ada", KIND)):
        with pytest.raises(CorruptProfileError, match=r"'ada'.*'colour'"):
            await strict(method, *args)
    lenient = _caller(store, is_async, namespace, on_corrupt="ignore")
    with pytest.warns(PreferenceWarning, match=r"'ada'.*'colour'"):
        assert await lenient("get", "ada") == ()
    assert lenient.memory.failures == 1
    assert await strict("get", "bob") == (Preference(KIND),)
    await strict("set", "ada", FORMAL)  # mends it
    assert await strict("get", "ada") == (Preference(FORMAL),)


@every_store
@every_namespace
async def test_a_preference_ends_when_it_was_said_to(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    call = _caller(store, is_async, namespace)
    ending, lasting = (StoredPreference(KIND, expires_at=_in(seconds)) for seconds in (0.5, 60))
    await call("set", "ada", [ending, SHORT], expires=60)
    await call("set", "bob", [lasting, SHORT], expires=0.05)
    await asyncio.sleep(0.6)
    assert await call("get", "ada") == (Preference(SHORT),)
    assert await call("get", "bob") == (Preference(KIND),)


@every_database
async def test_the_store_is_told_when_it_may_drop_a_record(
    opening: Callable[..., Opening], databases: Databases, is_async: bool
) -> None:
    """And reading doesn't put that off, unless the store's own rules have it so."""
    async with opening(databases) as store:
        call = _caller(store, is_async)
        await call("set", "ada", SHORT, expires=0.5)
        await call("set", "bob", [SHORT, StoredPreference(KIND, expires_at=_in(0.5))])
        await call("get", "ada")
        await asyncio.sleep(1.6)
        assert await _swept(store) == 1
        assert await _got(store, SHARED, "ada") is None
        assert await call("get", "bob") == (Preference(SHORT),)
        await call("add", "ada", KIND)  # what was dropped doesn't come back out of the history
        assert await call("get", "ada") == (Preference(KIND),)


@every_database
async def test_the_stores_own_rules_on_how_long_it_keeps_things_hold(
    opening: Callable[..., Opening], databases: Databases, is_async: bool
) -> None:
    async with opening(databases, {"default_ttl": 1, "refresh_on_read": False}) as store:
        await _caller(store, is_async)("set", "ada", SHORT)
    assert _lifetimes(opening, databases) == [(1,), (1,)]  # of the record and of its history


@every_store
async def test_what_is_in_namespaces_inside_a_users_own_hides_nothing(
    store: BaseStore, is_async: bool
) -> None:
    """A search finds it, too: here hundreds of items, before the one that counts and after it."""
    files = [
        PutOp(("users", "ada", "files"), str(number), {"content": KIND}) for number in range(600)
    ]
    await _batch(store, files[:300])
    await _put(store, ("users", "ada"), "5b1e", {"content": SHORT})
    await _batch(store, files)
    call = _caller(store, is_async, ("users", "{user_id}"))
    assert await call("get", "ada") == (Preference(SHORT),)
    assert (await call("profile", "ada")).preferences == (StoredPreference(SHORT),)
    assert await call("list") == ("ada",)
    await call("add", "ada", FORMAL)
    assert await call("forget", "ada", SHORT) == (StoredPreference(SHORT),)
    await _put(store, ("users", "ada"), "5b1e", {"content": SHORT})
    await _batch(store, files)
    await call("erase", "ada")
    assert await call("list") == ()
    assert {item.namespace for item in await _searched(store)} == {("users", "ada", "files")}


@every_store
async def test_a_history_is_erased_whatever_histories_there_are_of_a_tenants_users(
    store: BaseStore, is_async: bool
) -> None:
    """Each tenant has preferences, too, and is named like the namespace of its users."""

    def place(user: str) -> tuple[str, ...]:
        tenant, _, name = user.partition("/")
        return ("tenants", tenant) if name else ("tenants",)

    call = _caller(store, is_async, place)
    await call("set", "acme", SHORT)
    await call("set", "acme/ada", KIND)
    histories = [item for item in await _searched(store) if item.namespace[0] == HISTORY]
    change = max(histories, key=lambda item: item.key)
    others = [Namespace.of(place).location(f"acme/{number}").history for number in range(300)]
    await _batch(store, [PutOp(each, change.key, change.value) for each in others])
    assert len(await call("history", "acme")) == 1
    await call("erase", "acme")
    assert await call("history", "acme") == ()
    assert len(await _searched(store)) == 302


@every_store
@every_namespace
async def test_conditions_are_held_against_what_the_conversation_is_about(
    store: BaseStore, is_async: bool, namespace: tuple[str, ...]
) -> None:
    call = _caller(store, is_async, namespace)
    await call("set", "ada", [SHORT, StoredPreference(FORMAL, when=["work", "my boss"])])
    both = (Preference(SHORT), Preference(FORMAL))
    assert await call("get", "ada") == (Preference(SHORT),)
    assert await call("get", "ada", "What did my  BOSS mean?") == both
    assert await call("get", "ada", about="Does homework help?") == (Preference(SHORT),)


@every_store
@every_namespace
async def test_writers_at_the_same_time_lose_nothing(
    opening: Callable[..., Opening],
    databases: Databases,
    is_async: bool,
    namespace: tuple[str, ...],
) -> None:
    """Each has a connection of its own, but for the store that has none."""
    texts = [f"Wish {number}." for number in range(6)]
    async with opening(databases) as one, opening(databases) as another:
        stores = [one, one if opening is ALL["in_memory"] else another]
        callers = [_caller(store, is_async, namespace) for store in stores]
        await asyncio.gather(
            *(callers[number % 2]("add", "ada", text) for number, text in enumerate(texts))
        )
        for call in callers:
            assert sorted(each.text for each in await call("get", "ada")) == texts
            assert len(await call("history", "ada")) == len(texts)


@pytest.mark.parametrize(
    "opening", [SQL["async_sqlite"], SQL["async_postgres"]], ids=["sqlite", "postgres"]
)
@pytest.mark.parametrize("timeout", [None, 5.0])
async def test_a_store_of_an_event_loop_is_not_asked_inside_of_it_without_await(
    store: BaseStore, timeout: float | None
) -> None:
    """It would wait for itself."""
    memory = PreferenceMemory(store, timeout=timeout)
    for method, *args in ((memory.get, "ada"), (memory.list,), (memory.set, "ada", SHORT)):
        with pytest.raises(PreferenceStoreError, match="use aget"):
            method(*args)


@pytest.mark.parametrize("opening", [SQL["async_sqlite"], SQL["async_postgres"]])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_store_whose_event_loop_is_idle_is_not_waited_for(
    opening: Callable[..., Opening], databases: Databases, timeout: float | None
) -> None:
    """It would never answer."""
    loop = asyncio.new_event_loop()
    opened = opening(databases)
    try:
        memory = PreferenceMemory(loop.run_until_complete(opened.__aenter__()), timeout=timeout)
        loop.run_until_complete(memory.aset("ada", SHORT))
        for method, *args in ((memory.get, "ada"), (memory.list,), (memory.set, "ada", KIND)):
            with pytest.raises(PreferenceStoreError, match="isn't running: ask it while that runs"):
                method(*args)
        assert loop.run_until_complete(memory.aget("ada")) == (Preference(SHORT),)
        loop.run_until_complete(opened.__aexit__(None, None, None))
    finally:
        loop.close()


@every_database
async def test_what_was_stored_is_there_after_a_restart(
    opening: Callable[..., Opening], databases: Databases, is_async: bool
) -> None:
    text = 'Ĝis! 你好 😀\n\tkeep "it" short; \\0 %s $1'
    async with opening(databases) as store:
        await _caller(store, is_async)("set", "ada", [text, KIND])
    async with opening(databases) as store:
        call = _caller(store, is_async)
        assert await call("get", "ada") == (Preference(text), Preference(KIND))
        assert len(await call("history", "ada")) == 1


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def _got(store: BaseStore, namespace: tuple[str, ...], key: str) -> Any:
    try:
        return await store.aget(namespace, key)
    except NotImplementedError:
        return store.get(namespace, key)


async def _put(
    store: BaseStore, namespace: tuple[str, ...], key: str, value: dict[str, Any]
) -> None:
    try:
        await store.aput(namespace, key, value)
    except NotImplementedError:
        store.put(namespace, key, value)


async def _batch(store: BaseStore, operations: list[Any]) -> None:
    await asyncio.to_thread(store.batch, operations)


async def _searched(store: BaseStore, limit: int = 9999) -> list[Any]:
    return await asyncio.to_thread(store.search, (), limit=limit)


async def _swept(store: Any) -> int:
    """How many items the store dropped, now that they are over."""
    dropped = store.sweep_ttl()
    return int(await dropped if asyncio.iscoroutine(dropped) else dropped)


def _lifetimes(opening: Callable[..., Opening], databases: Databases) -> list[tuple[float | None]]:
    """Minutes that each item is kept, as the database has it."""
    query = "SELECT ttl_minutes FROM store"
    if "sqlite" in opening.__name__:
        return sqlite3.connect(databases.file).execute(query).fetchall()
    with psycopg.connect(databases.uri) as connection:
        return connection.execute(query).fetchall()
