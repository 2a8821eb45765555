"""LangChain's messages as the turns that chat templates read, whoever wrote them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.errors import EmptyInputError, RequestError, UnsupportedContentError

CALLING = AIMessage("Let me see.", tool_calls=[{"name": "clock", "args": {"zone": "é"}, "id": "1"}])
TOOL = ToolMessage("12:00", tool_call_id="1", name="clock")


def test_tool_calls_and_results_pass_in_the_form_that_templates_read() -> None:
    calling, result = to_turns([CALLING, TOOL])
    assert calling["tool_calls"] == [
        {
            "type": "function",
            "id": "1",
            "function": {"name": "clock", "arguments": {"zone": "é"}},
        }
    ]
    assert result == {"role": "tool", "content": "12:00", "tool_call_id": "1", "name": "clock"}


def calling(*names: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": n, "args": {}, "id": f"id {n}"} for n in names])


def answering(name: str, content: Any = "", **fields: Any) -> ToolMessage:
    return ToolMessage(content or f"of {name}", tool_call_id=f"id {name}", **fields)


@given(order=st.permutations(["a", "b", "c"]))
def test_results_come_in_the_order_of_their_calls_with_the_names_of_their_tools(
    order: list[str],
) -> None:
    conversation = [calling("c"), answering("c"), calling("a", "b", "c"), *map(answering, order)]
    results = [turn for turn in to_turns(conversation) if turn["role"] == "tool"]
    assert [turn["name"] for turn in results] == ["c", "a", "b", "c"]
    assert [turn["content"] for turn in results] == ["of c", "of a", "of b", "of c"]


def test_ids_may_come_again_for_another_tool() -> None:
    def called(name: str) -> list[BaseMessage]:
        call = {"name": name, "args": {}, "id": "call_0"}
        return [AIMessage("", tool_calls=[call]), ToolMessage("x", tool_call_id="call_0")]

    results = to_turns([*called("a"), *called("b")])[1::2]
    assert [turn["name"] for turn in results] == ["a", "b"]


def test_a_result_of_no_known_call_stays_behind_the_others_without_a_name() -> None:
    turns = to_turns([calling("a"), answering("z"), answering("a"), ChatMessage("x", role="tool")])
    assert [turn["content"] for turn in turns] == ["", "of a", "of z", "x"]
    assert [turn.get("name") for turn in turns] == [None, "a", None, None]


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("no such city", "Error: no such city"),
        ("Error: no such city", "Error: no such city"),
        ("error invoking tool", "error invoking tool"),
    ],
)
def test_a_failed_tool_is_said_to_have_failed_once(content: str, read: str) -> None:
    (turn,) = to_turns([ToolMessage(content, tool_call_id="1", status="error")])
    assert turn["content"] == read


def test_blocks_of_a_result_are_lines_and_its_artifact_is_not_for_the_model() -> None:
    blocks = ["Rome: 20", {"type": "text", "text": "Oslo: 4"}]
    (turn,) = to_turns([answering("a", blocks, artifact={"secret": 1})])
    assert turn == {"role": "tool", "content": "Rome: 20\nOslo: 4", "tool_call_id": "id a"}


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "image", "base64": "AA==", "mime_type": "image/png"}, "[image image/png]"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,A"}},
            "[image_url image/gif]",
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp"}},
            "[image image/webp]",
        ),
        ({"type": "file", "file_id": "1", "filename": "a.pdf"}, "[file a.pdf]"),
        ({"type": "audio", "url": "https://a.b/c"}, "[audio]"),
        ({"type": "file", "name": "notes.txt"}, '{"type": "file", "name": "notes.txt"}'),
        ({"type": "cat", "legs": 4}, '{"type": "cat", "legs": 4}'),
        ({"legs": 4, "of": "é"}, '{"legs": 4, "of": "é"}'),
    ],
)
def test_what_is_no_text_in_a_result_is_told_in_words(block: dict[str, Any], words: str) -> None:
    result = answering("a").model_copy(update={"content": ["Drawn.", block]})
    (turn,) = to_turns([result])
    assert turn["content"] == f"Drawn.\n{words}"


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"type": "refusal", "refusal": "I can't."}, "I can't."),
        (
            {"type": "server_tool_use", "name": "web_search", "input": {}},
            "[server_tool_use web_search]",
        ),
        ({"type": "web_search_tool_result", "content": []}, "[web_search_tool_result]"),
        ({"type": "non_standard", "value": {"a": 1}}, "[non_standard]"),
        ({"type": "image", "base64": "AA==", "mime_type": "image/png"}, "[image image/png]"),
    ],
)
def test_blocks_of_other_models_answers_are_told_in_words(
    block: dict[str, Any], words: str
) -> None:
    assert to_turns([AIMessage([block])]) == [{"role": "assistant", "content": words}]


@pytest.mark.parametrize("kind", ["output_text", "input_text"])
def test_texts_under_other_providers_names_are_texts(kind: str) -> None:
    block = {"type": kind, "text": "Seven."}
    turns = to_turns([HumanMessage([block]), AIMessage([block])])
    assert [turn["content"] for turn in turns] == ["Seven.", "Seven."]


def test_the_summary_of_a_thought_that_a_provider_keeps_is_the_thought() -> None:
    summary = [
        {"type": "summary_text", "text": "Count "},
        {"type": "summary_text", "text": "them."},
    ]
    (turn,) = to_turns([AIMessage([{"type": "reasoning", "summary": summary}, "Seven."])])
    assert turn["reasoning_content"] == "Count them."


@pytest.mark.parametrize(
    ("written", "arguments"),
    [('{"at": "it"}', {"at": "it"}), ("", {}), ("{bad", {"arguments": "{bad"})],
)
def test_a_call_in_the_first_form_that_calls_had_is_one(
    written: str, arguments: dict[str, str]
) -> None:
    call = {"function_call": {"name": "look", "arguments": written}}
    asked, result = to_turns(
        [AIMessage("", additional_kwargs=call), FunctionMessage("A cat.", name="look")]
    )
    (found,) = asked["tool_calls"]
    assert found["function"] == {"name": "look", "arguments": arguments}
    assert result["tool_call_id"] == found["id"]


@pytest.mark.parametrize(
    "thinking",
    [
        AIMessage("So.", additional_kwargs={"reasoning_content": "Hm."}),
        AIMessage([{"type": "reasoning", "reasoning": "Hm."}, "So."]),
        AIMessage([{"type": "thinking", "thinking": "Hm."}, "So."]),
        AIMessage("So.", additional_kwargs={"reasoning": "Hm."}),
        AIMessage("So.", additional_kwargs={"reasoning": {"summary": [{"text": "Hm."}]}}),
        AIMessage(
            [{"type": "reasoning_content", "reasoning_content": {"text": "Hm."}}, {"text": "So."}]
        ),
    ],
)
def test_thoughts_are_handed_back_beside_what_was_said(thinking: AIMessage) -> None:
    assert to_turns([thinking]) == [
        {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}
    ]


def test_speakers_have_their_names() -> None:
    turns = to_turns([HumanMessage("Hi.", name="ada"), AIMessage("Hello.", name="bot")])
    assert [turn["name"] for turn in turns] == ["ada", "bot"]


def test_calls_that_could_not_be_read_are_said_again() -> None:
    broken = {"name": "clock", "args": '{"zone": "U', "id": "1", "error": None}
    nameless = {"name": None, "args": "<tool_call>{", "id": "2", "error": None}
    message = AIMessage("Let me see.", invalid_tool_calls=[broken, nameless])
    turn, failed = to_turns([message, ToolMessage("x", tool_call_id="1", status="error")])
    assert turn["content"] == 'Let me see.\n\nclock{"zone": "U\n\n<tool_call>{'
    assert failed["name"] == "clock"


def test_blocks_of_text_are_joined_and_pieces_of_calls_left_out() -> None:
    content = [
        {"type": "redacted_thinking", "data": "hm"},
        "Let me ",
        {"type": "text", "text": "see."},
        {"type": "tool_use", "id": "1", "name": "clock", "input": '{"zo'},
        {"type": "input_json_delta", "partial_json": "ne"},
    ]
    assert to_turns([AIMessage(content)]) == [{"role": "assistant", "content": "Let me see."}]


def test_chunks_and_chat_messages_have_the_roles_of_messages() -> None:
    messages = [AIMessageChunk("a"), ChatMessage(role="developer", content="b"), HumanMessage("c")]
    assert [turn["role"] for turn in to_turns(messages)] == ["assistant", "system", "user"]


def test_tools_called_and_answered_in_blocks_alone_are_turns() -> None:
    """As Anthropic's messages have them."""
    use = {"type": "tool_use", "id": "1", "name": "clock", "input": {"zone": "é"}}
    told = {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "3"}]}
    failed = {"type": "tool_result", "tool_use_id": "2", "content": "late", "is_error": True}
    question = {"type": "text", "text": "Is that late?"}
    called, *results = to_turns(
        [AIMessage(["Let me see.", use]), HumanMessage([told, failed, question])]
    )
    assert called == to_turns([CALLING])[0]
    assert results == [
        {"role": "tool", "content": "3", "tool_call_id": "1", "name": "clock"},
        {"role": "tool", "content": "Error: late", "tool_call_id": "2"},
        {"role": "user", "content": "Is that late?"},
    ]
    assert [turn["role"] for turn in to_turns([HumanMessage([told])])] == ["tool"]
    twice = AIMessage(["Let me see.", use], tool_calls=CALLING.tool_calls)
    assert to_turns([twice]) == [called]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_call", "args": {"zone": "é"}, "id": "1"},
        {"type": "function_call", "arguments": '{"zone": "é"}', "call_id": "1", "id": "fc_1"},
        {"type": "tool_use", "input": '{"zone": "é"}', "id": "1"},
        {"type": "tool_use", "input": {}, "partial_json": '{"zone": "é"}', "id": "1"},
    ],
)
def test_a_call_in_a_block_alone_is_one_and_isnt_told_twice(block: dict[str, Any]) -> None:
    content: list[Any] = ["Let me see.", {**block, "name": "clock"}]
    assert to_turns([AIMessage(content)]) == to_turns([CALLING])
    assert to_turns([AIMessage(content, tool_calls=CALLING.tool_calls)]) == to_turns([CALLING])


def test_a_call_of_which_a_block_says_that_it_is_invalid_is_told() -> None:
    block = {"type": "invalid_tool_call", "name": "clock", "args": '{"zone', "id": "1"}
    (turn,) = to_turns([AIMessage([block])])
    assert turn["tool_calls"][0]["function"]["arguments"] == {"arguments": '{"zone'}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"refusal": "I won't."}, "I won't."),
        ({"audio": {"id": "1", "data": "aa", "transcript": "Hello."}}, "Hello."),
        ({"audio": {"id": "1"}}, "[audio]"),
        ({"refusal": None, "audio": None}, ""),
    ],
)
def test_an_answer_without_content_says_what_stands_beside_it(
    more: dict[str, Any], said: str
) -> None:
    _, turn = to_turns([HumanMessage("Hi."), AIMessage("", additional_kwargs=more)])
    assert turn["content"] == said


@pytest.mark.parametrize(
    "block",
    [
        {"text": "Read this."},
        {"type": "file", "source_type": "text", "text": "Read this.", "mime_type": "text/plain"},
        {"type": "document", "source": {"type": "text", "data": "Read this."}},
    ],
)
def test_texts_without_a_type_and_documents_of_text_are_texts(block: dict[str, Any]) -> None:
    for message in (HumanMessage([block]), SystemMessage([block]), AIMessage([block])):
        assert to_turns([message])[0]["content"] == "Read this."


def test_a_document_of_text_in_a_result_is_its_text_and_other_results_are_data() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "Read this."}}
    assert to_turns([answering("1", [document])])[0]["content"] == "Read this."
    assert to_turns([answering("1", [{"text": "a"}])])[0]["content"] == '{"text": "a"}'
    told = {"type": "tool_result", "tool_use_id": "1", "content": {"a": 1}}
    assert to_turns([HumanMessage([told])])[0]["content"] == '{"a": 1}'


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text-plain", "url": "https://a.example/b", "mime_type": "text/plain"},
        {"type": "text", "content": "a"},
    ],
)
def test_a_text_that_isnt_where_texts_are_is_refused_and_told_of(block: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedContentError, match=block["type"]):
        to_turns([HumanMessage([block])])
    assert to_turns([AIMessage([block])])[0]["content"].startswith(f"[{block['type']}")


def test_a_text_that_is_none_says_nothing() -> None:
    said = [{"type": "text", "text": None}, {"type": "text", "text": "a"}]
    assert to_turns([HumanMessage(said)])[0]["content"] == "a"


@pytest.mark.parametrize("kind", ["image_url", "image", "audio", "file", "video", "tool_use"])
def test_content_that_a_text_model_cannot_read_is_refused_by_name(kind: str) -> None:
    with pytest.raises(UnsupportedContentError, match=f"text only.*'{kind}': leave"):
        to_turns([HumanMessage(["Look:", {"type": kind}])])


@pytest.mark.parametrize("messages", [[], [HumanMessage("")], [HumanMessage(" \n"), AIMessage("")]])
def test_a_call_without_text_is_refused(messages: list[BaseMessage]) -> None:
    with pytest.raises(EmptyInputError, match=r"at least one message with text.*add a question"):
        to_turns(messages)


BEYOND_JSON: Mapping[str, Any] = {
    "date": datetime(2024, 2, 29, tzinfo=UTC),
    "amount": Decimal("1.50"),
    "share": np.float32(0.5),
    "bytes": b"x",
    "names": {"x"},
    "long": 10**5000,
}


def test_what_json_cannot_write_is_told_in_words_in_results_and_in_calls() -> None:
    call = AIMessage("", tool_calls=[{"name": "pay", "args": dict(BEYOND_JSON), "id": "1"}])
    rows = ToolMessage([{"row": 1, "paid": dict(BEYOND_JSON)}], tool_call_id="1")
    calling, result = to_turns([call, rows])
    told = calling["tool_calls"][0]["function"]["arguments"]
    assert told["date"] == "2024-02-29 00:00:00+00:00"
    assert told["amount"] == "1.50"
    assert json.loads(json.dumps(told)) == told
    assert json.loads(result["content"]) == {"row": 1, "paid": told}


def test_a_call_in_its_first_form_that_holds_itself_is_refused() -> None:
    whole: dict[str, Any] = {}
    whole["a"] = whole
    call = AIMessage("", additional_kwargs={"function_call": {"name": "look", "arguments": whole}})
    with pytest.raises(RequestError, match="hold themselves"):
        to_turns([call])


@pytest.mark.parametrize("odd", [None, 3, ["x"], {"a": 1}], ids=repr)
def test_fields_of_blocks_that_are_no_texts_say_nothing(odd: Any) -> None:
    image = {"type": "image", "url": "x", "name": odd, "mime_type": odd}
    said = {"type": "tool_use", "id": odd, "name": "look", "input": {}}
    results: list[str | dict[Any, Any]] = [
        {"type": "tool_result", "tool_use_id": odd, "content": "seen", "is_error": np.zeros(2)},
        {"type": "text", "text": "And?"},
    ]
    turns = to_turns([HumanMessage("Look."), AIMessage([image, said]), HumanMessage(results)])
    assert [turn["content"] for turn in turns] == ["Look.", "[image]", "seen", "And?"]
    assert turns[1]["tool_calls"][0]["id"] == turns[2]["tool_call_id"] == ""
