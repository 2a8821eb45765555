"""The nouns of the training data: what is said, before any style, template or tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What an assistant turn says: a full sentence, and the same in as few words as possible."""

    sentence: str
    short: str


@dataclass(frozen=True)
class ToolCall:
    """A call of one function with its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Round:
    """The calls of one assistant message, and what each of them returned."""

    calls: tuple[ToolCall, ...]
    results: tuple[str, ...]

    def messages(self) -> list[dict[str, Any]]:
        """The assistant message with the calls, and a tool message per result."""
        calls = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.calls
        ]
        results = [{"role": "tool", "content": result} for result in self.results]
        return [{"role": "assistant", "content": "", "tool_calls": calls}, *results]


@dataclass(frozen=True)
class Exchange:
    """One user turn, the rounds of tool calls that it needs, if any, and the reply after them."""

    user: str
    reply: Reply
    rounds: tuple[Round, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A dialogue without style: exchanges, an optional system prompt, OpenAI function schemas."""

    exchanges: tuple[Exchange, ...]
    system: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
