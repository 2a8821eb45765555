"""Agents: two tools in a row to a right answer, in each user's own style, however it is run."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_amulet import ChatAmulet

QUESTION = {"messages": [("user", "Find the user with id 7, then get the balance of the result.")]}
CHEERFUL, FORMAL = "Please be cheerful and uplifting.", "Please use a formal tone."

Agent = Any
Run = Callable[[Agent, dict[str, Any]], list[AnyMessage]]
"""``run(agent, arguments)``: the messages, from the first answer on."""


@tool
def find_user(id: int) -> str:
    """Find a user by id."""
    return {7: "Robert"}.get(id, "Error: there is no such user.")


@tool
def account_balance(customer_name: str) -> str:
    """Get the balance of a customer."""
    return {"Robert": "$86"}.get(customer_name, "Error: there is no such customer.")


TOOLS = [find_user, account_balance]


class Order(BaseModel):
    """Order a dish."""

    dish: str = Field(max_length=20)
    number: int = Field(ge=1, le=9)


class Talk(TypedDict):
    """What an agent is told of who talks to it."""

    style: str


class Prefer(AgentMiddleware[Any, Any]):
    """Has the model answer in the style that the context names."""

    def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        return handler(self.styled(request))

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        return await handler(self.styled(request))

    @staticmethod
    def styled(request: ModelRequest[Any]) -> ModelRequest[Any]:
        settings = {**request.model_settings, "preference": request.runtime.context["style"]}
        return request.override(model_settings=settings)


@pytest.fixture(scope="module")
def pocket() -> Iterator[ChatAmulet]:
    with ChatAmulet(model="pocket", temperature=0.0, max_tokens=128) as model:
        yield model


def by_binding(llm: ChatAmulet, style: str) -> tuple[Agent, dict[str, Any]]:
    return create_agent(llm.bind(preference=style), TOOLS), {}


def by_configurable(llm: ChatAmulet, style: str) -> tuple[Agent, dict[str, Any]]:
    return create_agent(llm, TOOLS), {"config": {"configurable": {"preference": style}}}


def by_metadata(llm: ChatAmulet, style: str) -> tuple[Agent, dict[str, Any]]:
    return create_agent(llm, TOOLS), {"config": {"metadata": {"preference": style}}}


def by_middleware(llm: ChatAmulet, style: str) -> tuple[Agent, dict[str, Any]]:
    agent = create_agent(llm, TOOLS, middleware=[Prefer()], context_schema=Talk)
    return agent, {"context": {"style": style}}


PLACES = {
    place.__name__: place for place in (by_binding, by_configurable, by_metadata, by_middleware)
}


def invoke(agent: Agent, arguments: dict[str, Any]) -> list[AnyMessage]:
    return list(agent.invoke(QUESTION, **arguments)["messages"][1:])


def ainvoke(agent: Agent, arguments: dict[str, Any]) -> list[AnyMessage]:
    return list(asyncio.run(agent.ainvoke(QUESTION, **arguments))["messages"][1:])


def stream_updates(agent: Agent, arguments: dict[str, Any]) -> list[AnyMessage]:
    return updated(list(agent.stream(QUESTION, stream_mode="updates", **arguments)))


def astream_updates(agent: Agent, arguments: dict[str, Any]) -> list[AnyMessage]:
    return updated(gathered(agent.astream(QUESTION, stream_mode="updates", **arguments)))


def stream_messages(agent: Agent, arguments: dict[str, Any]) -> list[AnyMessage]:
    return merged(list(agent.stream(QUESTION, stream_mode="messages", **arguments)))


def astream_messages(agent: Agent, arguments: dict[str, Any]) -> list[AnyMessage]:
    return merged(gathered(agent.astream(QUESTION, stream_mode="messages", **arguments)))


RUNS: dict[str, Run] = {
    run.__name__: run
    for run in (
        invoke,
        ainvoke,
        stream_updates,
        astream_updates,
        stream_messages,
        astream_messages,
    )
}


def gathered(stream: Any) -> list[Any]:
    async def gather() -> list[Any]:
        return [part async for part in stream]

    return asyncio.run(gather())


def updated(updates: list[dict[str, Any]]) -> list[AnyMessage]:
    """What each step added."""
    return [
        message for update in updates for step in update.values() for message in step["messages"]
    ]


def merged(parts: list[tuple[Any, Any]]) -> list[AnyMessage]:
    """The messages that the chunks of a stream make, which comes in many of them."""
    whole: dict[str, Any] = {}
    for part, _ in parts:
        whole[part.id] = whole[part.id] + part if part.id in whole else part
    assert len(parts) > 3 * len(whole)
    return list(whole.values())


def assert_right(messages: list[AnyMessage]) -> None:
    """The first tool is called, then the second with its result, and the answer is theirs."""
    first, found, second, balance, answer = messages
    assert isinstance(first, (AIMessage, AIMessageChunk))
    assert isinstance(second, (AIMessage, AIMessageChunk))
    assert [(c["name"], c["args"]) for c in first.tool_calls] == [("find_user", {"id": 7})]
    assert [(c["name"], c["args"]) for c in second.tool_calls] == [
        ("account_balance", {"customer_name": "Robert"})
    ]
    assert isinstance(found, ToolMessage)
    assert isinstance(balance, ToolMessage)
    assert (found.content, balance.content) == ("Robert", "$86")
    assert "$86" in answer.text


def assert_in_style(answer: AnyMessage, style: str) -> None:
    assert ("!" in answer.text) == (style == CHEERFUL)
    assert any(word in answer.text for word in ("inquir", "assist")) == (style == FORMAL)


@pytest.mark.parametrize(
    ("place", "run"),
    [
        *((place, run) for place in PLACES for run in ("invoke", "astream_messages")),
        *(("by_configurable", run) for run in RUNS if run not in ("invoke", "astream_messages")),
    ],
)
def test_two_tools_in_a_row_lead_to_a_right_answer_in_each_users_style(
    pocket: ChatAmulet, place: str, run: str
) -> None:
    for style in (CHEERFUL, FORMAL):
        agent, arguments = PLACES[place](pocket, style)
        messages = RUNS[run](agent, arguments)
        assert_right(messages)
        assert_in_style(messages[-1], style)


async def test_users_who_share_an_agent_keep_their_styles(pocket: ChatAmulet) -> None:
    agent = create_agent(pocket, TOOLS)
    styles = [CHEERFUL, FORMAL] * 4
    configs: list[Any] = [{"configurable": {"preference": style}} for style in styles]
    for style, outcome in zip(
        styles, await agent.abatch([QUESTION] * len(styles), configs), strict=True
    ):
        assert_right(outcome["messages"][1:])
        assert_in_style(outcome["messages"][-1], style)


def test_without_a_style_the_answer_is_plain(pocket: ChatAmulet) -> None:
    messages = invoke(create_agent(pocket, TOOLS), {})
    assert_right(messages)
    assert messages[-1].response_metadata["strength"] is None


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_an_agent_answers_with_an_object(tiny: str, strategy: Any) -> None:
    with ChatAmulet(model=tiny, dtype="float32", temperature=1.0, max_tokens=200, seed=2) as llm:
        agent = create_agent(llm, tools=[], response_format=strategy(Order))
        answer = agent.invoke({"messages": [("user", "Order soup for two.")]})
    assert isinstance(answer["structured_response"], Order)


class Balance(BaseModel):
    """The balance of a customer."""

    balance: str = Field(pattern=r"^\$[0-9]{1,4}$")


REPORT = Balance.model_json_schema() | {
    "title": "report_balance",
    "description": "Report a balance.",
}


@pytest.mark.parametrize("run", ["invoke", "stream_updates", "astream_messages"])
@pytest.mark.parametrize("style", [CHEERFUL, FORMAL])
def test_two_tools_in_a_row_lead_to_an_object(pocket: ChatAmulet, style: str, run: str) -> None:
    agent = create_agent(pocket, TOOLS, response_format=ProviderStrategy(Balance))
    messages = RUNS[run](agent, {"config": {"configurable": {"preference": style}}})
    assert_right(messages)
    assert Balance.model_validate_json(messages[-1].text) == Balance(balance="$86")


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
@pytest.mark.parametrize("style", [CHEERFUL, FORMAL])
def test_both_strategies_end_with_an_object_after_a_tool(
    pocket: ChatAmulet, style: str, strategy: Any
) -> None:
    agent = create_agent(pocket, [account_balance], response_format=strategy(REPORT))
    asked = [("user", "Get the balance of Robert, then report a balance of the result.")]
    outcome = agent.invoke({"messages": asked}, {"configurable": {"preference": style}})
    assert next(m.content for m in outcome["messages"] if isinstance(m, ToolMessage)) == "$86"
    assert outcome["structured_response"] == {"balance": "$86"}


def test_a_schema_alone_is_answered_by_what_the_profile_promises(tiny: str) -> None:
    with ChatAmulet(model=tiny, dtype="float32", temperature=1.0, max_tokens=200, seed=2) as llm:
        agent = create_agent(llm, tools=[], response_format=Order)
        messages = agent.invoke({"messages": [("user", "Order soup for two.")]})["messages"]
    assert not any(isinstance(message, ToolMessage) for message in messages)
    assert Order.model_validate_json(messages[-1].text)
