"""What a memory refuses, how long it waits, and what it caches."""

import asyncio
import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from langchain_amulet import ChatAmulet, Preference, PreferenceMemory
from langchain_amulet.errors import (
    ConfigurationError,
    CorruptProfileError,
    PreferenceError,
    PreferenceStoreError,
    PreferenceTimeoutError,
    PreferenceWarning,
    RequestError,
)
from langchain_amulet.memory import ResolverMemory, StoredPreference, as_memory, as_store
from langchain_amulet.memory.lookups import UNANSWERED

SHORT, KIND, FORMAL = "Keep it short.", "Be kind.", "Please be formal."
OVER = StoredPreference(SHORT, expires_at=datetime(2020, 1, 1, tzinfo=UTC))

both_ways = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


class Watched(InMemoryStore):
    """Counts what it is asked; waits or fails where a test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.gate = Event()
        self.gate.set()
        self.error: Exception | None = None

    def batch(self, ops: Any) -> list[Any]:
        listed = list(ops)
        self.batches.append(len(listed))
        self.gate.wait()
        if self.error:
            raise self.error
        return super().batch(listed)


@pytest.fixture
def store() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.gate.set()


def ask(memory: Any, is_async: bool, *args: Any) -> tuple[Preference, ...]:
    return asyncio.run(memory.aget(*args)) if is_async else memory.get(*args)


# --- One lookup, cached if asked for ---


@both_ways
@pytest.mark.parametrize("namespace", [("preferences",), ("users", "{user_id}")], ids=len)
def test_a_lookup_asks_the_store_once(
    store: Watched, is_async: bool, namespace: tuple[str, ...]
) -> None:
    memory = PreferenceMemory(store, namespace)
    memory.set("ada", SHORT)
    store.batches.clear()
    ask(memory, is_async, "ada", "anything")
    ask(memory, is_async, "nobody")
    assert len(store.batches) == 2


@both_ways
def test_nothing_is_cached_unless_asked_for(store: Watched, is_async: bool) -> None:
    memory, other = PreferenceMemory(store), PreferenceMemory(store)
    memory.set("ada", SHORT)
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)
    other.set("ada", KIND)
    assert ask(memory, is_async, "ada") == (Preference(KIND),)


@both_ways
def test_a_cache_spares_the_store_and_sees_its_own_memorys_writes(
    store: Watched, is_async: bool
) -> None:
    memory = PreferenceMemory(store, cache_seconds=60.0)
    memory.set("ada", SHORT)
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)
    assert ask(memory, is_async, "nobody") == ()
    store.batches.clear()
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)
    assert ask(memory, is_async, "nobody") == ()
    assert not store.batches
    memory.add("ada", KIND)
    assert ask(memory, is_async, "ada") == (Preference(SHORT), Preference(KIND))
    memory.forget("ada", SHORT)
    assert ask(memory, is_async, "ada") == (Preference(KIND),)
    memory.erase("ada")
    assert ask(memory, is_async, "ada") == ()


def test_a_cache_forgets_in_time_and_keeps_so_many_users(store: Watched) -> None:
    memory = PreferenceMemory(store, cache_seconds=0.5, cache_users=2)
    for user in ("ada", "bob", "eve"):
        memory.get(user)
    store.batches.clear()
    memory.get("bob"), memory.get("eve")
    assert len(store.batches) == 0
    memory.get("ada")
    assert len(store.batches) == 1
    time.sleep(0.55)
    memory.get("ada")
    assert len(store.batches) == 2


def test_what_is_cached_still_ends_and_has_its_conditions(store: Watched) -> None:
    memory = PreferenceMemory(store, cache_seconds=60.0)
    memory.set("ada", StoredPreference(FORMAL, when=["work"]), expires=1.0)
    assert memory.get("ada", "work") == (Preference(FORMAL),)
    assert memory.get("ada", "play") == ()
    time.sleep(1.05)
    assert memory.get("ada", "work") == ()


def test_what_was_read_before_a_write_is_not_cached_after_it(store: Watched) -> None:
    memory = PreferenceMemory(store, cache_seconds=60.0)
    other = PreferenceMemory(store)
    lookup = memory._applying("ada", None)
    exchange = next(lookup)
    assert exchange is not None
    results = exchange.block()  # finds nothing
    memory.set("ada", SHORT)
    with pytest.raises(StopIteration):
        lookup.send(results)
    assert memory.get("ada") == other.get("ada") == (Preference(SHORT),)


@both_ways
def test_a_user_who_is_cached_waits_for_no_store_that_hangs(store: Watched, is_async: bool) -> None:
    memory = PreferenceMemory(store, cache_seconds=60.0, timeout=0.001)
    memory.set("ada", SHORT)
    found = None
    while not found:
        with suppress(PreferenceTimeoutError):  # on a busy machine
            found = memory.get("ada")
    store.gate.clear()
    for _ in range(UNANSWERED):
        with pytest.raises(PreferenceTimeoutError):
            memory.get("bob")
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)


# --- Failures ---


@both_ways
def test_a_store_that_fails_is_an_error_that_says_so(store: Watched, is_async: bool) -> None:
    store.error = OSError("disk on fire")
    memory = PreferenceMemory(store)
    with pytest.raises(PreferenceStoreError, match="Watched failed: OSError,") as e:
        ask(memory, is_async, "ada")
    assert isinstance(e.value.__context__, OSError)  # which no trace shows
    with pytest.raises(PreferenceStoreError):
        memory.set("ada", SHORT)


@both_ways
def test_or_a_lookup_finds_nothing_warns_and_counts(store: Watched, is_async: bool) -> None:
    memory = PreferenceMemory(store, on_store_error="ignore")
    memory.set("ada", SHORT)
    store.error = OSError("disk on fire")
    for count in (1, 2):
        with pytest.warns(PreferenceWarning, match="Watched failed: OSError,"):
            assert ask(memory, is_async, "ada") == ()
        assert memory.failures == count
    with pytest.raises(PreferenceStoreError):
        memory.set("ada", KIND)  # what isn't stored is never said to be
    store.error = None
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)


@both_ways
def test_a_failure_is_not_cached(store: Watched, is_async: bool) -> None:
    memory = PreferenceMemory(store, on_store_error="ignore", cache_seconds=60.0)
    store.error = OSError("disk on fire")
    with pytest.warns(PreferenceWarning):
        ask(memory, is_async, "ada")
    store.error = None
    PreferenceMemory(store).set("ada", SHORT)
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)


def test_a_store_that_gives_another_users_record_is_not_believed(store: Watched) -> None:
    PreferenceMemory(store).set("bob", SHORT)
    bobs = store.get(("preferences",), "bob")

    class Mistaken(InMemoryStore):
        def batch(self, ops: Any) -> list[Any]:
            return [bobs for _ in ops]

    with pytest.raises(PreferenceStoreError, match=r"'bob'.*'ada'"):
        PreferenceMemory(Mistaken()).get("ada")


ODD_RESULTS: dict[str, Any] = {
    "nothing": None,
    "no results": [],
    "too many": [None] * 9,
    "a number": 5,
    "numbers": [1, 2],
    "texts": "ab",
    "lists of numbers": [[1], [2]],
    "dicts": [{}, {}],
}


@both_ways
@pytest.mark.parametrize("results", ODD_RESULTS.values(), ids=ODD_RESULTS)
def test_a_store_that_gives_no_results_fails_like_others(results: Any, is_async: bool) -> None:
    class Odd(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            return results

    for namespace in (("preferences",), ("users", "{user_id}")):
        memory = PreferenceMemory(Odd(), namespace)
        uses = (
            memory.get,
            memory.profile,
            memory.history,
            memory.erase,
            lambda user, listing=memory.list: listing(),
        )
        for use in uses:
            with pytest.raises(PreferenceStoreError, match="Odd must give a result"):
                use("ada")
        ignoring = PreferenceMemory(memory.store, namespace, on_store_error="ignore")
        with pytest.warns(PreferenceWarning, match="Odd must give a result"):
            assert ask(ignoring, is_async, "ada") == ()


def test_a_matcher_that_fails_is_a_failure_like_others(store: Watched) -> None:
    def broken(topics: Any, text: str) -> bool:
        raise OSError("no embeddings")

    memory = PreferenceMemory(store, matcher=broken, on_store_error="ignore")
    memory.set("ada", StoredPreference(FORMAL, when=["work"]))
    with pytest.warns(PreferenceWarning, match="The matcher failed: OSError,"):
        assert memory.get("ada", "work") == ()


@both_ways
def test_a_history_that_makes_no_sense_is_an_error_until_preferences_are_set_anew(
    store: Watched, is_async: bool
) -> None:
    memory = PreferenceMemory(store)
    memory.set("ada", SHORT)
    store.put(("preference_changes", "preferences/ada"), "0", {"action": "shrug"})
    for broken in (lambda: memory.add("ada", KIND), lambda: memory.history("ada")):
        with pytest.raises(CorruptProfileError, match=r"'ada'.*set them anew"):
            broken()
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)
    memory.set("ada", FORMAL)
    memory.add("ada", KIND)
    assert [change.action for change in memory.history("ada")] == ["add", "set", "set"]


@both_ways
def test_what_lasts_of_a_profile_can_be_set_for_another_user(
    store: Watched, is_async: bool
) -> None:
    memory = PreferenceMemory(store)
    memory.set("ada", [KIND, StoredPreference(FORMAL, when=["work"])])
    memory.add("ada", SHORT, expires=0.05)
    time.sleep(0.1)
    profile = asyncio.run(memory.aprofile("ada")) if is_async else memory.profile("ada")
    assert profile is not None
    assert [each.text for each in profile.preferences] == [KIND, FORMAL, SHORT]
    with pytest.raises(PreferenceError, match=r"number 3 of this call ended .*lasting"):
        memory.set("bob", profile.preferences)
    memory.set("bob", profile.lasting)
    assert [each.text for each in memory.get("bob", "At work?")] == [KIND, FORMAL]


# --- Limits ---


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda memory: memory.set("ada", "x" * 21), "at most 20 characters"),
        (lambda memory: memory.add("ada", "x" * 21), "at most 20 characters"),
        (lambda memory: memory.set("ada", ["a", "b", "c"]), "at most 2 stored"),
        (lambda memory: [memory.add("ada", text) for text in "abc"], "at most 2 stored"),
        (lambda memory: memory.set("ada", {"text": SHORT, "colour": "red"}), "'colour' is unknown"),
        (lambda memory: memory.set("ada", {"text": "a\0b"}), "control characters"),
        (lambda memory: memory.set("ada", 3), "must be a text or a Preference"),
        (lambda memory: memory.set("ada", SHORT, expires=-1), "expiry"),
        (
            lambda memory: memory.set("ada", OVER),
            "time left, but number 1 .* ended at 2020",
        ),
        (lambda memory: memory.add("ada", [KIND, OVER], expires=60), "number 2 of this call ended"),
        (lambda memory: memory.set("", SHORT), "user's id"),
        (lambda memory: memory.get(3), "user's id"),
        (lambda memory: memory.add(["ada"], SHORT), "user's id"),
    ],
)
def test_what_can_not_be_stored_is_refused(
    store: Watched, write: Callable[[PreferenceMemory], None], complaint: str
) -> None:
    memory = PreferenceMemory(store, max_preferences=2, max_preference_chars=20, cache_seconds=60.0)
    with pytest.raises(PreferenceError, match=complaint):
        write(memory)


@pytest.mark.parametrize("number", [-1, "5", 2.5, None, 2**31], ids=repr)
@both_ways
def test_a_page_is_told_by_whole_numbers_from_0(
    store: Watched, number: Any, is_async: bool
) -> None:
    memory = PreferenceMemory(store)
    memory.set("ada", SHORT)
    rule = rf"whole numbers of at least 0.*{number!r}"
    for method, *args in (("list", number), ("list", 5, number), ("history", "ada", number)):
        with pytest.raises(RequestError, match=rule):
            if is_async:
                asyncio.run(getattr(memory, f"a{method}")(*args))
            else:
                getattr(memory, method)(*args)


def test_of_too_many_preferences_the_newest_apply(store: Watched) -> None:
    PreferenceMemory(store).set("ada", ["a", "b", "c"])
    few = PreferenceMemory(store, max_preferences=2)
    assert few.get("ada") == (Preference("b"), Preference("c"))


@pytest.mark.parametrize("record", [["a"] * 1001, {str(i): {"text": "a"} for i in range(1001)}])
def test_a_record_that_grew_too_large_elsewhere_is_corrupt(store: Watched, record: Any) -> None:
    memory = PreferenceMemory(store)
    store.put(("preferences",), "ada", {"preferences": record})
    with pytest.raises(CorruptProfileError, match="at most 1000 preferences, not 1001"):
        memory.get("ada")
    memory.set("ada", SHORT)
    assert memory.get("ada") == (Preference(SHORT),)


def test_ids_that_another_program_gave_may_be_numbers(store: Watched) -> None:
    memory = PreferenceMemory(store)
    store.put(("preferences",), "ada", {"preferences": {0: {"text": SHORT}}})
    memory.add("ada", FORMAL)
    assert [each.text for each in memory.get("ada")] == [SHORT, FORMAL]
    memory.set("ada", FORMAL)
    assert [each.text for each in memory.get("ada")] == [FORMAL]


def test_a_text_that_grew_too_long_elsewhere_is_corrupt(store: Watched) -> None:
    PreferenceMemory(store).set("ada", "x" * 21)
    with pytest.raises(CorruptProfileError, match="at most 20 characters"):
        PreferenceMemory(store, max_preference_chars=20).get("ada")


@pytest.mark.parametrize(
    "settings",
    [
        {"namespace": "preferences"},
        {"on_store_error": "shrug"},
        {"on_corrupt": None},
        {"timeout": 0},
        {"timeout": "soon"},
        {"timeout": float("inf")},
        {"timeout": 1e9},
        {"max_preferences": 1001},
        {"ttl": timedelta.max},
        {"max_preferences": 0},
        {"max_history": 3},
        {"cache_seconds": 0},
        {"cache_users": 0},
        {"max_preference_chars": "many"},
        {"matcher": "work"},
        {"ttl": -1},
        {"store": {}},
    ],
    ids=str,
)
def test_settings_that_can_not_work_are_refused(store: Watched, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        PreferenceMemory(**{"store": store, **settings})


def test_numbers_may_be_read_from_an_environment(store: Watched) -> None:
    settings: Any = {"timeout": "5.0", "cache_seconds": "60", "cache_users": "1", "ttl": "PT1H"}
    memory = PreferenceMemory(store, **settings)
    memory.set("ada", SHORT)
    assert memory.get("ada") == memory.get("ada") == (Preference(SHORT),)
    for timeout in (0, "soon"):
        with pytest.raises(ConfigurationError, match="timeout"):
            ResolverMemory(lambda user_id: SHORT, timeout=timeout)  # type: ignore[arg-type]


def test_errors_quote_no_preference(store: Watched) -> None:
    """What is stored may be malformed, and what is given no store."""
    memory = PreferenceMemory(store)
    for value in ({"preferences": SHORT}, {"preferences": [[SHORT]]}, {"text": SHORT, "when": 3}):
        store.put(("preferences",), "ada", value)
        with pytest.raises(CorruptProfileError) as raised:
            memory.get("ada")
        assert SHORT not in str(raised.value)
    for make in (as_memory, as_store, PreferenceMemory):
        with pytest.raises(ConfigurationError) as refused:
            make({"ada": SHORT})  # type: ignore[operator]
        assert SHORT not in str(refused.value)


def test_a_lifetime_holds_for_what_has_none_of_its_own(store: Watched) -> None:
    memory = PreferenceMemory(store, ttl=0.05)
    memory.set("ada", SHORT)
    memory.add("ada", KIND, expires=60.0)
    time.sleep(0.1)
    assert memory.get("ada") == (Preference(KIND),)


@pytest.mark.parametrize("namespace", [("preferences",), ("{user_id}", "wishes")], ids=len)
def test_what_can_be_nobodys_id_is_not_listed(store: Watched, namespace: tuple[str, ...]) -> None:
    """Other programs write where they like, and everybody else is listed all the same."""
    memory = PreferenceMemory(store, namespace)
    memory.set("ada", SHORT)
    for other in (" ", "x" * 257, "a\nb"):
        place = (namespace, other) if len(namespace) == 1 else ((other, "wishes"), "1")
        store.put(*place, {"content": KIND})
    store.put(("preference_changes", "wishes"), "1", {"content": KIND})
    assert memory.list() == ("ada",)


def test_users_of_a_function_can_not_be_listed(store: Watched) -> None:
    with pytest.raises(ConfigurationError, match="listed"):
        PreferenceMemory(store, lambda user: ("preferences",)).list()


def test_threads_of_one_program_lose_nothing(store: Watched) -> None:
    memory = PreferenceMemory(store)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: memory.add(f"user-{n % 20}", f"Wish {n // 20}."), range(160)))
        found = list(pool.map(memory.get, [f"user-{n}" for n in range(20)]))
    texts = {f"Wish {n}." for n in range(8)}
    assert all({preference.text for preference in each} == texts for each in found)


class Disturbed(dict[Any, Any]):
    """What a store keeps its items in, into which another thread writes during the first search."""

    def __init__(self, held: Any) -> None:
        super().__init__(held)
        self.is_calm = False

    def __missing__(self, key: Any) -> Any:
        return self.setdefault(key, {})

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            if not self.is_calm:
                self.is_calm = True
                self[("others",)] = {}
            yield key


@both_ways
def test_a_search_that_another_threads_write_breaks_off_is_begun_anew(is_async: bool) -> None:
    store = InMemoryStore()
    memory = PreferenceMemory(store, ("users", "{user_id}"))
    memory.set("ada", SHORT)
    store._data = Disturbed(store._data)  # type: ignore[assignment]
    assert ask(memory, is_async, "ada") == (Preference(SHORT),)
    assert ("others",) in store._data


@pytest.mark.parametrize("kind", [PreferenceMemory, ResolverMemory])
def test_a_deep_copy_of_a_model_has_the_memory_of_the_model(store: Watched, kind: Any) -> None:
    """Connections and locks can't be copied, and needn't be."""
    PreferenceMemory(store).set("ada", SHORT)
    knowing = ChatAmulet(memory=kind(store if kind is PreferenceMemory else lambda user_id: SHORT))
    for copied in (copy.deepcopy(knowing), knowing.model_copy(deep=True)):
        assert copied.memory is not None
        assert copied.memory.get("ada") == (Preference(SHORT),)


def test_stores_and_memories_are_memories(store: Watched) -> None:
    memory = PreferenceMemory(store)
    memory.set("ada", SHORT)
    assert as_memory(memory) is memory
    assert as_memory(store).get("ada") == (Preference(SHORT),)
    with pytest.raises(ConfigurationError, match="memory must be"):
        as_memory({"ada": SHORT})
