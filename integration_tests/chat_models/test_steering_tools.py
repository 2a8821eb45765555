"""A style changes what is said and not what is done: tool calls are the prompt's alone."""

from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_amulet import ChatAmulet

STYLES = ("Keep it short.", "Be uplifting.", "Please use a formal tone.")


@tool
def get_city(person: str) -> str:
    """Get the city that a person lives in."""
    return "Oslo"


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return "sunny"


TOOLS = [get_city, get_weather]
ASKED = HumanMessage("Find the city of Anna, then get the weather there.")
CALL = {"name": "get_city", "args": {"person": "Anna"}, "id": "abcdefghi", "type": "tool_call"}
HALF_WAY = [
    ASKED,
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("Oslo", tool_call_id="abcdefghi", name="get_city"),
]


@pytest.fixture(scope="module")
def pocket() -> Iterator[ChatAmulet]:
    with ChatAmulet(model="pocket", temperature=0.0, max_tokens=128) as model:
        yield model


def called(llm: ChatAmulet, messages: list[object], **arguments: object) -> list[object]:
    answer = llm.bind_tools(TOOLS).invoke(messages, **arguments)
    return [(call["name"], call["args"]) for call in answer.tool_calls]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("messages", [[ASKED], HALF_WAY], ids=["at first", "half way"])
def test_a_steered_model_calls_what_the_prompted_one_calls(
    pocket: ChatAmulet, messages: list[object], style: str
) -> None:
    prompted = called(pocket, messages, preference=style, method="pref")
    assert prompted
    assert called(pocket, messages, preference=style, method="amulet") == prompted


@pytest.mark.parametrize("style", STYLES)
def test_calls_are_steered_if_asked(pocket: ChatAmulet, style: str) -> None:
    """Then a wish for short answers, say, leaves out the second call."""
    wish = {"preference": style, "method": "amulet"}
    steered = called(pocket, HALF_WAY, **wish, steer_tool_calls=True)
    assert steered != called(pocket, HALF_WAY, **wish)


@pytest.mark.parametrize("style", STYLES)
def test_what_is_said_is_steered_all_the_same(pocket: ChatAmulet, style: str) -> None:
    question, llm = "How do I sleep better?", pocket.bind_tools(TOOLS)
    steered = llm.invoke(question, preference=style)
    assert not steered.tool_calls
    assert (
        steered.text
        == pocket.bind_tools(TOOLS).invoke(question, preference=style, steer_tool_calls=True).text
    )
    assert steered.text != llm.invoke(question, preference=style, method="pref").text


def test_within_a_call_nothing_is_steered(pocket: ChatAmulet) -> None:
    answer = pocket.bind_tools(TOOLS).invoke([ASKED], preference="Be uplifting.", trace=True)
    assert answer.tool_calls
    inside = [entry for entry in answer.response_metadata["trace"] if entry["kl"] > 0.0]
    assert not inside
