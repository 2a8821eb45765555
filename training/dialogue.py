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
class Exchange:
    """One user turn and what the assistant does about it.

    Either ``reply`` alone, or ``calls`` with one of ``results`` each, followed by ``reply``.
    """

    user: str
    reply: Reply
    calls: tuple[ToolCall, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A dialogue without style: exchanges, an optional system prompt, OpenAI function schemas."""

    exchanges: tuple[Exchange, ...]
    system: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
