"""Where in a conversation a text goes so that the prompt gains the text, and nothing else changes.

Steering amplifies all in which prompts differ. Templates have ways to make them differ by more than
a preference: a system message replaces the one that the template writes by itself, is written twice
or not at all behind a tool's result, or has words taken out of it; a changed question isn't the
last one any more, or isn't equal to an earlier one. So each place is tried out, with a made-up
conversation of the same shape, and the first one that adds the text alone is taken.

This module knows turns and chat templates: nothing of preferences, LangChain or models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from langchain_amulet.chat_formats.chat_template import QUESTION, TOOL, ChatTemplate
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.chat_formats.turns import Turn, join_texts, shared_start

Placement = Literal["system", "user"]
"""Which message a preference is joined to: the system's, or the last one of the user."""

CLOCK = "strftime_now"
"""By what name templates tell the time."""

TEXT = f"{PROBE}_text"
"""What is put into made-up conversations."""


def place(
    turns: Sequence[Turn],
    text: str,
    placement: Placement,
    template: ChatTemplate,
    with_tools: bool = False,
) -> list[Turn]:
    """The conversation with a text in it.

    Args:
        turns: The conversation; it isn't changed.
        text: What is put in.
        placement: Where it goes, if the template writes it there once and nothing otherwise: to the
            end of the system message or of the last question. Else it goes to the other one of
            them, or in front of the first question.
        template: The chat template that will write the conversation.
        with_tools: Whether it is given tools.
    """
    system = partial(_in_system, template=template, with_tools=with_tools)
    ways: tuple[Way, ...] = (system, _before_first_question, _behind_last_question)
    if placement == "user":
        ways = (_behind_last_question, system, _before_first_question)
    chosen = template.findings.find(
        "placement",
        turns,
        placement,
        with_tools,
        by=lambda made_up: _first_that_adds_only_text(ways, made_up, template, with_tools),
    )
    return ways[chosen](turns, text)


# --- Places ---

Way = Callable[[Sequence[Turn], str], list[Turn]]
"""Puts a text into a conversation."""


def _in_system(
    turns: Sequence[Turn], text: str, template: ChatTemplate, with_tools: bool
) -> list[Turn]:
    """The text at the end of the system message that comes first; one is made if there is none."""
    # A system turn that comes later is about what is said there: what holds for all goes in front.
    if turns and turns[0]["role"] == "system":
        return [_joined(turns[0], turns[0]["content"], text), *turns[1:]]
    default = _default_system(template, with_tools)
    return [{"role": "system", "content": join_texts(default, text)}, *turns]


def _behind_last_question(turns: Sequence[Turn], text: str) -> list[Turn]:
    """The text at the end of the last user turn; one is made if there is none."""
    places = [index for index, turn in enumerate(turns) if turn["role"] == "user"]
    if not places:
        return [*turns, {"role": "user", "content": text}]
    index = places[-1]
    joined = _joined(turns[index], turns[index]["content"], text)
    return [*turns[:index], joined, *turns[index + 1 :]]


def _before_first_question(turns: Sequence[Turn], text: str) -> list[Turn]:
    """The text in front of the first user turn, as what a template without system role is told."""
    opening = 1 if turns and turns[0]["role"] == "system" else 0
    places = [index for index, turn in enumerate(turns) if turn["role"] == "user"]
    if not places:
        return [*turns[:opening], {"role": "user", "content": text}, *turns[opening:]]
    index = places[0]
    joined = _joined(turns[index], text, turns[index]["content"])
    return [*turns[:index], joined, *turns[index + 1 :]]


def _joined(turn: Turn, *texts: str) -> Turn:
    return {**turn, "content": join_texts(*texts)}


# --- What a template makes of them ---


def _default_system(template: ChatTemplate, with_tools: bool = False) -> str:
    """The system message that a template writes where a conversation has none.

    Returns:
        What says the same when it is given, white space aside; empty if nothing does.
    """
    if CLOCK in template.source:  # what it was yesterday may not be what it is today
        return _find_default_system(template, with_tools)
    return template.findings.find(
        "default system", [], with_tools, by=lambda _: _find_default_system(template, with_tools)
    )


def _find_default_system(template: ChatTemplate, with_tools: bool) -> str:
    default, given = (_asked(template, said, with_tools) for said in ("", TEXT))
    if TEXT not in given:
        return ""
    found = _in_place_of(TEXT, given, default)
    again = _asked(template, found, with_tools) if found else ""
    return found if _dense(again) == _dense(default) else ""


def _asked(template: ChatTemplate, system: str, with_tools: bool) -> str:
    """A question as the template writes it below a system message; empty if it refuses that."""
    told: list[Turn] = [{"role": "system", "content": system}] if system else []
    return template.tried([*told, QUESTION], tools=[TOOL] if with_tools else None) or ""


def _in_place_of(text: str, written: str, other: str) -> str:
    """What another prompt has where one has a text, even if both are spaced unlike each other."""
    before, _, after = written.partition(text)
    head = shared_start(other, before)
    tail = shared_start(other[head:][::-1], after[::-1])
    found = other[head : len(other) - tail]
    before, after = before[head:], after[: len(after) - tail]
    if not before and not after:
        return found
    return found.strip().removeprefix(before.strip()).removesuffix(after.strip()).strip()


def _first_that_adds_only_text(
    ways: Sequence[Way], turns: Sequence[Turn], template: ChatTemplate, with_tools: bool
) -> int:
    """Which of the ways to put a text into a conversation changes nothing else; else the first."""
    base = _written(turns, template, with_tools)
    for index, way in enumerate(ways):
        steered = _written(way(turns, TEXT), template, with_tools)
        if base is not None and steered is not None and _adds_only(TEXT, base, steered):
            return index
    return 0


def _written(turns: Sequence[Turn], template: ChatTemplate, with_tools: bool) -> str | None:
    opening = turns[0] if turns else QUESTION
    # Made-up words hold no control tokens, but what a template says by itself may: in a message
    # they would become text.
    if opening["role"] == "system" and template.controls.stand_in(opening["content"]):
        return None
    fitted = template.fit(turns, with_tools)
    prompting = not fitted or fitted[-1]["role"] != "assistant"
    return template.tried(fitted, prompting, [TOOL] if with_tools else None)


def _adds_only(text: str, base: str, steered: str) -> bool:
    """Whether a prompt is another with one piece put into it, which holds the text once.

    The piece may be more than the text: a turn that is made for it. White space doesn't count.
    """
    base, steered = _dense(base), _dense(steered)
    head = shared_start(base, steered)
    tail = shared_start(base[head:][::-1], steered[::-1])
    return head + tail == len(base) < len(steered) and steered.count(text) == 1


def _dense(text: str) -> str:
    return "".join(text.split())
