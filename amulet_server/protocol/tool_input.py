"""What an answer may call and how it is structured, as OpenAI's clients write it.

Knows tools, choices among them and formats. Doesn't know what is made of them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from amulet_server.protocol.wire import Listed, Wire


class FunctionInput(Wire):
    """A function that may be called.

    Attributes:
        name: Its name.
        description: What it does, for the model.
        parameters: The JSON schema of its arguments.
        strict: Accepted; calls that must be made are held to the schema in any case.
    """

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolSpec(Wire):
    """A tool that may be called."""

    type: Literal["function"]
    function: FunctionInput


class FunctionName(Wire):
    """A function by its name."""

    name: str


class NamedTool(Wire):
    """The tool that must be called."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(Wire):
    """Some of the tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: Listed[NamedTool] = Field(min_length=1)


class AllowedChoice(Wire):
    """A choice among some of the tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class TextFormat(Wire):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(Wire):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(Wire):
    """A JSON schema and its name."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Wire):
    """JSON that a schema describes."""

    type: Literal["json_schema"]
    json_schema: JsonSchema
