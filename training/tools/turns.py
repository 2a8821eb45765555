"""Turns that call tools: one call, two at once, or a call with the result of the one before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from training.dialogue import Exchange, Reply
from training.tools.catalogue import catalogue
from training.tools.requests import joint_request, request, use
from training.tools.results import report, run
from training.tools.tool import Tool, Use
from training.wording import show


def single(rng: random.Random, tool: Tool) -> Exchange:
    """One call."""
    done = use(rng, tool)
    content, reply = run(rng, done)
    return Exchange(request(rng, done), reply, (done.call,), (content,))


def double(rng: random.Random, tools: Sequence[Tool]) -> Exchange:
    """Two calls in one turn: of one tool with two values, or of two tools."""
    first = tools[0]
    second = tools[1] if len(tools) > 1 and rng.random() < 0.6 else first
    if second is first and not first.params:
        return single(rng, first)
    one, two = use(rng, first), use(rng, second)
    if one == two:
        return single(rng, first)
    user = joint_request(rng, one, two)
    result_one, reply_one = run(rng, one)
    result_two, reply_two = run(rng, two)
    reply = Reply(
        f"{reply_one.sentence} {reply_two.sentence}", f"{reply_one.short} {reply_two.short}"
    )
    return Exchange(user, reply, (one.call, two.call), (result_one, result_two))


def chain(rng: random.Random, tools: Sequence[Tool]) -> list[Exchange]:
    """A call of the first tool, and one that takes its result where some tool's types allow it."""
    done = use(rng, tools[0])
    value = tools[0].result(rng)
    content, reply = report(rng, done, value)
    exchanges = [Exchange(request(rng, done), reply, (done.call,), (content,))]
    following = next((tool for tool in reversed(tools) if _can_follow(tool, value)), None)
    if following:
        exchanges.append(_follow_up(rng, following, value))
    return exchanges


def _can_follow(tool: Tool, value: Any) -> bool:
    """Whether ``value`` can be the first of one or two arguments."""
    options = any(param.options for param in tool.params)
    return 1 <= len(tool.params) <= 2 and not options and tool.params[0].takes(value)


def _follow_up(rng: random.Random, tool: Tool, value: Any) -> Exchange:
    values = {tool.params[0].name: value}
    form, shown = "follow_up_alone", ""
    if len(tool.params) == 2:
        second = tool.params[1]
        values[second.name] = extra = second.value(rng)
        form = "follow_up"
        shown = f"{second.name} {show(extra)}" if isinstance(extra, bool) else show(extra)
    user = rng.choice(catalogue().asks[form]).format(name=tool.name, args=shown)
    done = Use(tool, values)
    content, reply = run(rng, done)
    return Exchange(user, reply, (done.call,), (content,))
