"""What a request says of its answer, as arguments of a chat model's call.

Knows both sides' names. Doesn't know who is talking, or how answers are steered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amulet_server.protocol.chat_request import ChatRequest
from amulet_server.protocol.tool_input import AllowedChoice, NamedTool
from langchain_amulet.errors import ToolError

PLAIN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "logprobs",
    "seed",
    "steer_thinking",
    "steer_tool_calls",
    "chat_template_kwargs",
)
"""Fields that are a call's arguments by the same names."""


def call_arguments(request: ChatRequest) -> dict[str, Any]:
    """The arguments, without those that steer.

    Raises:
        ToolError: Tools are allowed that aren't there, or there are none to choose from.
    """
    given = {
        **{name: getattr(request, name) for name in PLAIN},
        "max_tokens": request.length,
        "stop": None if request.stop is None else request.stops,
        "trace": request.trace or None,
    }
    arguments = {name: value for name, value in given.items() if value is not None}
    if request.logprobs:
        arguments["top_logprobs"] = request.top_logprobs
    if request.response_format is not None:
        arguments["response_format"] = request.response_format.model_dump(by_alias=True)
    return arguments | tool_arguments(request)


def tool_arguments(request: ChatRequest) -> dict[str, Any]:
    """What a request says of tools, as arguments of a call.

    Raises:
        ToolError: Tools are allowed that aren't there, or there are none to choose from.
    """
    tools = [tool.model_dump(exclude_none=True) for tool in request.tools or ()]
    choice = request.tool_choice
    chosen: Any = None
    if isinstance(choice, AllowedChoice):
        tools = _allowed(tools, choice)
        chosen = choice.allowed_tools.mode
    elif isinstance(choice, NamedTool):
        chosen = choice.model_dump()
    elif choice is not None:
        chosen = choice
    if not tools:
        if chosen not in (None, "none", "auto") or request.parallel_tool_calls is not None:
            raise ToolError(
                "tool_choice and parallel_tool_calls are about tools, but there are none: add "
                "tools, or leave them out."
            )
        return {}
    arguments: dict[str, Any] = {"tools": tools, "tool_choice": chosen}
    if request.parallel_tool_calls is not None:
        arguments["parallel_tool_calls"] = request.parallel_tool_calls
    return arguments


def _allowed(tools: Sequence[dict[str, Any]], choice: AllowedChoice) -> list[dict[str, Any]]:
    names = {tool.function.name for tool in choice.allowed_tools.tools}
    allowed = [tool for tool in tools if tool["function"]["name"] in names]
    if len(allowed) < len(names):
        raise ToolError(
            "tool_choice must allow tools of the request, but allows some that aren't among them: "
            "add them to tools, or leave them out."
        )
    return allowed
