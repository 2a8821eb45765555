"""An agent answers each user in their own style by one line of middleware."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import ConfigurableField, RunnableWithFallbacks
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_amulet import ChatAmulet, PreferenceMemory
from langchain_amulet.errors import ConfigurationError, PreferenceWarning
from langchain_amulet.middleware import PreferenceMiddleware
from support.memories import KIND, Empty, Notes
from support.ways import QUESTION, invoke

pytestmark = pytest.mark.usefixtures("loaded")
SHORT, FORMAL = "Keep it short.", "Please be formal."
ADA: Any = {"configurable": {"user_id": "ada"}}


@dataclass
class Context:
    user_id: str | None = None


@tool
def now() -> str:
    """The time of day."""
    return "noon"


@pytest.fixture
def store() -> InMemoryStore:
    store = InMemoryStore()
    memory = PreferenceMemory(store)
    memory.set("ada", KIND)
    memory.set("bob", SHORT)
    return store


def asked(question: str = QUESTION) -> Any:
    return {"messages": [("user", question)]}


def answer_of(state: Any) -> str:
    message = state["messages"][-1]
    assert isinstance(message, AIMessage)
    return message.text


def invoked(agent: Any, config: Any = None, **run: Any) -> str:
    return answer_of(agent.invoke(asked(), config, **run))


def ainvoked(agent: Any, config: Any = None, **run: Any) -> str:
    return answer_of(asyncio.run(agent.ainvoke(asked(), config, **run)))


def streamed(agent: Any, config: Any = None, **run: Any) -> str:
    stream = agent.stream(asked(), config, stream_mode="messages", **run)
    return "".join(chunk.text for chunk, _ in stream)


def astreamed(agent: Any, config: Any = None, **run: Any) -> str:
    async def read() -> str:
        stream = agent.astream(asked(), config, stream_mode="messages", **run)
        return "".join([chunk.text async for chunk, _ in stream])

    return asyncio.run(read())


every_way = pytest.mark.parametrize("way", [invoked, ainvoked, streamed, astreamed])
Way = Callable[..., str]


@every_way
def test_one_line_gives_each_user_their_style(
    llm: ChatAmulet, store: InMemoryStore, kind: str, way: Way
) -> None:
    agent = create_agent(
        llm, [], middleware=[PreferenceMiddleware()], store=store, context_schema=Context
    )
    assert way(agent, context=Context("ada")) == kind
    assert way(agent, context=Context("bob")) == invoke(llm, QUESTION, preference=SHORT)
    plain = invoke(llm, QUESTION)
    assert way(agent, context=Context("zoe")) == plain
    assert way(agent, context=Context()) == plain
    assert way(agent) == plain


@every_way
def test_the_config_names_users_and_preferences_too(
    llm: ChatAmulet, store: InMemoryStore, kind: str, way: Way
) -> None:
    agent = create_agent(llm, [], middleware=[PreferenceMiddleware()], store=store)
    assert way(agent, ADA) == kind
    assert way(agent, {"metadata": {"user_id": "ada"}}) == kind
    told: Any = {"configurable": {"user_id": "ada", "preference": FORMAL}}
    assert way(agent, told) == invoke(llm, QUESTION, preference=FORMAL)
    off: Any = {"configurable": {"user_id": "ada", "preference": None}}
    assert way(agent, off) == invoke(llm, QUESTION)


@every_way
def test_a_name_that_is_nearly_the_users_is_pointed_out_once(
    llm: ChatAmulet, store: InMemoryStore, way: Way
) -> None:
    agent = create_agent(llm, [], middleware=[PreferenceMiddleware()], store=store)
    with pytest.warns(PreferenceWarning, match="'user_id', .* has 'userid'") as warned:
        assert way(agent, {"configurable": {"userid": "ada"}}) == invoke(llm, QUESTION)
    assert len(warned) == 1


@every_way
def test_each_answer_asks_the_memory_once(llm: ChatAmulet, way: Way) -> None:
    notes = Notes(ada=KIND)
    for model in (llm, llm.model_copy(update={"memory": Notes()})):
        notes.asked.clear()
        way(create_agent(model, [], middleware=[PreferenceMiddleware(notes)]), ADA)
        how = "aget" if way in (ainvoked, astreamed) else "get"
        assert notes.asked == [(how, "ada", QUESTION)]


@pytest.mark.parametrize(
    "bind",
    [
        lambda llm: llm.with_preference(SHORT),
        lambda llm: llm.bind(seed=3),
        lambda llm: llm.bind(user_id="ada").bind(seed=3),
        lambda llm: llm.with_config(metadata={"user_id": "ada"}),
        lambda llm: llm.configurable_fields(temperature=ConfigurableField(id="heat")),
        lambda llm: llm.configurable_fields(seed=ConfigurableField(id="seed")).bind(user_id="ada"),
        lambda llm: llm.bind(seed=3).with_retry(stop_after_attempt=2),
    ],
)
@pytest.mark.parametrize("tools", [[], [now]])
def test_a_model_with_anything_bound_to_it_is_steered(
    llm: ChatAmulet, store: InMemoryStore, bind: Any, tools: Any
) -> None:
    agent = create_agent(bind(llm), tools, middleware=[PreferenceMiddleware()], store=store)
    expected = llm.bind_tools(tools, preference=KIND) if tools else llm.bind(preference=KIND)
    assert invoked(agent, ADA) == expected.invoke(QUESTION).text


def test_what_is_bound_or_configured_wins_over_what_is_stored(
    llm: ChatAmulet, store: InMemoryStore
) -> None:
    formal = invoke(llm, QUESTION, preference=FORMAL)
    middleware = [PreferenceMiddleware()]
    bound = create_agent(llm.bind(preference=FORMAL), [], middleware=middleware, store=store)
    assert invoked(bound, ADA) == formal
    styled = llm.configurable_fields(preference=ConfigurableField(id="style"))
    configured = create_agent(styled, [], middleware=middleware, store=store)
    assert invoked(configured, {"configurable": {"style": FORMAL, "user_id": "zoe"}}) == formal


def test_a_composing_model_puts_the_call_s_on_top_of_what_is_stored(
    llm: ChatAmulet, store: InMemoryStore
) -> None:
    both = invoke(llm, QUESTION, preference=FORMAL, standing_preference=KIND)
    composing = llm.model_copy(update={"compose": True})
    agent = create_agent(composing, [], middleware=[PreferenceMiddleware()], store=store)
    assert invoked(agent, {"configurable": {"user_id": "ada", "preference": FORMAL}}) == both


def test_a_memory_of_its_own_comes_before_the_agents_store(
    llm: ChatAmulet, store: InMemoryStore, kind: str
) -> None:
    middleware = PreferenceMiddleware({"bob": KIND}.get)
    agent = create_agent(llm, [], middleware=[middleware], store=store)
    assert invoked(agent, {"configurable": {"user_id": "bob"}}) == kind


def test_a_memory_that_counts_as_false_is_asked(llm: ChatAmulet, kind: str) -> None:
    agent = create_agent(llm, [], middleware=[PreferenceMiddleware(Empty())])
    assert invoked(agent, ADA) == kind


def test_a_model_with_a_memory_needs_no_store(llm: ChatAmulet, kind: str) -> None:
    knowing = llm.model_copy(update={"memory": Notes(ada=KIND)})
    assert invoked(create_agent(knowing, [], middleware=[PreferenceMiddleware()]), ADA) == kind
    assert invoked(create_agent(knowing, []), ADA) == kind  # nor any middleware


def test_without_memory_or_store_it_is_refused(llm: ChatAmulet) -> None:
    agent = create_agent(llm, [], middleware=[PreferenceMiddleware()])
    with pytest.raises(ConfigurationError, match=r"must be kept somewhere.*store="):
        invoked(agent, ADA)


async def test_a_store_that_only_answers_in_an_event_loop_serves_an_agent(
    llm: ChatAmulet, kind: str, tmp_path: Any
) -> None:
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "users.db")) as store:
        await store.setup()
        await PreferenceMemory(store).aset("ada", KIND)
        agent = create_agent(llm, [], middleware=[PreferenceMiddleware()], store=store)
        assert answer_of(await agent.ainvoke(asked(), ADA)) == kind


def test_what_is_stored_between_two_turns_counts_from_the_next(
    llm: ChatAmulet, store: InMemoryStore
) -> None:
    agent = create_agent(
        llm, [], middleware=[PreferenceMiddleware()], store=store, checkpointer=InMemorySaver()
    )
    thread: Any = {"configurable": {"thread_id": "1", "user_id": "cleo"}}
    assert invoked(agent, thread) == invoke(llm, QUESTION)
    PreferenceMemory(store).set("cleo", KIND)
    history = agent.get_state(thread).values["messages"]
    expected = llm.invoke([*history, ("user", QUESTION)], preference=KIND).text
    assert invoked(agent, thread) == expected


# --- Models that can't be steered ---


class Parrot(FakeListChatModel):
    """Refuses any setting that it doesn't know, as remote models do."""

    def _call(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        assert not kwargs
        return super()._call(messages, stop, run_manager)


def parroting(**options: Any) -> Any:
    parrot = Parrot(responses=["Polly."])
    return create_agent(parrot, [], middleware=[PreferenceMiddleware(Notes(ada=KIND), **options)])


@pytest.mark.parametrize("way", [invoked, ainvoked])
def test_a_model_that_cannot_be_steered_answers_plainly_and_it_is_said(way: Way) -> None:
    with pytest.warns(UserWarning, match=r"steers a ChatAmulet, not a Parrot"):
        assert way(parroting(), ADA) == "Polly."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert way(parroting(unsupported_model_behavior="ignore"), ADA) == "Polly."
    with pytest.raises(ConfigurationError, match=r"not a Parrot.*use a ChatAmulet"):
        way(parroting(unsupported_model_behavior="raise"), ADA)


# --- Models for when another fails ---


@pytest.fixture
def closed(other_tiny: str) -> ChatAmulet:
    """A model that always fails."""
    model = ChatAmulet(model=other_tiny)
    model.close()
    return model


FALLBACKS: dict[str, Callable[[Any, Any], Any]] = {
    "ours": lambda first, other: first.with_fallbacks([other]),
    "bound": lambda first, other: first.with_fallbacks([other]).bind(seed=3),
    "configured": lambda first, other: first.with_fallbacks([other]).with_config(tags=["x"]),
    "LangChain's": lambda first, other: RunnableWithFallbacks(runnable=first, fallbacks=[other]),
}
every_fallback = pytest.mark.parametrize("fallen", FALLBACKS.values(), ids=FALLBACKS)


@pytest.mark.parametrize("tools", [[], [now]])
@every_fallback
@every_way
def test_whichever_of_several_models_answers_is_steered(
    llm: ChatAmulet, closed: ChatAmulet, fallen: Any, tools: Any, way: Way
) -> None:
    expected = llm.bind_tools(tools, preference=KIND) if tools else llm.bind(preference=KIND)
    for model in (fallen(llm, closed), fallen(closed, llm)):
        middleware = PreferenceMiddleware(Notes(ada=KIND))
        agent = create_agent(model, tools, middleware=[middleware], context_schema=Context)
        assert way(agent, context=Context("ada")) == expected.invoke(QUESTION).text
        assert way(agent) == (llm.bind_tools(tools) if tools else llm).invoke(QUESTION).text


@pytest.mark.parametrize("fallen", [FALLBACKS[name] for name in ("ours", "configured")])
@pytest.mark.parametrize("way", [invoked, ainvoked])
def test_of_several_models_those_that_cannot_be_steered_are_sent_nothing(
    llm: ChatAmulet, closed: ChatAmulet, kind: str, fallen: Any, way: Way
) -> None:
    parrot = Parrot(responses=["Polly."])
    for model, answer in ((fallen(closed, parrot), "Polly."), (fallen(llm, parrot), kind)):
        agent = create_agent(model, [], middleware=[PreferenceMiddleware(Notes(ada=KIND))])
        with pytest.warns(UserWarning, match="not a Parrot"):
            assert way(agent, ADA) == answer
    strict = PreferenceMiddleware(Notes(ada=KIND), unsupported_model_behavior="raise")
    with pytest.raises(ConfigurationError, match="not a Parrot"):
        way(create_agent(fallen(llm, parrot), [], middleware=[strict]), ADA)


def test_within_langchains_own_fallbacks_each_model_gets_what_is_its(
    llm: ChatAmulet, closed: ChatAmulet, kind: str
) -> None:
    """Within: after it in the list. Around it, what is for the first model would reach them all."""
    for other, answer in ((llm, kind), (Parrot(responses=["Polly."]), "Polly.")):
        preferring = PreferenceMiddleware(Notes(ada=KIND), unsupported_model_behavior="ignore")
        agent = create_agent(closed, [], middleware=[ModelFallbackMiddleware(other), preferring])
        assert invoked(agent, ADA) == answer


@pytest.mark.parametrize("fallen", [None, FALLBACKS["ours"]], ids=["one model", "several"])
@every_way
def test_an_agent_s_users_find_nothing_of_each_other_s_prompts(
    tiny: str, closed: ChatAmulet, store: InMemoryStore, fallen: Any, way: Way
) -> None:
    gc.collect()  # copies that an earlier test has dropped hold the weights until then
    with ChatAmulet(model=tiny, temperature=0, max_tokens=4, kv_cache_memory="64MiB") as fresh:
        model = fallen(closed, fresh) if fallen else fresh
        preferring = [PreferenceMiddleware()]
        agent = create_agent(
            model, [], middleware=preferring, store=store, context_schema=Context,
            system_prompt="You are helpful. " * 12,
        )  # fmt: skip

        def found(user: str | None) -> int:
            before = fresh.stats().cache_read_tokens
            way(agent, context=Context(user))
            return fresh.stats().cache_read_tokens - before

        assert [found(user) for user in ("ada", "bob", "zoe", None)] == [0] * 4
        assert all(found(user) > 0 for user in ("ada", "bob", "zoe", None))


def test_an_unknown_behavior_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"one of ignore, warn, raise, not 'shout'"):
        PreferenceMiddleware(unsupported_model_behavior="shout")  # type: ignore[arg-type]
