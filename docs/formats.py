"""The table of docs/chat-formats.md: the families that are known, and what each can do.

``python -m docs.formats`` makes it anew: each family is asked to write a call, and is read again
letter by letter, so that the table says what the code does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import FunctionCall
from langchain_amulet.chat_formats.regions import Marked
from langchain_amulet.chat_formats.registry import SHIPPED
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.grammar import GrammarCompiler

PAGE = Path(__file__).parent / "chat-formats.md"
BLOCK = re.compile(r"\| `chat_format` \|.*?\n(?=\n)", re.DOTALL)

FUNCTION: dict[str, Any] = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
}
TOKENIZER = AutoTokenizer.from_pretrained(resolve_model("pocket"))
COMPILER = GrammarCompiler(TOKENIZER, len(TOKENIZER))
CALL = FunctionCall("weather", {"city": "Rome", "days": 2})


def table() -> str:
    """The table in Markdown."""
    head = ["`chat_format`", "models", "a call", "marked", "several", "arguments come"]
    lines = [head, ["---"] * len(head), *map(row, SHIPPED)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def row(family: type[ChatFormat]) -> list[str]:
    """What one family is and can do."""
    chat_format = family()
    written = " ".join(chat_format.write_calls([CALL]).split()).replace("|", r"\|")
    return [
        f"`{family.name}`",
        models(family),
        f"`{written}`",
        "yes" if isinstance(chat_format.region, Marked) else "by its beginning",
        "yes" if takes_several(chat_format) else "no",
        manner(chat_format),
    ]


def models(family: type[ChatFormat]) -> str:
    """Whose format it is: what the file's first words say."""
    described = sys.modules[family.__module__].__doc__ or ""
    return described.partition("\n")[0].partition(":")[0].rstrip(".")


def takes_several(chat_format: ChatFormat) -> bool:
    """Whether one answer may be several calls: whether its grammar is another one then."""
    one, several = (chat_format.call_grammar([FUNCTION], each, COMPILER) for each in (False, True))
    return one != several


def manner(chat_format: ChatFormat) -> str:
    """In what pieces a call's arguments are streamed."""
    pieces = list(arguments(chat_format))
    if len(pieces) > len(CALL.arguments) + 1:
        return "letter by letter"
    return "one by one" if len(pieces) > 1 else "once all are there"


def arguments(chat_format: ChatFormat) -> Iterator[str]:
    """The pieces of a call's arguments, where its text comes letter by letter."""
    parser = chat_format.parser("", [FUNCTION])
    for letter in chat_format.write_calls([CALL]):
        yield from (part.text for part in parser.feed(letter) if part.kind == "arguments")
    yield from (part.text for part in parser.finish() if part.kind == "arguments")


if __name__ == "__main__":
    PAGE.write_text(
        BLOCK.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8"
    )
