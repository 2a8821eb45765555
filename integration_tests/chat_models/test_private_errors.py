"""No error, no warning and nothing that a log shows of one quotes a preference or a message."""

import asyncio
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, ToolMessage
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langgraph.store.memory import InMemoryStore

from langchain_amulet import Amulet, ChatAmulet, Preference, PreferenceMemory
from langchain_amulet.chat_models.description import REDACTED
from langchain_amulet.errors import AmuletError
from langchain_amulet.memory import (
    PreferenceExtractor,
    SimplePreferenceStore,
    StoredPreference,
    as_memory,
)
from langchain_amulet.methods import METHODS, BestOf, register
from support.registries import restored
from support.ways import ainvoke, invoke, stream

SECRET = "Mention my gallstones kindly."
QUESTION = "How do I sleep better?"


def refusal(call: Callable[[], Any]) -> str:
    """All that a log shows of what a call raises and warns of."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            call()
        except Exception as error:
            told = [str(error), repr(error), "".join(traceback.format_exception(error))]
            whole: BaseException | None = error
            assert isinstance(whole, AmuletError), told[-1]
        else:
            told = []
    return "\n".join([*told, *(str(each.message) for each in warned)])


WRONG_ARGUMENTS: dict[str, dict[str, Any]] = {
    "a misspelt argument": {"preferrence": SECRET},
    "a misspelt argument with a preference": {"prefrence": Preference(SECRET)},
    "an argument named by a preference": {SECRET: True},
    "a preference that is too long": {"preference": SECRET * 1000},
    "one with control characters": {"preference": f"{SECRET}\x00"},
    "one with an unknown field": {"preference": {"text": "Be kind.", "txt": SECRET}},
    "one with its text as a field": {"preference": {SECRET: "text"}},
    "one without a text": {"preference": {"strength": SECRET, "text": ""}},
    "one with a text as its strength": {"preference": {"text": "a", "strength": SECRET}},
    "one with a text as its weight": {"preference": {"text": "a", "weight": SECRET}},
    "one of bytes": {"preference": SECRET.encode()},
    "one in a set": {"preference": {SECRET}},
    "one in a list of numbers": {"preference": [SECRET, 3]},
    "one with a text that is a list": {"preference": {"text": [SECRET]}},
    "a preference as the method": {"method": SECRET},
    "one as a method's parameter": {"method": f"amulet:{SECRET}=1"},
    "one as a method's value": {"method": f"amulet:strength={SECRET}"},
    "one as the placement": {"placement": SECRET},
    "one as the template of preferences": {"preference_template": SECRET},
    "one as a temperature": {"temperature": SECRET},
    "one as a number of tokens": {"max_tokens": SECRET},
    "one as a stop string that is none": {"stop": [SECRET, 3]},
    "one as a timeout": {"timeout": SECRET},
    "one as the model": {"model": [SECRET]},
    "one as a chat template": {"chat_template": SECRET},
    "one as a broken chat template": {"chat_template": "{{ messages" + SECRET},
    "one as a chat template's refusal": {
        "chat_template": "{{ raise_exception('No: ' + messages[-1]['content']) }}",
        "question": SECRET,
    },
    "one as a chat format": {"chat_format": SECRET},
    "one for compose": {"compose": SECRET},
    "one among variables of the template": {"chat_template_kwargs": [SECRET]},
    "one as what stands": {"standing_preference": {"text": "a", "x": SECRET}},
}


@pytest.mark.parametrize("way", [invoke, ainvoke, stream])
@pytest.mark.parametrize("wrong", WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_a_wrong_argument_isnt_quoted(
    llm: ChatAmulet, wrong: dict[str, Any], way: Callable[..., Any]
) -> None:
    arguments = {"preference": SECRET, **wrong}
    question = arguments.pop("question", QUESTION)
    told = refusal(lambda: way(llm, question, **arguments))
    assert told
    assert SECRET not in told


@pytest.mark.parametrize("wrong", WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_nor_is_a_wrong_field(tiny: str, wrong: dict[str, Any]) -> None:
    def make_and_ask() -> None:
        ChatAmulet(**{"model": tiny, **wrong}).invoke(QUESTION, max_tokens=1)

    assert SECRET not in refusal(make_and_ask)


MESSAGES: dict[str, Any] = {
    "half a character": [HumanMessage(f"{SECRET}\ud83d")],
    "a picture": [HumanMessage([{"type": "image_url", "image_url": {"url": SECRET}}])],
    "a block without a type": [HumanMessage([{"text": SECRET, "x": 1}, {"y": SECRET}])],
    "an unknown role": [("wizard", SECRET)],
    "a chat message's odd role": [ChatMessage(SECRET, role="wizard")],
    "a dict without content": [{"role": "user", "text": SECRET}],
    "the result of no call": [HumanMessage("a"), ToolMessage(SECRET, tool_call_id="1")],
    "too much text": SECRET * 100_000,
    "text beyond the context": [HumanMessage(f"{SECRET} " * 1500)],
    "arguments that aren't JSON": [
        HumanMessage("a"),
        AIMessage("", tool_calls=[{"name": "f", "args": {SECRET: {1j}}, "id": "1"}]),
        ToolMessage("x", tool_call_id="1"),
    ],
}


@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES)
def test_messages_that_cant_be_answered_arent_quoted(llm: ChatAmulet, messages: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            llm.invoke(messages, preference=SECRET)
        except AmuletError as error:
            assert SECRET not in "".join(traceback.format_exception(error))
        except (ValueError, NotImplementedError):
            pass  # LangChain's own, of what it can't read as messages


def test_an_answer_to_be_scored_isnt_quoted(llm: ChatAmulet) -> None:
    for answer in ("", f"{SECRET}\ud83d", f"{SECRET}<|im_end|>", SECRET * 100_000):
        assert SECRET not in refusal(lambda a=answer: llm.score(QUESTION, a))  # type: ignore[misc]
    assert SECRET not in refusal(lambda: llm.fit(SECRET, SECRET))  # type: ignore[arg-type]
    assert SECRET not in refusal(lambda: llm.fit({SECRET: 1}, SECRET))  # type: ignore[arg-type]


# --- What fails elsewhere ---


def failing(told: object) -> Any:
    raise ValueError(f"no way to handle {told}")


RECORDS: dict[str, Any] = {
    "a text": SECRET,
    "no preferences": {"preferences": SECRET},
    "a preference that is a text": {"preferences": [SECRET]},
    "an unknown field": {"preferences": [{"text": "a", SECRET: 1}]},
    "an id": {"preferences": {SECRET: 3}},
    "an id of what is malformed": {"preferences": {SECRET: {"text": "", "weight": -1}}},
    "a strength": {"preferences": [{"text": SECRET, "strength": SECRET}]},
    "a version": {"schema_version": SECRET, "preferences": []},
    "something else": {SECRET: SECRET},
}


@pytest.mark.parametrize("on_corrupt", ["raise", "ignore"])
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_stored_record_that_doesnt_fit_isnt_quoted(
    llm: ChatAmulet, record: Any, on_corrupt: str
) -> None:
    store = InMemoryStore()
    memory = PreferenceMemory(store, on_corrupt=on_corrupt)
    memory.set("ada", "Keep it short.")
    for item in store.search((), limit=100):
        value = record if isinstance(record, dict) else {"value": record}
        store.put(item.namespace, item.key, {**item.value, **value})
    asking = llm.model_copy(update={"memory": memory})
    for ask in (invoke, ainvoke):
        assert SECRET not in refusal(lambda a=ask: a(asking, QUESTION, user_id="ada"))  # type: ignore[misc]


def test_nor_is_a_key_that_another_program_gave(llm: ChatAmulet) -> None:
    store = InMemoryStore()
    memory = PreferenceMemory(store, ("users", "{user_id}"))
    store.put(("users", "ada"), SECRET, {"text": 3})
    for use in (memory.get, memory.profile):
        told = refusal(lambda u=use: u("ada"))  # type: ignore[misc]
        assert "this text of 29 characters" in told
        assert SECRET not in told


@pytest.mark.parametrize("field", ["added", "removed"])
def test_nor_is_an_id_in_a_history(field: str) -> None:
    store = InMemoryStore()
    memory = PreferenceMemory(store)
    memory.set("ada", "Keep it short.")
    (item,) = store.search(("preference_changes",))
    for preference in ("a", {"text": 3}):
        store.put(item.namespace, item.key, {**item.value, field: {SECRET: preference}})
        told = refusal(lambda: memory.history("ada"))
        assert "can't be read as preferences" in told
        assert SECRET not in told


def test_nor_is_what_a_store_gives_that_was_asked_for_something_else() -> None:
    class Mistaken(InMemoryStore):
        def batch(self, ops: Any) -> list[Any]:
            for each in (found := super().batch(ops)):
                if each is not None:
                    each.key = SECRET
            return found

    store = Mistaken()
    store.put(("preferences",), "ada", {"preferences": [SECRET]})
    told = refusal(lambda: PreferenceMemory(store).get("ada"))
    assert "it can't be trusted" in told
    assert SECRET not in told


def test_nor_is_what_a_function_raises_that_gives_namespaces() -> None:
    memory = PreferenceMemory(InMemoryStore(), lambda user_id: failing(SECRET))
    for use in (memory.get, memory.history, memory.erase):
        told = refusal(lambda u=use: u("ada"))  # type: ignore[misc]
        assert "The namespace's function failed for user 'ada': ValueError" in told
        assert SECRET not in told
    ignoring = PreferenceMemory(memory.store, lambda u: failing(u), on_store_error="ignore")
    with pytest.warns(UserWarning, match="goes without stored preferences"):
        assert ignoring.get("ada") == ()


class TellingStore(InMemoryStore):
    """A store that fails by telling all that it was given, or all that it holds."""

    is_broken = False

    def batch(self, ops: Any) -> list[Any]:
        if self.is_broken:
            failing(f"{list(ops)} among {self._data}")
        return super().batch(ops)

    async def abatch(self, ops: Any) -> list[Any]:
        return self.batch(ops)


def telling_memory(**settings: Any) -> PreferenceMemory:
    """One that holds the secret, in a store that fails from now on."""
    store = TellingStore()
    memory = PreferenceMemory(store, **settings)
    memory.set("ada", [StoredPreference(text=SECRET, when=("work",))])
    store.is_broken = True
    return memory


@pytest.mark.parametrize("on_store_error", ["raise", "ignore"])
@pytest.mark.parametrize("ask", [invoke, ainvoke, stream])
def test_a_store_that_fails_isnt_quoted_by_a_lookup(
    llm: ChatAmulet, ask: Callable[..., Any], on_store_error: Any
) -> None:
    asking = llm.model_copy(update={"memory": telling_memory(on_store_error=on_store_error)})
    told = refusal(lambda: ask(asking, QUESTION, user_id="ada"))
    assert "TellingStore failed: ValueError" in told
    assert SECRET not in told


WRITES: dict[str, Callable[[PreferenceMemory], Any]] = {
    "set": lambda memory: memory.set("ada", SECRET),
    "add": lambda memory: memory.add("ada", SECRET),
    "forget": lambda memory: memory.forget("ada", SECRET),
    "erase": lambda memory: memory.erase("ada"),
    "history": lambda memory: memory.history("ada"),
    "aset": lambda memory: asyncio.run(memory.aset("ada", SECRET)),
    "aadd": lambda memory: asyncio.run(memory.aadd("ada", SECRET)),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nor_by_a_change(write: Callable[[PreferenceMemory], Any]) -> None:
    told = refusal(lambda: write(telling_memory()))
    assert "ValueError" in told
    assert SECRET not in told


def test_nor_is_a_failing_matcher_resolver_or_store_of_ones_own(llm: ChatAmulet) -> None:
    def matcher(topics: Any, text: str) -> bool:
        raise ValueError(f"{topics} don't go with {text}")

    matching = PreferenceMemory(InMemoryStore(), matcher=matcher)
    matching.set("ada", [StoredPreference(text="Be kind.", when=(SECRET,))])
    ours = {
        "The matcher failed: ValueError": matching,
        "Resolving the preferences of user 'ada' failed: ValueError": as_memory(
            lambda user_id: failing(SECRET)
        ),
        "Telling failed: ValueError": Telling(),
    }
    for told, memory in ours.items():
        asking = llm.model_copy(update={"memory": memory})
        for ask in (invoke, ainvoke):
            found = refusal(lambda a=ask, m=asking: a(m, SECRET, user_id="ada"))  # type: ignore[misc]
            assert told in found
            assert SECRET not in found


class Telling(SimplePreferenceStore):
    """A store of one's own that fails by telling what it was about to load."""

    def load(self, user_id: str) -> Any:
        return failing(SECRET)

    def save(self, user_id: str, preferences: Any) -> None:
        failing(preferences)


def test_nor_is_a_method_of_ones_own_that_a_call_misspells(llm: ChatAmulet) -> None:
    with restored(METHODS):

        @register
        @dataclass(frozen=True)
        class Choosy(Amulet):
            name: ClassVar[str] = "choosy"
            mood: str = ""

            def __post_init__(self) -> None:
                if self.mood:
                    failing(self.mood)

        told = refusal(lambda: llm.invoke(QUESTION, method=f"choosy:mood={SECRET}"))
    assert "ValueError" in told
    assert SECRET not in told


WRONG_TOOLS: dict[str, dict[str, Any]] = {
    "a text among tools": {"tools": [SECRET]},
    "a text for tools": {"tools": SECRET},
    "a dict that is none": {"tools": [{SECRET: SECRET}]},
    "a function without a name": {"tools": [{"type": "function", "function": {"x": SECRET}}]},
    "a name that is none": {"tools": [{"name": [SECRET], "parameters": {}}]},
    "parameters that are none": {"tools": [{"name": "f", "parameters": SECRET}]},
    "parameters of no object": {
        "tools": [{"name": "f", "parameters": {"type": "string", "title": SECRET}}]
    },
    "a provider's tool": {"tools": [{"type": SECRET, "name": SECRET}]},
    "a choice of none": {"tools": [], "tool_choice": SECRET},
    "a choice that is none": {"tool_choice": [SECRET]},
    "a choice of another": {"tools": [len], "tool_choice": {"type": SECRET}},
    "a format": {"response_format": SECRET},
    "a format of an unknown type": {"response_format": {"type": SECRET}},
    "a format without a schema": {"response_format": {"type": "json_schema", "schema": SECRET}},
    "a schema that is none": {"response_format": {"type": "object", "properties": SECRET}},
}


@pytest.mark.parametrize("wrong", WRONG_TOOLS.values(), ids=WRONG_TOOLS)
def test_a_wrong_tool_or_format_isnt_quoted(llm: ChatAmulet, wrong: dict[str, Any]) -> None:
    assert SECRET not in refusal(lambda: llm.invoke(QUESTION, preference=SECRET, **wrong))


@pytest.mark.parametrize("schema", [SECRET, {SECRET: SECRET}, {"title": [SECRET]}, [SECRET]])
def test_a_wrong_schema_isnt_quoted(llm: ChatAmulet, schema: Any) -> None:
    for method in ("json_schema", "function_calling", SECRET):
        how: Any = {"method": method}
        told = refusal(lambda h=how: llm.with_structured_output(schema, **h))  # type: ignore[misc]
        assert told
        assert SECRET not in told


def test_what_could_not_be_read_for_preferences_isnt_logged(
    llm: ChatAmulet, caplog: pytest.LogCaptureFixture
) -> None:
    class Repeating(FakeListChatModel):
        def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
            return RunnableLambda(lambda messages: failing(messages))

    with PreferenceExtractor(Repeating(responses=["a"]), InMemoryStore()) as extractor:
        extractor.submit("ada", [HumanMessage(SECRET)])
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_a_model_that_hides_preferences_hides_them_when_it_is_shown(llm: ChatAmulet) -> None:
    hiding = ChatAmulet(model=llm.model, preference=SECRET, redact_preferences=True)
    assert SECRET not in f"{hiding!r} {hiding}"
    assert SECRET not in repr(hiding.with_preference(Preference(SECRET)))
    assert SECRET in repr(llm.with_preference(SECRET))


@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_nor_is_what_is_bound_to_it_shown(llm: ChatAmulet, place: Any) -> None:
    def bound(model: Any) -> list[Any]:
        said = model.bind(preference=SECRET)
        structured = said.with_structured_output({"title": "x", "type": "object"})
        in_config = model.with_config({place: {"preference": SECRET, "thread_id": "1"}})
        return [said, said.with_retry(), said.bind(stop=["."]), structured, in_config]

    hiding = ChatAmulet(model=llm.model, redact_preferences=True)
    opened = ConfigurableField("temperature")
    for each in (*bound(hiding), *bound(hiding.configurable_fields(temperature=opened))):
        assert SECRET not in f"{each!r} {each}"
        assert REDACTED in repr(each)
    assert "'thread_id': '1'" in repr(bound(hiding)[-1])
    assert all(SECRET in repr(each) for each in bound(llm))


def test_an_own_scorer_that_fails_raises_what_it_raises(llm: ChatAmulet) -> None:
    """A program's own code is its own: what that says isn't ours to change."""
    search = BestOf(2, scorer=lambda *_: failing("the scorer"))
    with pytest.raises(ValueError, match="the scorer"):
        asyncio.run(llm.ainvoke(QUESTION, method=search, temperature=1.0))
