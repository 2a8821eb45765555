"""From an answer's text to its parts: what is said, what is thought, which tools are called.

Text comes in pieces of any size and parts go out as soon as they are certain. A call that can't
be read stays in the answer word for word, marked as broken.

This module knows texts and response templates: nothing of tokens, prompts or LangChain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_amulet.chat_formats.tool_call_parser import (
    OutputPart,
    ToolCallParser,
    joined,
    whole_calls,
)

THOUGHTS = frozenset({"reasoning_content", "reasoning", "thinking"})
"""What response templates call thoughts."""


class PlainTextParser:
    """Takes all text for what is said."""

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what it adds to the answer."""
        return joined([OutputPart("text", text)])

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        return []


class OutputParser:
    """Takes one answer apart by a response template.

    White space around calls and thoughts is dropped, as templates write their own. Calls go out
    piece by piece where the template leaves them as text, and whole where it decodes them itself.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Mapping[str, Any],
        prefix: str = "",
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Start reading where ``prefix``, the end of the prompt, leaves off."""
        self._tokenizer, self._template = tokenizer, dict(template)
        self._tools = [dict(tool) for tool in tools]
        self._parser = self._start(prefix)
        field = template["fields"].get("tool_calls", {})
        self._is_decoded = field.get("content", "text") != "text"
        self._opening = _opening(field)
        self._region = ""  # of the call that is open, where the template decodes it: its text
        self._calls = ToolCallParser(self._opening)
        self._text, self._thought = Trimmed(), Trimmed()

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        return joined(piece for character in text for piece in self._fed(character))

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        try:
            _, events = self._parser.finalize()
        except (ValueError, KeyError):
            return joined(self._shown(self._unread()))
        return joined([*self._read(events), OutputPart("text", self._text.rest())])

    def _fed(self, character: str) -> Iterator[OutputPart]:
        try:
            events = self._parser.feed(character)
        except (ValueError, KeyError):  # the template's own parser can't read a call
            self._parser = self._start("")
            return self._shown(self._unread())
        return self._read(events)

    def _read(self, events: Sequence[Mapping[str, Any]]) -> Iterator[OutputPart]:
        return self._shown(piece for event in events for piece in self._event(event))

    def _event(self, event: Mapping[str, Any]) -> Iterable[OutputPart]:
        kind, field = event["type"], event["field"]
        if field == "tool_calls":
            return self._decoded_call(event) if self._is_decoded else self._written_call(event)
        if kind == "region_close" and field in THOUGHTS:
            self._text, self._thought = Trimmed(), Trimmed()
        if kind != "region_chunk":
            return ()
        return [OutputPart("thought" if field in THOUGHTS else "text", event["text"])]

    def _written_call(self, event: Mapping[str, Any]) -> Iterable[OutputPart]:
        """Calls that the template leaves as text."""
        if event["type"] == "region_open":
            self._calls = ToolCallParser(self._opening)
        elif event["type"] == "region_chunk":
            return self._calls.feed(event["text"])
        else:
            return self._calls.finish()
        return ()

    def _decoded_call(self, event: Mapping[str, Any]) -> Iterable[OutputPart]:
        """Calls that the template decodes itself once they are whole."""
        if event["type"] == "region_open":
            self._region = ""
        elif event["type"] == "region_chunk":
            self._region += event["text"]
        else:
            return tuple(whole_calls(event["value"])) or self._unread()
        return ()

    def _unread(self) -> list[OutputPart]:
        """What stands where a call was expected, word for word."""
        if self._opening is None:
            return [OutputPart("text", self._region)]
        return [
            OutputPart("call"),
            OutputPart("arguments", self._opening + self._region),
            OutputPart("broken"),
        ]

    def _shown(self, pieces: Iterable[OutputPart]) -> Iterator[OutputPart]:
        """The pieces without the white space around calls and thoughts."""
        for piece in pieces:
            if piece.kind == "call":
                self._text = Trimmed()
            if piece.kind in ("text", "thought"):
                trimmed = self._text if piece.kind == "text" else self._thought
                yield OutputPart(piece.kind, trimmed.feed(piece.text))
            else:
                yield piece

    def _start(self, prefix: str) -> Any:
        return self._tokenizer.get_response_parser(self._template, prefix=prefix, tools=self._tools)


class Trimmed:
    """A text without white space at its start; that at its end is held back."""

    def __init__(self) -> None:
        """Start without text."""
        self._blank = ""
        self._is_empty = True

    def feed(self, text: str) -> str:
        """Add text; returns what can be shown."""
        text = self._blank + text
        text = text.lstrip() if self._is_empty else text
        shown = text.rstrip()
        self._blank = text[len(shown) :]
        self._is_empty = self._is_empty and not shown
        return shown

    def rest(self) -> str:
        """What was held back."""
        return self._blank


def _opening(field: Mapping[str, Any]) -> str | None:
    """What calls without a name are to begin with; None if the template has no mark for calls."""
    if field.get("open_pattern", "").startswith(r"\A"):
        return None
    opening = field.get("open")
    return opening if isinstance(opening, str) else "tool call: "
