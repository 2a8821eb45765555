"""Mistral: calls behind a token, in a list as JSON or each with its name in front.

::

    [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Rome"}}]
    [TOOL_CALLS]weather[ARGS]{"city": "Rome"}
    [TOOL_CALLS]weather[CALL_ID]Ab3dE5g7H[ARGS]{"city": "Rome"}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='[TOOL_CALLS][{"name": "',
    middle='", "arguments": ',
    after="}]",
    between='}, {"name": "',
)
"""As Mistral 7B v0.3 and Nemo write calls."""

NAMED = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*")
"""A name in front of its arguments, as later models write it."""

WITHIN = frozenset({"[CALL_ID]", "[ARGS]"})


@dataclass(frozen=True)
class Mistral(JsonCallFormat):
    """Calls behind a token; whatever follows it belongs to them."""

    name: ClassVar[str] = "mistral"
    mark: ClassVar[str] = "[TOOL_CALLS]"

    shape: JsonCallShape = SHAPE

    @property
    def named(self) -> re.Pattern[str]:
        """A name with or without an id: models were trained on several versions of the format."""
        return NAMED

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart, those of later versions included."""
        return super().markers(with_calls) | (WITHIN if with_calls else frozenset())
