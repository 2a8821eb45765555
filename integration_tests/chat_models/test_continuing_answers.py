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


@pytest.mark.parametrize("gap", ["", " ", "   ", "\n", " \n\t "])
@pytest.mark.parametrize("preference", [None, "Be uplifting."])
def test_white_space_behind_the_beginning_is_the_answer_s(
    pocket: ChatAmulet, gap: str, preference: str | None
) -> None:
    """It isn't in the prompt, and no token but one that begins with it comes first."""
    begun = [BEGUN[0], AIMessage(f"It helps to maintain a{gap}")]
    call = {**CONTINUING, "preference": preference, "logprobs": True}
    assert prompts_of(pocket, begun, **CONTINUING) == prompts_of(pocket, BEGUN, **CONTINUING)
    for temperature in (0.0, 3.0):
        answer = pocket.invoke(begun, temperature=temperature, seed=1, **call)
        logprobs = answer.response_metadata["logprobs"]["content"]
        decoded = b"".join(bytes(each["bytes"]) for each in logprobs).decode(errors="replace")
        assert f"It helps to maintain a{decoded}" == begun[1].text + answer.text
        chunks = pocket.stream(begun, temperature=temperature, seed=1, **call)
        assert "".join(chunk.text for chunk in chunks) == answer.text


def test_a_beginning_that_ends_in_a_space_is_gone_on_with_as_without(pocket: ChatAmulet) -> None:
    begun = [BEGUN[0], AIMessage("It helps to maintain a ")]
    assert pocket.invoke(begun, **CONTINUING).text == (
        pocket.invoke(BEGUN, **CONTINUING).text.removeprefix(" ")
    )


def test_tools_may_be_called_behind_white_space(pocket: ChatAmulet) -> None:
    with_tools = pocket.bind_tools([clock], strict=True)
    begun = [BEGUN[0], AIMessage("It helps to maintain a ")]
    assert with_tools.invoke(begun, **CONTINUING).text.startswith("consistent")


def test_a_search_by_beams_says_that_it_cannot_go_on_behind_white_space(pocket: ChatAmulet) -> None:
    begun = [BEGUN[0], AIMessage("It helps to maintain a ")]
    with pytest.raises(RequestError, match="beginning that ends in white space"):
        pocket.invoke(begun, method="beam_search:n=2", **CONTINUING)


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
