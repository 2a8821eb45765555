"""A conversation's past, in the way a chat template writes it, or else in words.

Many templates write no calls, refuse results, take one call to a turn, drop what was said along
with it, or want ids of a certain length. Many lose or refuse system messages that aren't first, or
want users and answers to alternate. They are tried out, and what would be lost is told to the model
as text: calls in the shape in which it is to write them itself, results and system messages as what
the user says next.

This module knows turns and chat templates: nothing of preferences, LangChain or models.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, product, takewhile
from typing import NamedTuple

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import FunctionCall
from langchain_amulet.chat_formats.chat_template import QUESTION, TOOL, ChatTemplate
from langchain_amulet.chat_formats.probe import CALL_IDS, NAMES, SAID, called, calling, tried
from langchain_amulet.chat_formats.shapes import PROBE, WORD
from langchain_amulet.chat_formats.turns import (
    Turn,
    fold_later_system,
    fold_system,
    join_texts,
    merge_turns,
    strings_in,
)

SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")
TOLD = "told"
"""Marks an answer whose calls are told in words; no template sees it."""

OPENING = "Begin the conversation."
"""What the user is made to say where a template wants one in front of the first answer."""

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
        template: The template. It is tried out when there first is something it might lose.
        chat_format: How calls are told that the template would lose.
    """

    template: ChatTemplate
    chat_format: ChatFormat

    def __call__(self, turns: Sequence[Turn], with_tools: bool) -> list[Turn]:
        """The conversation with as little changed as makes the template lose nothing of it.

        Where it loses something in any case, as little as can be is lost.
        """
        turns = list(turns)
        if any("name" in turn for turn in turns) and not self._writes_names:
            turns = merge_turns(_nameless(turns))
        best, most = turns, -math.inf
        for changes in WAYS:
            changed = turns
            for change in changes:
                changed = change(changed)
            changed = self._in_words(changed)
            kept = self._share_kept(changed, with_tools)
            if kept > most:
                best, most = changed, kept
            if most == 1.0:
                break
        return best

    def _share_kept(self, turns: Sequence[Turn], with_tools: bool) -> float:
        """How much the template writes of a conversation of this shape; -1 if it refuses it."""
        return self.template.findings.find(
            "share kept", turns, with_tools, by=lambda made_up: self._try(made_up, with_tools)
        )

    def _try(self, turns: Sequence[Turn], with_tools: bool) -> float:
        prompting = turns[-1]["role"] != "assistant"
        text = self.template.tried(turns, prompting, [TOOL] if with_tools else None)
        if text is None:
            return -1.0
        said = Counter(filter(WORD.fullmatch, strings_in(list(turns))))
        kept = said & Counter(WORD.findall(text))
        return kept.total() / said.total() if said else 1.0

    def _in_words(self, turns: Sequence[Turn]) -> list[Turn]:
        """The conversation with text in place of calls and results that are always lost."""
        if not any(turn["role"] == "tool" or turn.get("tool_calls") for turn in turns):
            return list(turns)
        adapted: list[Turn] = []
        is_kept = False  # whether calls stay as they are, and so their results
        for turn in turns:
            if turn["role"] == "tool":
                adapted.append(_with_short_ids(turn) if is_kept else _as_user(turn))
            else:
                has_calls = bool(turn.get("tool_calls"))
                is_kept = has_calls and TOLD not in turn and _manner(turn) in self._kept
                is_lost = has_calls and not is_kept
                adapted.append(self._as_text(turn) if is_lost else _with_short_ids(turn))
        return merge_turns(adapted)

    @cached_property
    def _writes_names(self) -> bool:
        """Whether the template has a place for a speaker's name."""
        return PROBE in (self.template.tried([{**QUESTION, "name": PROBE}]) or "")

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
        text = tried(self.template, calling(called(NAMES[:count]), said), *results)
        wanted = (*NAMES[:count], PROBE, *RESULTS[:count], said)
        return all(re.search(rf"\b{word}\b", text) for word in wanted)

    def _as_text(self, turn: Turn) -> Turn:
        """An assistant's turn with its calls at the end of what it says."""
        functions = [call["function"] for call in turn["tool_calls"]]
        calls = [FunctionCall(each["name"], each["arguments"]) for each in functions]
        rest = {key: value for key, value in turn.items() if key not in ("tool_calls", TOLD)}
        written = self.chat_format.write_calls(calls)
        return {**rest, "content": join_texts(turn["content"], written)}


class Manner(NamedTuple):
    """How an assistant's turn calls tools."""

    is_several: bool
    says_something: bool


def _manner(turn: Turn) -> Manner:
    return Manner(len(turn["tool_calls"]) > 1, bool(turn["content"].strip()))


# --- What can be done to a conversation that a template refuses, or loses a part of ---


def _broken_told(turns: list[Turn]) -> list[Turn]:
    """Calls marked to be told in words where results are missing or no answer follows them."""
    marked = list(turns)
    for index, turn in enumerate(turns):
        calls = turn.get("tool_calls", ())
        rest = turns[index + 1 :]
        results = list(takewhile(lambda each: each["role"] == "tool", rest))
        next_role = rest[len(results)]["role"] if len(rest) > len(results) else None
        is_open = not rest or (next_role is None and len(results) == len(calls))
        is_whole = next_role == "assistant" and len(results) == len(calls)
        if calls and not (is_open or is_whole):
            marked[index] = {**turn, TOLD: True}
    return marked


def _all_told(turns: list[Turn]) -> list[Turn]:
    return [{**turn, TOLD: True} if turn.get("tool_calls") else turn for turn in turns]


def _asked_first(turns: list[Turn]) -> list[Turn]:
    """A conversation that an answer opens, with something that it answers."""
    start = 1 if turns and turns[0]["role"] == "system" else 0
    opens = len(turns) > start and turns[start]["role"] == "assistant"
    asked: Turn = {"role": "user", "content": OPENING}
    return [*turns[:start], asked, *turns[start:]] if opens else turns


def _names_told(turns: list[Turn]) -> list[Turn]:
    """The speakers' names in front of what they say."""
    told = []
    for turn in turns:
        has_name = turn["role"] != "tool" and "name" in turn
        content = f"{turn['name']}: {turn['content']}" if has_name else turn["content"]
        told.append({**turn, "content": content})
    return merge_turns(_nameless(told))


def _nameless(turns: Sequence[Turn]) -> list[Turn]:
    """The turns without the speakers' names; those of tools stay."""
    return [
        {key: value for key, value in turn.items() if key != "name" or turn["role"] == "tool"}
        for turn in turns
    ]


WAYS = tuple(
    tuple(chain.from_iterable(changes))
    for changes in product(
        ((), (_names_told,)),
        ((), (_asked_first,)),
        ((), (_broken_told,), (_all_told,)),
        ((), (fold_later_system,), (fold_system,)),
    )
)
"""Changes to be made one after the other, the mildest first."""


# --- Ids and results ---


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
