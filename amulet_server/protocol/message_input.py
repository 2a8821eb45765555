"""The messages of a request, as OpenAI's clients write them.

Knows what may be said, and by whom. Doesn't know what is made of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from amulet_server.protocol.wire import Listed, Wire


class TextPart(Wire):
    """A piece of a message: text, as this model reads nothing else."""

    type: Literal["text"]
    text: str


class RefusalPart(Wire):
    """A piece of a past answer that says no."""

    type: Literal["refusal"]
    refusal: str


Content = str | Annotated[Listed[TextPart], Field(min_length=1)]


class SystemInput(Wire):
    """What the program says."""

    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserInput(Wire):
    """What the user says."""

    role: Literal["user"]
    content: Content
    name: str | None = None


class CalledFunction(Wire):
    """What a past answer called.

    Attributes:
        name: The tool's name.
        arguments: Its arguments as JSON.
        parsed_arguments: The same as some clients keep it; not for the model.
    """

    name: str
    arguments: str
    parsed_arguments: Any = None


class CallInput(Wire):
    """A call of a tool in a past answer."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class AssistantInput(Wire):
    """A past answer, with all that an answer of this or another server may carry.

    Attributes:
        role: Whose it is.
        content: What was said.
        name: Who said it, where several speak.
        tool_calls: What was called.
        reasoning_content: What was thought, for chat templates that have a place for it.
        refusal: What was said instead.
        annotations: Not for the model, as is
        parsed: what some clients make of the content.
        audio: Must be null, as
        function_call: must be this: `tool_calls` are what has taken its place.
    """

    role: Literal["assistant"]
    content: str | Listed[TextPart | RefusalPart] | None = None
    name: str | None = None
    tool_calls: Listed[CallInput] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    parsed: Any = None
    audio: None = None
    function_call: None = None


class ToolInput(Wire):
    """What a tool that was called gave."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str


MessageInput = Annotated[
    SystemInput | UserInput | AssistantInput | ToolInput, Field(discriminator="role")
]
