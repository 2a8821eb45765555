"""Tokens are counted by the model's own tokenizer, without a network."""

import logging

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    trim_messages,
)
from langchain_core.tools import tool

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ContextLengthError
from support.tokenizers import STRICT


def test_a_text_has_the_tokens_of_the_models_tokenizer(llm: ChatAmulet) -> None:
    text = "Keep it short, 你好 🙂"
    ids = llm.get_token_ids(text)
    assert llm._handle.opened.tokenizer.decode(ids) == text
    assert llm.get_num_tokens(text) == len(ids)


def test_messages_have_the_tokens_that_a_plain_call_reports(llm: ChatAmulet) -> None:
    messages = [SystemMessage("Be kind."), HumanMessage("How do I sleep better?")]
    usage = llm.invoke(messages).usage_metadata
    assert usage
    assert llm.get_num_tokens_from_messages(messages) == usage["input_tokens"]


def test_a_long_text_is_counted_and_refused_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    llm, long = ChatAmulet(model="pocket"), "How do I sleep better? " * 500
    assert llm.get_num_tokens(long) > llm._handle.opened.tokenizer.model_max_length
    assert llm.get_num_tokens_from_messages([HumanMessage(long)]) > llm.get_num_tokens(long)
    with pytest.raises(ContextLengthError):
        llm.invoke(long)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_tools_count_where_the_template_writes_them(tiny: str) -> None:
    @tool
    def clock(zone: str) -> str:
        """Tell the time."""
        return zone

    llm = ChatAmulet(model=tiny, chat_template="{{ tools }}{{ messages[0].content }}")
    messages = [HumanMessage("How late is it?")]
    assert llm.get_num_tokens_from_messages(messages, tools=[clock]) > (
        llm.get_num_tokens_from_messages(messages)
    )


def test_a_conversation_is_trimmed_to_a_number_of_tokens(llm: ChatAmulet) -> None:
    messages = [HumanMessage(f"How do I sleep better? {index}") for index in range(20)]
    trimmed = trim_messages(messages, max_tokens=200, token_counter=llm, strategy="last")
    assert 0 < len(trimmed) < 20
    assert llm.get_num_tokens_from_messages(trimmed) <= 200


TALK: list[BaseMessage] = [
    SystemMessage("Be kind."),
    HumanMessage("Hi"),
    AIMessage("Hello!"),
    HumanMessage("How are you?"),
]


@pytest.mark.parametrize("template", [None, STRICT])
@pytest.mark.parametrize(
    "messages",
    [
        [],
        TALK[::-1],
        TALK[2:],
        [HumanMessage("")],
        [AIMessage("")],
        [HumanMessage([{"type": "image", "url": "x"}])],
        [RemoveMessage(id="1"), HumanMessage("Hi")],
        [AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]), HumanMessage("?")],
    ],
)
def test_any_list_of_messages_is_counted(
    tiny: str, messages: list[BaseMessage], template: str | None
) -> None:
    llm = ChatAmulet(model=tiny, chat_template=template)
    assert llm.get_num_tokens_from_messages(messages) >= 0
    assert llm.get_num_tokens_from_messages([]) == 0


@pytest.mark.parametrize("strategy", ["first", "last"])
@pytest.mark.parametrize("template", [None, STRICT])
def test_any_conversation_is_trimmed(tiny: str, template: str | None, strategy: str) -> None:
    continuing = {"continue_final_message": True}
    llm = ChatAmulet(model=tiny, chat_template=template, chat_template_kwargs=continuing)
    for limit in (0, 5, 1000):
        options: dict[str, object] = {"strategy": strategy, "allow_partial": True}
        trimmed = trim_messages(TALK, max_tokens=limit, token_counter=llm, **options)  # type: ignore[call-overload]
        assert llm.get_num_tokens_from_messages(trimmed) <= limit
