"""The form in which a chat template reads turns, above all calls of the past.

Most want arguments as objects, some as the JSON that OpenAI's interface has, which they write as it
is. Some write calls only where nothing is said along with them, not even an empty text, and some
read a call's name out of its id. Those of models that see images, too, may want what is said as a
list of parts.

This module knows turns: nothing of templates, or of how calls are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from langchain_amulet.chat_formats.turns import Turn


@dataclass(frozen=True)
class CallDialect:
    """How turns are handed over to a chat template.

    Attributes:
        as_json: Arguments are texts of JSON, not objects.
        says_nothing: Where nothing is said along with calls, the content is None, not empty.
        ids_are_names: A call's id is ``functions.``, its name and its number.
        in_parts: What is said is a list of parts, of which each is a text.
    """

    as_json: bool = False
    says_nothing: bool = False
    ids_are_names: bool = False
    in_parts: bool = False

    @classmethod
    def all(cls, in_parts: bool = False) -> Iterator[CallDialect]:
        """Every dialect, with or without parts, the usual ones first."""
        flags = product((False, True), repeat=3)
        return (cls(as_json, nothing, ids, in_parts) for ids, nothing, as_json in flags)

    def spoken(self, turns: Sequence[Turn]) -> list[Turn]:
        """The conversation in this dialect."""
        turns = _named_by_calls(turns) if self.ids_are_names else turns
        spoken = [self._turn(turn) if turn.get("tool_calls") else turn for turn in turns]
        return [_in_parts(turn) for turn in spoken] if self.in_parts else spoken

    def _turn(self, turn: Turn) -> Turn:
        changed = dict(turn)
        if self.says_nothing and not turn["content"]:
            changed["content"] = None
        if self.as_json:
            changed["tool_calls"] = [_as_json(call) for call in turn["tool_calls"]]
        return changed


def _in_parts(turn: Turn) -> Turn:
    said = turn["content"]
    return {**turn, "content": [{"type": "text", "text": said}] if said else []}


def _as_json(call: Turn) -> Turn:
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def _named_by_calls(turns: Sequence[Turn]) -> list[Turn]:
    """The turns with ids that name the tools, and count the calls of the whole conversation."""
    calls = [call for turn in turns for call in turn.get("tool_calls", ())]
    new = {
        call["id"]: f"functions.{call['function']['name']}:{number}"
        for number, call in enumerate(calls)
    }
    renamed = []
    for turn in turns:
        changed = dict(turn)
        if "tool_calls" in turn:
            changed["tool_calls"] = [{**each, "id": new[each["id"]]} for each in turn["tool_calls"]]
        if turn.get("tool_call_id") in new:
            changed["tool_call_id"] = new[turn["tool_call_id"]]
        renamed.append(changed)
    return renamed
