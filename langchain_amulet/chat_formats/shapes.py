"""The shape of a conversation: who says something when, calls what, and says the same again.

What a chat template does to a conversation depends on its shape and hardly on what is said. So it
is tried out with a made-up conversation of the same shape, whose words are found again in whatever
the template writes, and what comes of it is kept for all conversations of that shape.

This module knows turns: nothing of templates or tokens.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from langchain_amulet.chat_formats.turns import Turn

Finding = TypeVar("Finding")

PROBE = "qzjx"
"""A text that no template writes by itself."""

WORD = re.compile(rf"{PROBE}w\d+z")
"""A word of a made-up conversation."""

KEPT = 256
"""How many shapes of conversations are remembered."""


def made_up(turns: Sequence[Turn]) -> list[Turn]:
    """A conversation of the same shape that says nothing but words that no template writes.

    Turns that say the same do so here, as templates look for the last question by comparing it.
    """
    words = (f"{PROBE}w{number}z" for number in count())
    ids: dict[str, str] = {}
    said = {"": ""}

    def made_up_id(call_id: str | None) -> str:
        return ids.setdefault(call_id or "", f"{len(ids):09d}")

    def made_up_word(text: str) -> str:
        if text not in said:
            said[text] = next(words)
        return said[text]

    changed: list[Turn] = []
    for turn in turns:
        new: Turn = {"role": turn["role"], "content": made_up_word(turn["content"].strip())}
        if "name" in turn:
            new["name"] = PROBE
        if "tool_call_id" in turn:
            new["tool_call_id"] = made_up_id(turn["tool_call_id"])
        if turn.get("tool_calls"):
            new["tool_calls"] = [
                {
                    "type": "function",
                    "id": made_up_id(call["id"]),
                    "function": {"name": next(words), "arguments": {PROBE: next(words)}},
                }
                for call in turn["tool_calls"]
            ]
        changed.append(new)
    return changed


class ShapeCache:
    """What was found out about conversations, by their shapes. Safe to share between threads."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._found: dict[tuple[object, ...], Any] = {}

    def find(
        self,
        question: str,
        turns: Sequence[Turn],
        *details: object,
        by: Callable[[Sequence[Turn]], Finding],
    ) -> Finding:
        """What holds for conversations of this shape.

        Args:
            question: What is to be found out; it has one type of answer.
            turns: The conversation.
            details: What else the answer depends on.
            by: Finds it out, given a made-up conversation of the shape; not called where that is
                known already.
        """
        of_this_shape = made_up(turns)
        shape = hashlib.sha256(json.dumps(of_this_shape).encode()).digest()  # may be megabytes long
        key = question, shape, *details
        try:
            known: Finding = self._found[key]
            return known
        except KeyError:  # or forgotten just now by another thread
            found = by(of_this_shape)
        # Programs have few shapes of conversations: no need to know which was asked for last.
        if len(self._found) >= KEPT:
            self._found.clear()
        self._found[key] = found
        return found
