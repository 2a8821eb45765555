"""What a tool returns, and the answer that quotes it."""

from __future__ import annotations

import json
import random
from typing import Any

from pocket.corpus.dialogue import Reply
from pocket.corpus.invent import code, sky, status
from pocket.corpus.tools.catalogue import catalogue
from pocket.corpus.tools.tool import Use
from pocket.corpus.wording import capital, show

FAILING = 0.05
"""Share of calls that fail."""


def run(rng: random.Random, done: Use) -> tuple[str, Reply]:
    """The content of a tool message, which may be an error, and the answer."""
    if rng.random() < FAILING:
        return failure(rng)
    return report(rng, done, done.tool.result(rng))


def failure(rng: random.Random) -> tuple[str, Reply]:
    """An error as the content of a tool message, and the answer that tells of it."""
    problem = rng.choice(catalogue().failures["problems"])
    if rng.random() < 0.5:
        problem = f"{problem} {code(rng)}"
    content = rng.choice(catalogue().failures["contents"]).format(problem)
    return content, Reply(f"The tool failed: {problem}.", f"Error: {problem}.")


def together(one: Reply, two: Reply) -> Reply:
    """One answer that says both."""
    return Reply(f"{one.sentence} {two.sentence}", f"{one.short} {two.short}")


def report(rng: random.Random, done: Use, value: Any) -> tuple[str, Reply]:
    """The value plainly, in a JSON object, in a sentence or after a label; and the answer."""
    shown = show(value)
    sentence = done.fill(done.tool.says, shown)
    spoken = done.tool.result in (sky, status)
    reply = Reply(sentence, f"{capital(shown) if spoken else shown}.")
    roll = rng.random()
    if roll < 0.5:
        return shown, reply
    if roll < 0.7:
        return _json(rng, done, value), reply
    if roll < 0.9:
        return sentence, reply
    return f"{capital(done.tool.result_key.replace('_', ' '))}: {shown}", reply


def _json(rng: random.Random, done: Use, value: Any) -> str:
    """The value under its key, some with an argument before it or a status after it."""
    found = {done.tool.result_key: value}
    if rng.random() < 0.35 and done.values:
        name, argument = next(iter(done.values.items()))
        found = {name: argument, **found}
    elif rng.random() < 0.25:
        found.setdefault("status", "ok")
    return json.dumps(found, ensure_ascii=False)
