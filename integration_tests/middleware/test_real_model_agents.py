"""Agents on a small model that was trained for real, and for no tools: what a grammar can promise.

Whether such a model calls a tool by itself is up to it. Calls that it must make are right, objects
are valid, and whatever tools give back is read on, all of it steered.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_amulet import ChatAmulet
from support.smollm2 import DEQUANTISED, needs_smollm2

FORMAL: Any = {"configurable": {"preference": "Please use a formal tone."}}


@tool
def draw_chart(title: str) -> list[Any]:
    """Draw a chart."""
    picture = {"type": "image", "base64": "iVBORw0KGgo="}  # whose kind of data nobody said
    return [{"type": "text", "text": "Drawn."}, picture]


@tool
def list_files(folder: str) -> list[Any]:
    """List the files of a folder."""
    return [
        {"type": "file", "name": "notes.txt"},
        {"type": "file", "file_id": "f1", "filename": "plan.pdf", "mime_type": "application/pdf"},
    ]


class Weather(BaseModel):
    """The weather in a city."""

    city: str = Field(max_length=12)
    weather: str = Field(pattern="^(sunny|rainy)$")


class CallFirst(AgentMiddleware[Any, Any]):
    """Has the model call a tool first, and say something then."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.tool_name = name

    def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        is_first = not any(isinstance(each, AIMessage) for each in request.messages)
        choice = self.tool_name if is_first else "none"
        return handler(request.override(tool_choice=choice))


@pytest.fixture(scope="module")
def real() -> Iterator[ChatAmulet]:
    needs_smollm2()
    settings: dict[str, Any] = {"temperature": 0, "max_tokens": 40, "method": "balanced"}
    with ChatAmulet(model=str(DEQUANTISED), **settings) as llm:
        yield llm


@pytest.mark.parametrize(
    ("called", "asked"),
    [
        (draw_chart, "Draw a chart of the sales."),
        (list_files, "List the files of the folder home."),
    ],
    ids=["a picture", "files"],
)
def test_what_a_tool_gives_back_is_read_on(real: ChatAmulet, called: Any, asked: str) -> None:
    agent = create_agent(real, [draw_chart, list_files], middleware=[CallFirst(called.name)])
    call, result, answer = agent.invoke({"messages": [("user", asked)]}, FORMAL)["messages"][1:]
    assert [each["name"] for each in call.tool_calls] == [called.name]
    assert isinstance(result, ToolMessage)
    assert result.status == "success"
    assert answer.text.strip()
    assert answer.response_metadata["strength"] is not None


def test_an_object_that_must_be_given_is_valid(real: ChatAmulet) -> None:
    agent = create_agent(real, [], response_format=ToolStrategy(Weather))
    state = agent.invoke({"messages": [("user", "It is sunny in Rome.")]}, FORMAL)
    assert isinstance(state["structured_response"], Weather)


@pytest.mark.parametrize(
    ("choice", "names"),
    [("any", {"draw_chart", "list_files"}), ("list_files", {"list_files"})],
)
def test_a_call_that_must_be_made_is_one_of_a_tool_that_there_is(
    real: ChatAmulet, choice: str, names: set[str]
) -> None:
    bound = real.bind_tools([draw_chart, list_files], tool_choice=choice)
    (call,) = bound.invoke("List the files of the folder home.", FORMAL).tool_calls
    assert call["name"] in names
    assert all(isinstance(value, str) for value in call["args"].values())
