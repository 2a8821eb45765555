"""No error, no warning and nothing that a log shows of one quotes a preference or a message."""

import asyncio
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, ToolMessage
from langgraph.store.memory import InMemoryStore

from langchain_amulet import ChatAmulet, Preference, PreferenceMemory
from langchain_amulet.errors import AmuletError
from langchain_amulet.methods import BestOf
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


def test_a_model_that_hides_preferences_hides_them_when_it_is_shown(llm: ChatAmulet) -> None:
    hiding = ChatAmulet(model=llm.model, preference=SECRET, redact_preferences=True)
    assert SECRET not in f"{hiding!r} {hiding}"
    assert SECRET not in repr(hiding.with_preference(Preference(SECRET)))
    assert SECRET in repr(llm.with_preference(SECRET))


def test_an_own_scorer_that_fails_raises_what_it_raises(llm: ChatAmulet) -> None:
    """A program's own code is its own: what that says isn't ours to change."""
    search = BestOf(2, scorer=lambda *_: failing("the scorer"))
    with pytest.raises(ValueError, match="the scorer"):
        asyncio.run(llm.ainvoke(QUESTION, method=search, temperature=1.0))
