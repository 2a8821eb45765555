"""From an answer's text to its parts: what is said, what is thought, which tools are called.

Text comes in pieces of any size and parts go out as soon as they are certain. A call that can't
be read stays in the answer word for word, marked as broken.

This module knows texts: nothing of tokens, of how calls are written, or of LangChain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Literal, Protocol

from langchain_amulet.chat_formats.regions import Bare, CallRegion, Marked, Thinking, unsettled


@dataclass(frozen=True)
class OutputPart:
    """What a stretch of text adds to an answer.

    Attributes:
        kind: ``text`` that is said, a ``thought``, a ``call`` that begins, ``arguments`` of the
            call that began last, or that this one is ``broken``.
        text: What is added. Of a call that begins it is the tool's name, empty if that can't be
            read; of its arguments a piece of JSON.
    """

    kind: Literal["text", "thought", "call", "arguments", "broken"]
    text: str = ""


def joined(parts: Iterable[OutputPart]) -> list[OutputPart]:
    """The same parts in order, with neighbours that go on with each other as one."""
    found: list[OutputPart] = []
    for kind, group in groupby(parts, key=attrgetter("kind")):
        if kind in ("call", "broken"):
            found.extend(group)
        elif text := "".join(part.text for part in group):
            found.append(OutputPart(kind, text))
    return found


def broken_call(text: str) -> list[OutputPart]:
    """What was written where a call was expected, and is none: kept word for word."""
    return [OutputPart("call"), OutputPart("arguments", text), OutputPart("broken")]


class OutputParser(Protocol):
    """Takes one answer apart, or the calls in it: `feed` it all of the text, then `finish` it.

    In whatever pieces the text comes, the parts are the same once they are `joined`.
    """

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        ...

    def finish(self) -> list[OutputPart]:
        """End the text; returns what was held back."""
        ...


class PlainTextParser:
    """Takes all text for what is said."""

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what it adds to the answer."""
        return [OutputPart("text", text)] if text else []

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        return []


class RegionParser:
    """Takes an answer apart at the markers of its thoughts and calls.

    White space around calls and thoughts is dropped, as chat templates write their own.
    """

    def __init__(
        self,
        thinking: Thinking | None,
        calls: CallRegion | None,
        call_parser: Callable[[], OutputParser],
        is_thinking: bool = False,
        said: Collection[str] = (),
        is_structured: bool = False,
    ) -> None:
        """Start an answer.

        Args:
            thinking: The markers of thoughts; None if there are none.
            calls: Where calls stand; None if there are none, and what looks like one is text.
            call_parser: Makes what reads the text between two markers of calls.
            is_thinking: Whether the answer begins within a thought.
            said: Markers around what is said, which are left out.
            is_structured: Whether what is said is held to a schema. Once that has begun, what looks
                like a marker of thoughts or calls is part of it.
        """
        self._thinking, self._calls, self._said = thinking, calls, said
        self._make_call_parser = call_parser
        self._call_parser: OutputParser = PlainTextParser()
        self._region: RegionName = "thought" if is_thinking else "text"
        self._is_beginning = True  # nothing was said or called yet, thoughts aside
        self._is_structured, self._in_structure = is_structured, False
        self._held = ""
        self._space = WhiteSpace()

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        self._held += text
        return joined(self._space.dropped_from(self._parts(is_over=False)))

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        parts = list(self._space.dropped_from(self._parts(is_over=True)))
        parts += self._space.dropped_from(self._leave())
        return joined([*parts, *self._space.finish()])

    def _parts(self, is_over: bool) -> Iterator[OutputPart]:
        while True:
            if self._region == "text" and self._is_beginning:
                self._drop_unopened()
                if not is_over and self._is_undecided:
                    return
                self._begin_with_calls()
                self._begin_structure()
            marker, start = _first_marker(self._held, self._exits, is_over)
            yield from self._pass_on(start)
            if not marker:
                return
            self._held = self._held.removeprefix(marker)
            following = self._exits[marker]
            yield from self._leave()
            self._enter(following)

    @property
    def _exits(self) -> Mapping[str, RegionName]:
        """The markers that end this region, and the regions that follow them."""
        marked = self._calls if isinstance(self._calls, Marked) else None
        if self._region == "thought":
            return {self._thinking.closing: "text"} if self._thinking else {}
        if self._region == "text":
            thoughts: dict[str, RegionName] = (
                {self._thinking.opening: "thought"} if self._thinking else {}
            )
            said: dict[str, RegionName] = dict.fromkeys(self._said, "text")
            if self._in_structure:
                return said
            exits = {**said, **thoughts}
            return {**exits, marked.opening: "calls"} if marked else exits
        if marked is None:
            return {}
        return {marked.closing: "text"} if marked.closing else {marked.opening: "calls"}

    def _drop_unopened(self) -> None:
        """Drop the end of a thought that an answer begins with, as some do that don't think."""
        closing = self._thinking.closing if self._thinking else ""
        if closing and self._held.lstrip().startswith(closing):
            self._held = self._held.lstrip().removeprefix(closing)

    @property
    def _is_undecided(self) -> bool:
        """Whether what is held may become what only stands here: a thought's end, or calls.

        What is structured begins here, too, where no marker does.
        """
        closing = self._thinking.closing if self._thinking else ""
        may_call = isinstance(self._calls, Bare) and self._calls.may_follow(self._held)
        markers = [closing, *(self._exits if self._is_structured else ())]
        rest = self._held.lstrip()
        return may_call or any(marker != rest and marker.startswith(rest) for marker in markers)

    def _begin_with_calls(self) -> None:
        """Enter calls if they aren't marked and what is held is their beginning."""
        start = self._calls.start_in(self._held) if isinstance(self._calls, Bare) else None
        if start is not None:
            self._held = self._held[start:]
            self._enter("calls")

    def _begin_structure(self) -> None:
        """Be within what is structured if what is held is its beginning."""
        rest = self._held.lstrip()
        is_marker = rest.startswith(tuple(self._exits))
        is_said = self._region == "text" and bool(rest) and not is_marker
        self._in_structure = self._is_structured and is_said

    def _enter(self, region: RegionName) -> None:
        self._region = region
        if region == "calls":
            self._is_beginning = False
            self._call_parser = self._make_call_parser()

    def _leave(self) -> Iterator[OutputPart]:
        if self._region == "calls":
            yield from self._call_parser.finish()
        if self._region == "thought":
            self._space.forget()

    def _pass_on(self, size: int) -> Iterator[OutputPart]:
        """So much of what was held back, as what it is in this region."""
        text, self._held = self._held[:size], self._held[size:]
        if self._region == "calls":
            yield from self._call_parser.feed(text)
            return
        if self._region == "text" and text.strip():
            self._is_beginning = False
        yield OutputPart(self._region, text)


RegionName = Literal["text", "thought", "calls"]


def _first_marker(text: str, markers: Collection[str], is_over: bool) -> tuple[str, int]:
    """The marker that comes first in a text, of several the longest, and how much is before it.

    Where none is certain yet, the marker is empty, and before it is what no marker can begin in.
    """
    starts = [(text.find(marker), -len(marker), marker) for marker in markers]
    start, _, marker = min((each for each in starts if each[0] >= 0), default=(len(text), 0, ""))
    # A marker that begins no later than the one found may be a longer one, once there is more text.
    certain = len(text) if is_over else len(text) - unsettled(text, markers)
    return (marker, start) if start < certain else ("", certain)


class WhiteSpace:
    """Drops the white space that stands around calls and thoughts from the parts of an answer."""

    def __init__(self) -> None:
        """Start an answer."""
        self._text, self._thought = Trimmed(), Trimmed()

    def dropped_from(self, parts: Iterable[OutputPart]) -> Iterator[OutputPart]:
        """The parts without it; what may turn out to be such is held back."""
        for part in parts:
            if part.kind == "call":
                self._text = Trimmed()
            if part.kind in ("text", "thought"):
                trimmed = self._text if part.kind == "text" else self._thought
                yield OutputPart(part.kind, trimmed.feed(part.text))
            else:
                yield part

    def forget(self) -> None:
        """Drop what is held back, as a thought has ended."""
        self._text, self._thought = Trimmed(), Trimmed()

    def finish(self) -> list[OutputPart]:
        """What is held back at an answer's end, and so stands around nothing."""
        return [OutputPart("text", self._text.rest())]


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
