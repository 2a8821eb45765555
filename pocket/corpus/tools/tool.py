"""A tool on offer and one use of it. Knows nothing of how users ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pocket.corpus.dialogue import ToolCall
from pocket.corpus.invent import Maker
from pocket.corpus.wording import show


@dataclass(frozen=True)
class Param:
    """A parameter: its place in the schema, and a maker of arguments."""

    name: str
    kind: str
    value: Maker
    description: str = ""
    options: tuple[str, ...] = ()
    required: bool = True

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        schema: dict[str, Any] = {"type": self.kind}
        if self.options:
            schema["enum"] = list(self.options)
        if self.description:
            schema["description"] = self.description
        return schema

    def takes(self, value: Any) -> bool:
        """Whether the JSON type allows the value, which is not a boolean or a list."""
        if self.kind == "string":
            return isinstance(value, str)
        if self.kind == "number":
            return isinstance(value, int | float)
        return self.kind == "integer" and isinstance(value, int)


@dataclass(frozen=True)
class Tool:
    """A tool of one sample, with how users ask for it and what it returns.

    In ``asks`` and ``says``, ``{0}`` is the first argument and so on, ``{name}`` the tool's name;
    ``{v}`` in ``says`` is the returned value. ``purpose`` is empty where only the name tells it.
    """

    name: str
    description: str
    params: tuple[Param, ...]
    asks: tuple[str, ...]
    says: str
    result: Maker
    result_key: str
    purpose: str = ""

    @property
    def words(self) -> str:
        """The name as words."""
        return self.name.replace("_", " ")

    def follows(self, value: Any) -> bool:
        """Whether ``value``, which another tool returned, can be the first of its arguments."""
        options = any(param.options for param in self.params)
        return 1 <= len(self.params) <= 2 and not options and self.params[0].takes(value)

    def schema(self) -> dict[str, Any]:
        """The OpenAI function schema."""
        properties = {param.name: param.schema() for param in self.params}
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        required = [param.name for param in self.params if param.required]
        if required:
            parameters["required"] = required
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = parameters
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Use:
    """A tool and the values that it is to be called with."""

    tool: Tool
    values: Mapping[str, Any]

    @property
    def call(self) -> ToolCall:
        """The call that the assistant makes."""
        return ToolCall(self.tool.name, dict(self.values))

    def fill(self, template: str, result: str = "") -> str:
        """The template with the arguments, the tool's name and the result in it."""
        shown = (_on_off(self.values.get(param.name, "")) for param in self.tool.params)
        return template.format(*shown, name=self.tool.name, v=result)


def _on_off(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return show(value)
