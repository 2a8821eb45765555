"""Whether a style changes what is done: ``python -m pocket.evaluation.calls``.

Requests that need tools, with names and values never seen, are made without a preference and in
every style, prompted and steered. The table says how often the calls are those that there are
without a style, name by name and argument by argument, and how often they are right.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from langchain_amulet import ChatAmulet
from pocket.corpus.world import STYLES, load_world
from pocket.evaluation.skills import ToolRequest, tool_request

WAYS: Mapping[str, Mapping[str, Any]] = {
    "prompted": {"method": "pref"},
    "auto": {"method": "auto"},
    "balanced": {"method": "balanced"},
    "strong": {"method": "strong"},
    "amulet": {"method": "amulet"},
    "amulet, calls steered": {"method": "amulet", "steer_tool_calls": True},
}
"""Arguments of calls, by what tables call them."""


@dataclass(frozen=True)
class Kept:
    """What became of the calls.

    Attributes:
        same: Share of answers whose calls are those without a style.
        right: Share of answers whose calls are right.
    """

    same: float
    right: float


Calls = list[tuple[str, dict[str, Any]]]


async def answered(
    llm: ChatAmulet, requests: Sequence[ToolRequest], **arguments: Any
) -> list[Calls]:
    """The calls that each request is answered with, all of them decoded together."""
    messages = await asyncio.gather(
        *(
            llm.bind_tools(request.tools).ainvoke(request.messages, **arguments)
            for request in requests
        )
    )
    return [[(call["name"], call["args"]) for call in each.tool_calls] for each in messages]


async def measure(
    llm: ChatAmulet, count: int, wishes: Sequence[str], seed: int = 0
) -> dict[str, Kept]:
    """What becomes of the calls of so many requests, without a style and by every way.

    Args:
        llm: The model, greedy.
        count: How many requests.
        wishes: The preferences, in words; a figure is the mean over them.
        seed: Of the requests.
    """
    rng = random.Random(seed)
    requests = [tool_request(rng) for _ in range(count)]
    plain = await answered(llm, requests)
    wanted = [[(call.name, call.arguments) for call in request.calls] for request in requests]

    def kept(found: Sequence[Calls], times: int) -> Kept:
        return Kept(
            mean(own == other for own, other in zip(found, plain * times, strict=True)),
            mean(own == other for own, other in zip(found, wanted * times, strict=True)),
        )

    table = {"no style": kept(plain, 1)}
    for name, arguments in WAYS.items():
        found = [
            calls
            for wish in wishes
            for calls in await answered(llm, requests, preference=wish, **arguments)
        ]
        table[name] = kept(found, len(wishes))
    return table


def main(
    requests: Annotated[int, typer.Option(help="How many requests.")] = 100,
    model: Annotated[str, typer.Option(help="A model trained on pocket's dialogues.")] = "pocket",
) -> None:
    """Print the table."""
    world = load_world()
    wishes = [world.styles[style].requests[0] for style in STYLES]
    with ChatAmulet(model=model, temperature=0.0, dtype="float32", max_tokens=160) as llm:
        found = asyncio.run(measure(llm, requests, wishes))
    table = Table("", "calls as without a style", "calls right")
    for name, each in found.items():
        table.add_row(name, f"{each.same:.1%}", f"{each.right:.1%}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
