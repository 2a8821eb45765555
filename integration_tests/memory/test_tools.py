"""An agent remembers and forgets how its user likes to be answered, when the user says so."""

import asyncio
import copy
import pickle
import time
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_amulet import ChatAmulet, PreferenceMemory
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import preference_tools
from langchain_amulet.memory.tools import MAX_CHARS
from langchain_amulet.middleware import PreferenceMiddleware

ADA: Any = {"configurable": {"user_id": "ada"}}
REMEMBER, FORGET = "remember_preference", "forget_preference"
every_way = pytest.mark.parametrize("way", ["sync", "async"])


@dataclass
class Context:
    user_id: str


class Scripted(GenericFakeChatModel):
    """Calls the tools that the script says, whatever is asked."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def calling(*calls: tuple[str, str]) -> Scripted:
    """A model that makes the calls, one by one, and then says that it is done."""
    messages = [
        AIMessage("", tool_calls=[{"name": name, "args": {"preference": wish}, "id": str(place)}])
        for place, (name, wish) in enumerate(calls)
    ]
    return Scripted(messages=iter([*messages, AIMessage("Done.")]))


@pytest.fixture
def memory() -> PreferenceMemory:
    return PreferenceMemory(InMemoryStore())


def texts(memory: PreferenceMemory, user_id: str = "ada") -> list[str]:
    return [preference.text for preference in memory.get(user_id)]


def used(tool: BaseTool, wish: Any, config: Any, way: str) -> str:
    arguments = {"preference": wish}
    if way == "sync":
        return str(tool.invoke(arguments, config))
    return str(asyncio.run(tool.ainvoke(arguments, config)))


def told(agent: Any, way: str = "sync", **run: Any) -> list[str]:
    """What the agent's tools told its model."""
    asked = {"messages": [("user", "Please.")]}
    state = (
        agent.invoke(asked, **run) if way == "sync" else asyncio.run(agent.ainvoke(asked, **run))
    )
    return [message.text for message in state["messages"] if isinstance(message, ToolMessage)]


@every_way
def test_a_wish_is_remembered_for_the_user_and_forgotten_again(
    memory: PreferenceMemory, way: str
) -> None:
    remember, forget = preference_tools(memory)
    for wish in ("Keep it short.", "Be kind."):
        assert used(remember, wish, ADA, way) == "Remembered."
    assert texts(memory) == ["Keep it short.", "Be kind."]
    assert texts(memory, "bob") == []
    assert used(forget, "keep it SHORT.", ADA, way) == "Forgotten."
    assert texts(memory) == ["Be kind."]


@every_way
def test_what_is_over_is_not_told_as_remembered(memory: PreferenceMemory, way: str) -> None:
    memory.set("ada", "Keep it short.", expires=0.05)
    time.sleep(0.1)
    _, forget = preference_tools(memory)
    assert used(forget, "Be brief.", ADA, way).endswith("What is remembered: nothing")


@every_way
def test_what_was_never_remembered_is_not_forgotten_and_the_model_hears_what_was(
    memory: PreferenceMemory, way: str
) -> None:
    _, forget = preference_tools(memory)
    assert used(forget, "Be brief.", ADA, way).endswith("What is remembered: nothing")
    memory.set("ada", ["Keep it short.", "Be kind."])
    assert used(forget, "Be brief.", ADA, way).endswith("Keep it short. | Be kind.")
    assert len(texts(memory)) == 2


@pytest.mark.parametrize("wish", ["concise ++", "C++", "concise +++"])
@every_way
def test_a_model_s_wish_is_words_even_if_it_looks_like_traits(
    memory: PreferenceMemory, wish: str, way: str
) -> None:
    remember, forget = preference_tools(memory)
    assert used(remember, wish, ADA, way) == "Remembered."
    assert texts(memory) == [wish]
    assert used(forget, wish, ADA, way) == "Forgotten."


@every_way
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda tools: pickle.loads(pickle.dumps(tools))])
def test_copied_tools_write_where_their_agent_does(copied: Any, way: str) -> None:
    store = InMemoryStore()
    agent = create_agent(calling((REMEMBER, "Be kind.")), copied(preference_tools()), store=store)
    assert told(agent, way, config=ADA) == ["Remembered."]
    assert texts(PreferenceMemory(store)) == ["Be kind."]


def test_tools_with_a_memory_are_copied_with_it_and_say_why_they_can_t_be_pickled(
    memory: PreferenceMemory,
) -> None:
    tools = preference_tools(memory)
    assert used(copy.deepcopy(tools)[0], "Be kind.", ADA, "sync") == "Remembered."
    assert texts(memory) == ["Be kind."]
    with pytest.raises(ConfigurationError, match="this PreferenceMemory isn't: pickle those of"):
        pickle.dumps(tools)


def test_the_model_has_no_say_in_whose_preference_it_is(memory: PreferenceMemory) -> None:
    for tool in preference_tools(memory):
        assert list(tool.args) == ["preference"]
        tool.invoke({"preference": "Be rude.", "user_id": "bob", "config": {}}, ADA)
    assert memory.list() == ()
    assert {user for user in ("ada", "bob") if memory.history(user)} == {"ada"}


@every_way
def test_an_agent_remembers_in_its_own_store(way: str) -> None:
    store = InMemoryStore()
    script = calling((REMEMBER, "Keep it short."), (REMEMBER, "Be kind."), (FORGET, "Be kind."))
    middleware = PreferenceMiddleware(learning=True, unsupported_model_behavior="ignore")
    agent = create_agent(script, [], middleware=[middleware], store=store, context_schema=Context)
    assert told(agent, way, context=Context("ada")) == ["Remembered.", "Remembered.", "Forgotten."]
    assert texts(PreferenceMemory(store)) == ["Keep it short."]


async def test_an_agent_remembers_in_a_store_that_only_answers_in_an_event_loop(
    tmp_path: Any,
) -> None:
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "users.db")) as store:
        await store.setup()
        agent = create_agent(calling((REMEMBER, "Be kind.")), preference_tools(), store=store)
        await agent.ainvoke({"messages": [("user", "Please.")]}, ADA)
        assert [each.text for each in await PreferenceMemory(store).aget("ada")] == ["Be kind."]


@every_way
def test_what_cannot_be_done_is_told_to_the_model(memory: PreferenceMemory, way: str) -> None:
    remember, forget = preference_tools(memory)
    for tool in (remember, forget):
        assert "nobody is signed in" in used(tool, "Be kind.", {}, way)
        assert "validation error" in used(tool, "x" * (MAX_CHARS + 1), ADA, way)
    assert "can't be empty" in used(remember, " ", ADA, way)
    assert "control characters" in used(remember, "Be \x1b[31mkind.", ADA, way)
    assert memory.list() == ()


def test_a_user_can_have_only_so_many_remembered() -> None:
    memory = PreferenceMemory(InMemoryStore(), max_preferences=2)
    script = calling(*((REMEMBER, f"Be {how}.") for how in ("kind", "short", "formal")))
    heard = told(create_agent(script, preference_tools(memory)), config=ADA)
    assert heard[:2] == ["Remembered.", "Remembered."]
    assert "at most 2" in heard[2]


def test_a_memory_that_can_only_be_asked_is_refused() -> None:
    for make in (preference_tools, lambda memory: PreferenceMiddleware(memory, learning=True)):
        with pytest.raises(ConfigurationError, match=r"not in .* ResolverMemory, which lacks aadd"):
            make(ChatAmulet(memory={"ada": "Be kind."}.get).memory)


def test_an_agent_without_a_store_is_a_mistake_of_its_program() -> None:
    agent = create_agent(calling((REMEMBER, "Be kind.")), preference_tools())
    with pytest.raises(ConfigurationError, match="store="):
        told(agent, config=ADA)


# --- The bundled model's judgement ---


@pytest.mark.parametrize(
    ("said", "wish"),
    [
        ("Please keep it short from now on.", "Keep it short."),
        ("From now on, be more creative.", "Be creative."),
        ("Remember that I like cheerful answers.", "Be uplifting."),
        ("Be formal with me from here on.", "Be formal."),
    ],
)
def test_the_bundled_model_remembers_what_it_is_told_and_nothing_else(
    memory: PreferenceMemory, said: str, wish: str
) -> None:
    with ChatAmulet(method="balanced", temperature=0.0) as pocket:
        middleware = PreferenceMiddleware(memory, learning=True)
        agent = create_agent(pocket, [], middleware=[middleware])
        for question in ("How do I sleep better?", "Hello!"):
            agent.invoke({"messages": [("user", question)]}, ADA)
        assert memory.list() == ()
        agent.invoke({"messages": [("user", said)]}, ADA)
        assert texts(memory) == [wish]


@pytest.mark.parametrize(
    ("said", "wish"),
    [
        ("Please stop being so formal.", "Be formal."),
        ("Forget that I like cheerful answers.", "Be uplifting."),
        ("No more creative answers, please.", "Be creative."),
    ],
)
def test_the_bundled_model_forgets_what_is_taken_back(
    memory: PreferenceMemory, said: str, wish: str
) -> None:
    memory.set("ada", wish)
    with ChatAmulet(method="balanced", temperature=0.0) as pocket:
        agent = create_agent(pocket, [], middleware=[PreferenceMiddleware(memory, learning=True)])
        agent.invoke({"messages": [("user", said)]}, ADA)
    assert texts(memory) == []
