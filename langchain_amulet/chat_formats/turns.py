"""A conversation as chat templates read it: turns, and what can be done to them without a template.

This module knows the dicts that chat templates read: nothing of templates, tokens or LangChain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from string import whitespace
from typing import Any

from langchain_amulet.errors import RequestError
from langchain_amulet.validation.checks import check_whole

Turn = dict[str, Any]
"""One message for a chat template: ``role``, ``content``, and what its role adds."""


def without_gap(turns: Sequence[Turn]) -> tuple[list[Turn], str]:
    """The conversation without the white space at its end, and that white space."""
    *before, last = turns
    said = last["content"].rstrip(whitespace)  # others are tokens of their own
    return [*before, {**last, "content": said}], last["content"][len(said) :]


def join_texts(*texts: str) -> str:
    """The texts that aren't empty, with a blank line between them."""
    return "\n\n".join(text for text in texts if text)


def shared_start(one: str, other: str) -> int:
    """How many characters both texts begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def merge_turns(turns: Sequence[Turn]) -> list[Turn]:
    """Neighbours of the same role as one turn: strict templates want roles to alternate.

    Results of tools stay apart, as each answers a call of its own, and so does what is said in
    different names.
    """
    merged: list[Turn] = []
    for turn in turns:
        if merged and turn["role"] != "tool" and _speaker(merged[-1]) == _speaker(turn):
            merged[-1] = _join(merged[-1], turn)
        else:
            merged.append(turn)
    return merged


def _speaker(turn: Turn) -> tuple[str, str | None]:
    return turn["role"], turn.get("name")


def fold_later_system(turns: Sequence[Turn]) -> list[Turn]:
    """The conversation without system turns but for that which it begins with."""
    first = 1 if turns and turns[0]["role"] == "system" else 0
    return [*turns[:first], *(fold_system(turns[first:]) if turns[first:] else ())]


def fold_system(turns: Sequence[Turn]) -> list[Turn]:
    """The conversation without system turns: their text is put in front of the next user turn."""
    folded: list[Turn] = []
    carried = ""
    # The empty turn at the end takes up the text of a system turn that no user turn follows.
    for turn in [*turns, {"role": "user", "content": ""}]:
        if turn["role"] == "system":
            carried = join_texts(carried, turn["content"])
        elif turn["role"] == "user" and carried:
            folded.append({**turn, "content": join_texts(carried, turn["content"])})
            carried = ""
        else:
            folded.append(turn)
    return merge_turns(folded if folded[-1]["content"] else folded[:-1])


def check_characters(turns: Sequence[Turn]) -> None:
    """Refuse halves of characters, which no tokenizer reads.

    Raises:
        RequestError: A turn holds a surrogate without its other half.
    """
    check_whole("Messages", "\n".join(strings_in(turns)), RequestError)


def strings_in(value: Any) -> Iterator[str]:
    """Every string in nested lists and dicts, keys included, in order, however deep they nest."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting += reversed([*chain.from_iterable(item.items())])
        elif isinstance(item, (list, tuple)):
            waiting += reversed(item)


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """The same nested lists and dicts with every string changed, keys of dicts included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): map_strings(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(item, change) for item in value]
    return value


def _join(first: Turn, second: Turn) -> Turn:
    joined = {**first, **second, "content": join_texts(first["content"], second["content"])}
    calls = [*first.get("tool_calls", ()), *second.get("tool_calls", ())]
    thought = join_texts(first.get("reasoning_content", ""), second.get("reasoning_content", ""))
    more = {"tool_calls": calls, "reasoning_content": thought}
    return {**joined, **{key: value for key, value in more.items() if value}}
