"""Who is talking: a user's stored preference is found in every way of calling, once."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_amulet import ChatAmulet, PreferenceMemory
from langchain_amulet.errors import (
    ConfigurationError,
    PreferenceError,
    PreferenceWarning,
    RequestError,
)
from support.engines import engine_of
from support.memories import KIND, Empty, Notes
from support.ways import DIRECT, GRAPHS, INSIDE, QUESTION, Way, beta, invoke

pytestmark = pytest.mark.usefixtures("loaded")
SHORT, FORMAL = "Keep it short.", "Please be formal."

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)
every_way_inside = pytest.mark.parametrize("way", INSIDE.values(), ids=INSIDE)
every_graph = pytest.mark.parametrize("way", GRAPHS.values(), ids=GRAPHS)
every_place = pytest.mark.parametrize("place", ["configurable", "metadata"])


@dataclass
class Context:
    user_id: str | None


@dataclass(slots=True)
class Misspelt:
    userid: str


@tool
def now() -> str:
    """The time of day."""
    return "noon"


@pytest.fixture
def notes() -> Notes:
    return Notes(ada=KIND, bob=SHORT)


@pytest.fixture
def knowing(llm: ChatAmulet, notes: Notes) -> ChatAmulet:
    """The model, with a memory of its users."""
    return llm.model_copy(update={"memory": notes})


# --- Where a user is named ---


@every_way
def test_a_user_is_named_by_an_argument(knowing: ChatAmulet, kind: str, way: Way) -> None:
    assert way(knowing, QUESTION, user_id="ada") == kind


@every_place
@every_way
def test_a_user_is_named_in_the_config(
    knowing: ChatAmulet, kind: str, way: Way, place: str
) -> None:
    assert way(knowing, QUESTION, {place: {"user_id": "ada"}}) == kind


@every_place
@every_way_inside
def test_a_user_is_named_in_the_config_of_what_the_model_is_part_of(
    knowing: ChatAmulet, kind: str, way: Way, place: str
) -> None:
    assert way(knowing, QUESTION, {place: {"user_id": "ada"}}) == kind


@pytest.mark.parametrize(
    "context", [{"user_id": "ada"}, Context("ada"), SimpleNamespace(user_id="ada")], ids=repr
)
@every_graph
def test_a_user_is_named_in_the_context_of_a_graph(
    knowing: ChatAmulet, kind: str, way: Way, context: Any
) -> None:
    assert way(knowing, QUESTION, context=context) == kind


def test_a_config_inside_of_a_graph_does_not_hide_the_graphs_context(
    knowing: ChatAmulet, kind: str
) -> None:
    seeded = knowing.with_config(configurable={"thread_id": "7"})
    assert GRAPHS["graph"](seeded, QUESTION, context=Context("ada")) == kind


@every_graph
def test_the_nearer_place_wins(knowing: ChatAmulet, notes: Notes, way: Way) -> None:
    both = {"configurable": {"user_id": "bob"}, "metadata": {"user_id": "cleo"}}
    way(knowing, QUESTION, both, context=Context("ada"))
    way(knowing, QUESTION, {"metadata": {"user_id": "cleo"}}, context=Context("ada"))
    way(knowing.bind(user_id="dan"), QUESTION, both, context=Context("ada"))
    assert [user for _, user, _ in notes.asked] == ["bob", "cleo", "dan"]


# --- What counts ---


@every_way
def test_without_a_user_and_for_an_unknown_one_nothing_is_stored(
    llm: ChatAmulet, knowing: ChatAmulet, way: Way
) -> None:
    plain = invoke(llm, QUESTION)
    nobodys: list[Any] = [None, {"configurable": {"user_id": None}}]
    assert [way(knowing, QUESTION, config) for config in nobodys] == [plain, plain]
    assert way(knowing, QUESTION, user_id=None) == plain
    assert way(knowing, QUESTION, user_id="zoe") == plain


@every_graph
def test_a_context_without_a_user_names_nobody(
    llm: ChatAmulet, knowing: ChatAmulet, way: Way
) -> None:
    plain = invoke(llm, QUESTION)
    for context in (None, {}, {"tenant": "x"}, Context(None), SimpleNamespace(tenant="x")):
        assert way(knowing, QUESTION, context=context) == plain


@every_way
def test_what_the_call_says_wins_and_the_models_own_comes_last(
    llm: ChatAmulet, knowing: ChatAmulet, notes: Notes, kind: str, way: Way
) -> None:
    ada: Any = {"configurable": {"user_id": "ada"}}
    formal = invoke(llm, QUESTION, preference=FORMAL)
    mannered = knowing.with_preference(FORMAL)
    assert way(mannered, QUESTION, ada) == kind
    assert way(mannered, QUESTION, {"metadata": {"user_id": "zoe"}}) == formal
    before = len(notes.asked)
    assert way(knowing, QUESTION, ada, preference=FORMAL) == formal
    assert way(knowing, QUESTION, {**ada, "metadata": {"preference": FORMAL}}) == formal
    assert way(mannered, QUESTION, ada, preference=None) == invoke(llm, QUESTION)
    assert len(notes.asked) == before  # where the call says it, nobody is asked


# --- How the memory is asked ---


@every_way
def test_the_memory_is_asked_once_and_never_in_the_way_of_the_event_loop(
    knowing: ChatAmulet, notes: Notes, way: Way
) -> None:
    for user in ("ada", "zoe"):
        way(knowing, QUESTION, user_id=user)
    is_async = way.__name__.startswith("a") or way.__name__ in ("events_v2", "events_v3")
    how = "aget" if is_async else "get"
    assert notes.asked == [(how, "ada", QUESTION), (how, "zoe", QUESTION)]


@every_way_inside
def test_the_memory_is_asked_once_inside_too(knowing: ChatAmulet, notes: Notes, way: Way) -> None:
    way(knowing, QUESTION, {"configurable": {"user_id": "zoe"}})
    (asked,) = notes.asked
    assert asked[1:] == ("zoe", QUESTION)


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_may_not_stream_asks_once_too(
    knowing: ChatAmulet, notes: Notes, stream: bool
) -> None:
    whole = knowing.model_copy(update={"disable_streaming": True})
    DIRECT["stream" if stream else "astream"](whole, QUESTION, {"metadata": {"user_id": "zoe"}})
    assert len(notes.asked) == 1


def test_the_memory_hears_the_last_words_of_the_human(knowing: ChatAmulet, notes: Notes) -> None:
    conversation = [
        SystemMessage("Be exact."),
        HumanMessage("Hello!"),
        AIMessage("Hi."),
        HumanMessage([{"type": "text", "text": "My plan "}, {"type": "text", "text": "for work?"}]),
        AIMessage("Let me see."),
    ]
    knowing.invoke(conversation, user_id="ada")
    knowing.invoke([SystemMessage("Greet them.")], user_id="ada")
    (
        ChatPromptTemplate.from_messages([("user", "{question}")]) | knowing.bind(user_id="ada")
    ).invoke({"question": "Why?"})
    assert [about for _, _, about in notes.asked] == ["My plan for work?", None, "Why?"]


# --- What may be a memory ---


async def resolve_later(user_id: str) -> str:
    await asyncio.sleep(0)
    return KIND if user_id == "ada" else SHORT


@pytest.mark.parametrize("resolve", [{"ada": KIND}.get, resolve_later])
@every_way
def test_a_function_of_the_users_id_is_a_memory(
    llm: ChatAmulet, kind: str, way: Way, resolve: Any
) -> None:
    settings = {
        name: getattr(llm, name) for name in ("model", "dtype", "temperature", "max_tokens")
    }
    assert way(ChatAmulet(**settings, memory=resolve), QUESTION, user_id="ada") == kind


async def test_a_store_that_only_answers_in_an_event_loop_is_a_memory(
    llm: ChatAmulet, kind: str, tmp_path: Path
) -> None:
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "users.db")) as store:
        await store.setup()
        memory = PreferenceMemory(store)
        await memory.aset("ada", KIND)
        knowing = llm.model_copy(update={"memory": memory})
        ada: Any = {"configurable": {"user_id": "ada"}}
        assert (await knowing.ainvoke(QUESTION, ada)).text == kind
        streamed = [chunk.text async for chunk in knowing.astream(QUESTION, ada)]
        assert "".join(streamed) == kind
        with beta():
            events = await knowing.astream_events(QUESTION, ada, version="v3")
            assert await events.text == kind
        assert [answer.text for answer in await knowing.abatch([QUESTION] * 2, ada)] == [kind] * 2


@every_way
def test_a_memory_that_counts_as_false_is_asked(llm: ChatAmulet, kind: str, way: Way) -> None:
    knowing = llm.model_copy(update={"memory": Empty()})
    assert way(knowing, QUESTION, user_id="ada") == kind


# --- What the memory doesn't get into ---


@pytest.mark.parametrize(
    "bind",
    [
        lambda llm: llm.bind(user_id="ada").bind_tools([now]),
        lambda llm: llm.bind_tools([now]).bind(user_id="ada"),
        lambda llm: llm.bind_tools([now], user_id="ada"),
        lambda llm: llm.with_config(metadata={"user_id": "ada"}).bind_tools([now]),
        lambda llm: llm.with_preference(FORMAL).bind_tools([now], user_id="ada"),
        lambda llm: (
            llm.configurable_fields(temperature=ConfigurableField(id="heat"))
            .bind_tools([now])
            .with_config(configurable={"user_id": "ada", "heat": 0.0})
        ),
    ],
)
def test_the_memory_stays_under_whatever_is_bound(
    llm: ChatAmulet, knowing: ChatAmulet, bind: Any
) -> None:
    expected = llm.bind_tools([now], preference=KIND).invoke(QUESTION)
    assert bind(knowing).invoke(QUESTION).content == expected.content


def test_the_memory_is_no_part_of_what_is_shown_or_written(
    llm: ChatAmulet, knowing: ChatAmulet
) -> None:
    assert knowing._identifying_params == llm._identifying_params
    assert "memory" not in repr(knowing)
    assert "memory" not in knowing.model_dump()
    assert "Notes" not in repr(knowing._serialized)


def test_with_the_cache_on_the_key_is_the_preference_and_not_the_user(
    llm: ChatAmulet, notes: Notes, knowing: ChatAmulet, kind: str
) -> None:
    engine = engine_of(llm)
    set_llm_cache(InMemoryCache())
    try:
        assert invoke(knowing, QUESTION, user_id="ada") == kind
        assert invoke(knowing, QUESTION, user_id="bob") != kind
        before = engine.stats().admitted
        notes.set("cleo", KIND)
        assert invoke(knowing, QUESTION, {"configurable": {"user_id": "cleo"}}) == kind
        assert invoke(knowing, QUESTION, preference=KIND) == kind
        assert engine.stats().admitted == before
        notes.set("ada", FORMAL)
        assert invoke(knowing, QUESTION, user_id="ada") == invoke(llm, QUESTION, preference=FORMAL)
    finally:
        set_llm_cache(None)


def test_a_uuid_is_known_by_its_text_wherever_it_stands(knowing: ChatAmulet, notes: Notes) -> None:
    user = UUID("0B5EC6E0-3A5F-4C2B-9D6A-6A1B2C3D4E5F")
    notes.set("0b5ec6e0-3a5f-4c2b-9d6a-6a1b2c3d4e5f", KIND)
    kind = invoke(knowing, QUESTION, user_id="ada")
    assert invoke(knowing, QUESTION, user_id=user) == kind
    for place in ("configurable", "metadata"):
        assert invoke(knowing, QUESTION, {place: {"user_id": user}}) == kind
    for way in GRAPHS.values():
        assert way(knowing, QUESTION, context={"user_id": user}) == kind


# --- What is refused ---


NO_IDS = [5, 0.5, True, "", " ", "a\nb", ["ada"], {"id": 1}, b"ada", "a" * 257]


@pytest.mark.parametrize(
    ("user_id", "rule"),
    [("", "leave it out for no preference"), (7, r"7 is of type int: use str\(\)")],
)
@every_way
def test_a_user_is_named_by_a_text(knowing: ChatAmulet, way: Way, user_id: Any, rule: str) -> None:
    with pytest.raises(PreferenceError, match=f"user's id must .*{rule}"):
        way(knowing, QUESTION, user_id=user_id)


@pytest.mark.parametrize("user_id", NO_IDS)
@pytest.mark.parametrize("asked", [{}, {"preference": FORMAL}], ids=["to look up", "said"])
@every_place
def test_what_can_not_be_an_id_is_refused_wherever_it_stands_if_there_is_a_memory(
    knowing: ChatAmulet, place: str, asked: Any, user_id: Any
) -> None:
    with pytest.raises(PreferenceError, match="A user's id"):
        knowing.invoke(QUESTION, {place: {"user_id": user_id}}, **asked)


@pytest.mark.parametrize("user_id", [*NO_IDS, UUID(int=7), object()])
@every_place
def test_a_config_s_user_may_be_anything_to_a_model_that_stores_nothing(
    llm: ChatAmulet, place: str, user_id: Any
) -> None:
    assert invoke(llm, QUESTION, {place: {"user_id": user_id}}) == invoke(llm, QUESTION)


@every_way
def test_a_number_in_metadata_is_another_program_s_in_every_way_of_calling(
    llm: ChatAmulet, way: Way
) -> None:
    assert way(llm, QUESTION, {"metadata": {"user_id": 7}}) == invoke(llm, QUESTION)


@pytest.mark.parametrize(
    "context",
    [{"userid": "ada"}, SimpleNamespace(userId="ada"), Misspelt("ada"), {"uid": "ada"}],
    ids=repr,
)
@every_graph
def test_a_name_in_a_context_that_is_nearly_the_users_is_pointed_out(
    llm: ChatAmulet, knowing: ChatAmulet, way: Way, context: Any
) -> None:
    for model in (llm, knowing):
        with pytest.warns(PreferenceWarning, match="'user_id', but the graph's context has"):
            way(model, QUESTION, context=context)


def test_a_user_is_nobody_to_a_model_without_a_memory(llm: ChatAmulet) -> None:
    with pytest.raises(RequestError, match=r"needs a model with a memory.*'ada'.*memory="):
        llm.invoke(QUESTION, user_id="ada")
    plain = invoke(llm, QUESTION)
    assert invoke(llm, QUESTION, user_id=None) == plain
    assert invoke(llm, QUESTION, {"configurable": {"user_id": "ada"}}) == plain


@pytest.mark.parametrize("memory", [7, "ada", {"ada": "Be kind."}], ids=repr)
def test_a_memory_must_be_one(memory: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"memory must be a PreferenceMemory.*not"):
        ChatAmulet(memory=memory)
