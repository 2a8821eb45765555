"""Calls and results of the past, in the way a chat template writes them, or else in words.

Many templates write no calls, refuse results, take one call to a turn, drop what was said along
with it, or want ids of a certain length. They are tried out, and what would be lost is told to
the model as text: calls in the shape in which it is to write them itself, results as what the
user says next.

This module knows turns and chat templates: nothing of preferences, LangChain or models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import NamedTuple

from langchain_amulet.chat_formats.base import ChatFormat, FunctionCall
from langchain_amulet.chat_formats.chat_template import PROBE, ChatTemplate
from langchain_amulet.chat_formats.probe import CALL_IDS, NAMES, SAID, calling, tried
from langchain_amulet.chat_formats.turns import Turn, join_texts

SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
RESULTS = (f"{PROBE}_result_one", f"{PROBE}_result_two")


def with_history(template: ChatTemplate, chat_format: ChatFormat) -> ChatTemplate:
    """The same template, which now loses nothing of what tools did before.

    Args:
        template: The template.
        chat_format: How the model writes calls, and so how it is told of those that it has made
            where the template tells it nothing of them.
    """
    return replace(template, adapt=History(template, chat_format))


@dataclass(frozen=True)
class History:
    """Makes turns such that a template loses nothing of them.

    Attributes:
        template: The template. It is tried out when there first are calls or results.
        chat_format: How calls are told that the template would lose.
    """

    template: ChatTemplate
    chat_format: ChatFormat

    def __call__(self, turns: Sequence[Turn]) -> list[Turn]:
        """The conversation with text in place of the calls and results that would be lost."""
        adapted: list[Turn] = []
        is_kept = False  # whether calls stay as they are, and so their results
        for turn in turns:
            if turn["role"] == "tool":
                adapted.append(_with_short_ids(turn) if is_kept else _as_user(turn))
            else:
                has_calls = bool(turn.get("tool_calls"))
                is_kept = has_calls and _manner(turn) in self._kept
                is_lost = has_calls and not is_kept
                adapted.append(self._as_text(turn) if is_lost else _with_short_ids(turn))
        return adapted

    @cached_property
    def _kept(self) -> frozenset[Manner]:
        """The manners of calling of which the template loses nothing."""
        manners = (Manner(*flags) for flags in product((False, True), repeat=2))
        return frozenset(manner for manner in manners if self._keeps(manner))

    def _keeps(self, manner: Manner) -> bool:
        count, said = 1 + manner.is_several, SAID if manner.says_something else ""
        results: list[Turn] = [
            {"role": "tool", "content": result, "name": name, "tool_call_id": call_id}
            for result, name, call_id in zip(RESULTS[:count], NAMES, CALL_IDS, strict=False)
        ]
        text = tried(self.template, calling(NAMES[:count], said), *results)
        wanted = (*NAMES[:count], PROBE, *RESULTS[:count], said)
        return all(re.search(rf"\b{word}\b", text) for word in wanted)

    def _as_text(self, turn: Turn) -> Turn:
        """An assistant's turn with its calls at the end of what it says."""
        functions = [call["function"] for call in turn["tool_calls"]]
        calls = [FunctionCall(each["name"], each["arguments"]) for each in functions]
        rest = {key: value for key, value in turn.items() if key != "tool_calls"}
        written = self.chat_format.write_calls(calls)
        return {**rest, "content": join_texts(turn["content"], written)}


class Manner(NamedTuple):
    """How an assistant's turn calls tools."""

    is_several: bool
    says_something: bool


def _manner(turn: Turn) -> Manner:
    return Manner(len(turn["tool_calls"]) > 1, bool(turn["content"].strip()))


def _with_short_ids(turn: Turn) -> Turn:
    """The turn with ids that every template takes, whoever made them."""
    changed = dict(turn)
    if "tool_call_id" in turn:
        changed["tool_call_id"] = _short(turn["tool_call_id"])
    if "tool_calls" in turn:
        changed["tool_calls"] = [{**call, "id": _short(call["id"])} for call in turn["tool_calls"]]
    return changed


def _short(call_id: str | None) -> str:
    """An id of nine letters and digits, as some templates insist on; the same for the same id."""
    written = call_id or ""
    is_short = SHORT_ID.fullmatch(written)
    return written if is_short else hashlib.sha256(written.encode()).hexdigest()[:9]


def _as_user(result: Turn) -> Turn:
    """A tool's result as what the user says."""
    source = f"Result of {result['name']}" if result.get("name") else "Result"
    return {"role": "user", "content": f"{source}: {result['content']}"}
