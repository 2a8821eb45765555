"""What a call finds of earlier ones, and whose: computed prompts are kept by user, unless told."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.cache_scope import CACHE_USER
from langchain_amulet.engine.backends.huggingface.stream_rows import MIN_COPIED
from langchain_amulet.errors import ConfigurationError, ContextLengthError
from langchain_amulet.methods import BestOf
from support.engines import engine_of
from support.memories import Notes
from support.ways import DIRECT, GRAPHS, INSIDE, Way, invoke, sync_events_v3

SYSTEM = ("system", "You are helpful. " * 12)
QUESTION = "How do I sleep better?"
LONG = " ".join([QUESTION] * 12)
ADA: Any = {"configurable": {"user_id": "ada"}}
BOB: Any = {"metadata": {"user_id": "bob"}}


@dataclass
class Context:
    user_id: str | None


@pytest.fixture
def fresh(tiny: str) -> Iterator[ChatAmulet]:
    """A model that remembers nothing yet."""
    gc.collect()  # copies that an earlier test has dropped hold the weights until then
    with ChatAmulet(
        model=tiny, dtype="float32", temperature=0, max_tokens=6, kv_cache_memory="64MiB"
    ) as llm:
        yield llm


def cache_read(answer: Any) -> int:
    details = answer.usage_metadata["input_token_details"]
    return int(details["cache_read"])


def conversation(text: str = QUESTION) -> list[Any]:
    return [SYSTEM, ("user", text)]


def test_a_chat_s_next_turn_finds_the_turns_before(fresh: ChatAmulet) -> None:
    first = fresh.invoke(conversation(), preference="Be kind.")
    assert cache_read(first) == 0
    turn = [*conversation(), first, ("user", "And then?")]
    second = fresh.invoke(turn, preference="Be kind.")
    usage = first.usage_metadata
    assert usage and cache_read(second) >= usage["input_tokens"] - 1
    assert second.usage_metadata and cache_read(second) < second.usage_metadata["input_tokens"]


def test_what_was_found_does_not_change_the_answer(fresh: ChatAmulet) -> None:
    off = fresh.model_copy(update={"cache_scope": "off"})
    for preference in ("Be kind.", None, "Be brief."):
        cold = off.invoke(conversation(), preference=preference)
        found = [fresh.invoke(conversation(), preference=preference) for _ in range(2)]
        assert {each.text for each in found} == {cold.text}
        assert cache_read(found[1]) > 0 and cache_read(cold) == 0


def test_one_user_finds_nothing_of_another_s_and_neither_what_nobody_s_calls_left(
    fresh: ChatAmulet,
) -> None:
    for config in (None, ADA, BOB):
        assert cache_read(fresh.invoke(conversation(), config)) == 0
    for config in (None, ADA, BOB):
        assert cache_read(fresh.invoke(conversation(), config)) > 0


def test_a_program_may_share_between_users_or_not_at_all(fresh: ChatAmulet) -> None:
    process = fresh.model_copy(update={"cache_scope": "process"})
    assert cache_read(process.invoke(conversation(), ADA)) == 0
    assert cache_read(process.invoke(conversation(), BOB)) > 0
    off = fresh.model_copy(update={"cache_scope": "off"})
    for _ in range(2):
        assert cache_read(off.invoke(conversation(), ADA)) == 0


def found_by(llm: ChatAmulet, way: Way, *args: Any, **kwargs: Any) -> int:
    """How many prompt tokens a call had not to compute."""
    before = engine_of(llm).stats().cache_read_tokens
    way(llm, LONG, *args, **kwargs)
    return engine_of(llm).stats().cache_read_tokens - before


@pytest.mark.parametrize("way", [*INSIDE.values(), *DIRECT.values()], ids=[*INSIDE, *DIRECT])
def test_the_user_is_found_in_every_way_of_calling(fresh: ChatAmulet, way: Way) -> None:
    assert found_by(fresh, way, ADA) == 0
    assert found_by(fresh, way, BOB) == 0
    assert found_by(fresh, way, ADA) > 0


@pytest.mark.parametrize("way", GRAPHS.values(), ids=GRAPHS)
def test_the_user_is_found_in_the_context_of_a_graph(fresh: ChatAmulet, way: Way) -> None:
    ada, bob = Context("ada"), Context("bob")
    assert [found_by(fresh, way, context=one) for one in (ada, bob)] == [0, 0]
    assert found_by(fresh, way, context=ada) > 0
    assert found_by(fresh, invoke, ADA) > 0


def test_the_user_of_a_keyword_argument_counts_as_well(fresh: ChatAmulet) -> None:
    knowing = fresh.model_copy(update={"memory": Notes(ada="Be kind.", bob="Be kind.")})
    for way in (invoke, sync_events_v3):
        assert found_by(knowing, way, user_id=f"ada {way.__name__}") == 0
        assert found_by(knowing, way, user_id=f"bob {way.__name__}") == 0
        assert found_by(knowing, way, user_id=f"ada {way.__name__}") > 0


@pytest.mark.parametrize("place", ["configurable", "metadata", "context"])
def test_users_of_another_kind_than_text_are_told_apart_or_share_with_nobody(
    fresh: ChatAmulet, place: str
) -> None:
    def found(user: object) -> int:
        named: dict[str, Any] = {"user_id": user}
        if place == "context":
            return found_by(fresh, GRAPHS["graph"], context=named)
        return found_by(fresh, invoke, {place: named})

    known: list[object] = [7, 8, "7", UUID(int=7), UUID(int=8), None]
    assert [found(user) for user in known] == [0] * len(known)
    assert all(found(user) > 0 for user in [*known, str(UUID(int=7))])
    for user in (["ada"], {"id": 1}, True, 7.0, object()):
        assert [found(user), found(user)] == [0, 0]


def test_samples_of_one_call_share_its_prompt_even_where_nothing_is_kept(
    fresh: ChatAmulet,
) -> None:
    off = fresh.model_copy(update={"cache_scope": "off", "temperature": 1.0})
    before = engine_of(off).stats().prefill_tokens
    off.invoke(LONG)
    alone = engine_of(off).stats().prefill_tokens - before
    off.invoke(LONG, method=BestOf(n=4, scorer=lambda messages, answer: 0.0))
    # But for a few tokens at the end, which are sooner computed than copied.
    assert engine_of(off).stats().prefill_tokens - before < 2 * alone + 4 * MIN_COPIED
    assert engine_of(off).stats().kv_cache_tokens == 0


def test_neither_caches_nor_traces_see_the_user(fresh: ChatAmulet) -> None:
    collector, cache = RunCollectorCallbackHandler(), InMemoryCache()
    cached = fresh.model_copy(update={"cache": cache})
    for user in ("Lovelace", "Babbage"):
        cached.invoke(QUESTION, {"callbacks": [collector], "configurable": {"user_id": user}})
    assert len(cache._cache) == 1
    shown = f"{cache._cache} {[run.extra['invocation_params'] for run in collector.traced_runs]}"
    assert CACHE_USER not in shown and "Lovelace" not in shown


@pytest.mark.parametrize("value", ["everybody", None, 3])
def test_another_scope_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache_scope"):
        ChatAmulet(cache_scope=value)


@pytest.mark.parametrize(("said", "size"), [("64MiB", 2**26), (5000, 5000), ("1.5 kB", 1500)])
def test_a_budget_is_bytes_or_a_text(said: Any, size: int) -> None:
    assert ChatAmulet(kv_cache_memory=said).load_options.kv_cache_memory == size


@pytest.mark.parametrize(
    "value",
    ["much", 0, -1, "1 apple", "4,5GiB", "10%", "1_000", "1.5", True, 5000.5, 1023, "3 b", ""],
)
def test_what_is_no_budget_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="kv_cache_memory"):
        ChatAmulet(kv_cache_memory=value)


def test_a_conversation_beyond_the_budget_is_refused_and_a_shorter_one_answered(
    tiny: str,
) -> None:
    with ChatAmulet(model=tiny, kv_cache_memory="16KiB", max_tokens=6) as llm:
        with pytest.raises(ContextLengthError, match="kv_cache_memory, here 16384 bytes"):
            llm.invoke(LONG)
        assert llm.invoke("Hi!").usage_metadata
