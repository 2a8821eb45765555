"""An answer's pieces put together, to compare whole answers."""

from collections.abc import Iterable
from dataclasses import dataclass

from langchain_amulet.chat_formats.output_parser import OutputPart


@dataclass(frozen=True)
class Called:
    """A call of a tool: its name, empty if it can't be read, and its arguments as written."""

    name: str
    arguments: str
    is_broken: bool = False


@dataclass(frozen=True)
class Parts:
    """What an answer says, thinks and calls."""

    text: str = ""
    thought: str = ""
    calls: tuple[Called, ...] = ()


def parts(pieces: Iterable[OutputPart]) -> Parts:
    """All pieces of an answer, in their order, as its parts."""
    said = {"text": "", "thought": ""}
    calls: list[Called] = []
    for piece in pieces:
        if piece.kind in said:
            said[piece.kind] += piece.text
        elif piece.kind == "call":
            calls.append(Called(piece.text, ""))
        else:
            name, arguments = calls[-1].name, calls[-1].arguments + piece.text
            calls[-1] = Called(name, arguments, is_broken=piece.kind == "broken")
    return Parts(said["text"], said["thought"], tuple(calls))
