"""An answer that was begun is gone on with, if that is asked for."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import RequestError
from support.prompts import prompts_of, text_of

CONTINUING = {"chat_template_kwargs": {"continue_final_message": True}}
BEGUN = [HumanMessage("How do I sleep better?"), AIMessage("It helps to maintain a")]


@tool
def clock(zone: str) -> str:
    """Tell the time."""
    return zone


@pytest.fixture(scope="module")
def pocket() -> ChatAmulet:
    return ChatAmulet(model="pocket", temperature=0, max_tokens=40)


def test_the_answer_is_what_follows_the_beginning(pocket: ChatAmulet) -> None:
    for preference in (None, "Be uplifting."):
        answer = pocket.invoke(BEGUN, preference=preference, **CONTINUING)
        assert answer.text.startswith(" consistent bedtime.")
        chunks = pocket.stream(BEGUN, preference=preference, **CONTINUING)
        assert "".join(chunk.text for chunk in chunks) == answer.text


def test_a_last_answer_is_answered_where_nothing_else_is_asked_for(pocket: ChatAmulet) -> None:
    assert not pocket.invoke(BEGUN).text.startswith(" ")


def test_prompts_end_with_the_beginning_in_every_stream(pocket: ChatAmulet) -> None:
    kwargs = {**CONTINUING, "preference": "Be kind.", "tools": [clock]}
    for placement in ("system", "user"):
        prompts = prompts_of(pocket, BEGUN, **kwargs, placement=placement)
        texts = [text_of(pocket, prompt) for prompt in prompts]
        assert len(texts) == 2
        assert all(text.endswith("assistant\nIt helps to maintain a") for text in texts)


def test_only_a_beginning_can_be_continued(pocket: ChatAmulet) -> None:
    with pytest.raises(RequestError, match=r"must be an answer's beginning.*'user'"):
        pocket.invoke(BEGUN[:1], **CONTINUING)


def test_what_has_a_structure_from_its_first_word_is_refused(pocket: ChatAmulet) -> None:
    schema = {"title": "A", "type": "object", "properties": {}}
    for structured in (
        pocket.bind_tools([clock], tool_choice="any"),
        pocket.bind(response_format={"type": "json_schema", "json_schema": {"schema": schema}}),
    ):
        with pytest.raises(RequestError, match="can't be held to a structure"):
            structured.invoke(BEGUN, **CONTINUING)
