"""Turns that call tools: one call, two for one request, or one with another's result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pocket.corpus.dialogue import Exchange, Round
from pocket.corpus.tools.requests import (
    follow_up,
    joint_request,
    nested_request,
    relayed_request,
    request,
    use,
)
from pocket.corpus.tools.results import FAILING, failure, report, run, together
from pocket.corpus.tools.tool import Tool, Use

SEQUENTIAL = 0.3
"""Share of requests for two independent values whose calls come one after the other."""


def single(rng: random.Random, tool: Tool) -> Exchange:
    """One call."""
    done = use(rng, tool)
    content, reply = run(rng, done)
    return Exchange(request(rng, done), reply, (_round(done, content),))


def double(rng: random.Random, tools: Sequence[Tool]) -> Exchange:
    """Two calls for one request: of one tool with two values, or of two tools."""
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
    rounds: tuple[Round, ...] = (Round((one.call, two.call), (result_one, result_two)),)
    if rng.random() < SEQUENTIAL:
        rounds = (_round(one, result_one), _round(two, result_two))
    return Exchange(user, together(reply_one, reply_two), rounds)


def relay(rng: random.Random, first: Tool, second: Tool) -> Exchange:
    """One request for a call and another that takes its result; ``second`` must be able to.

    If the request is for both results, in that order, the reply tells both; if it names the first
    only to say what the second is to be called with, the reply tells the last. A first call that
    fails is the end of it.
    """
    done = use(rng, first)
    value = first.result(rng)
    while not second.follows(value):
        value = first.result(rng)
    last = _with_result(rng, second, value)
    nested = rng.random() < 0.4
    user = (nested_request if nested else relayed_request)(rng, done, last)
    if rng.random() < FAILING:
        content, problem = failure(rng)
        return Exchange(user, problem, (_round(done, content),))
    content, reply = report(rng, done, value)
    last_content, last_reply = run(rng, last)
    rounds = (_round(done, content), _round(last, last_content))
    return Exchange(user, last_reply if nested else together(reply, last_reply), rounds)


def chain(rng: random.Random, tools: Sequence[Tool]) -> list[Exchange]:
    """A call of the first tool, and one that takes its result where some tool's types allow it."""
    done = use(rng, tools[0])
    value = tools[0].result(rng)
    content, reply = report(rng, done, value)
    exchanges = [Exchange(request(rng, done), reply, (_round(done, content),))]
    following = next((tool for tool in reversed(tools) if tool.follows(value)), None)
    if following:
        exchanges.append(_follow_up(rng, following, value))
    return exchanges


def _follow_up(rng: random.Random, tool: Tool, value: Any) -> Exchange:
    done = _with_result(rng, tool, value)
    content, reply = run(rng, done)
    return Exchange(follow_up(rng, done), reply, (_round(done, content),))


def _with_result(rng: random.Random, tool: Tool, value: Any) -> Use:
    """The tool with another's result as its first argument and, if it takes two, a fresh one."""
    first, *others = tool.params
    return Use(tool, {first.name: value, **{other.name: other.value(rng) for other in others}})


def _round(done: Use, result: str) -> Round:
    return Round((done.call,), (result,))
