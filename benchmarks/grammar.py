"""What a grammar costs per token: the same decode with grammars on the answers and without.

Eight users, each steered, each with a structure of their own: objects and arrays as applications
ask for them, and calls of tools. A random model writes nothing sensible, so its best tokens often
don't fit where a trained model's do, and the whole vocabulary has to be searched: what is measured
here is the dear case.

    python -m benchmarks.grammar
    python -m benchmarks.grammar --device cuda --shape 7b --json result.json
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from rich.table import Table

from benchmarks.harness import (
    PROMPT,
    VOCABULARY,
    Measurement,
    console,
    engine_model,
    headline,
    options,
    request,
    run,
    together,
)
from benchmarks.vocabulary import large_tokenizer
from langchain_amulet.chat_formats.base import OutputSpec
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.engine import Engine, Request
from langchain_amulet.grammar import GrammarCompiler
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams
from support.schemas import DATE, NAME, REAL_LIFE, listed, obj, one_of

TOOLS = [
    {"name": "find_flights", "parameters": obj(origin=NAME, target=NAME, day=DATE)},
    {
        "name": "book",
        "parameters": obj(flight=NAME, guests=listed(NAME, minItems=1), bags=one_of("0", "1", "2")),
    },
    {"name": "remind", "parameters": obj(text={"type": "string"}, on=DATE)},
]
OUTPUTS = [
    *(OutputSpec(schema=schema) for schema in REAL_LIFE.values()),
    OutputSpec(TOOLS, must_call=True),
]
PLENTY, HARDLY_ENOUGH = 4096, 320
"""Most tokens of an answer: so many that its end is far off, and so few that it is near."""


@dataclass
class Decode:
    """All users decode together, with grammars or without."""

    engine: Engine
    tokens: int
    constrained: Callable[[int, Request], Request]
    cpu: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Milliseconds per step."""
        plan = Amulet().plan([Guidance()])
        plain = [
            request(user, PROMPT, plan, PLENTY, SamplingParams(seed=user))
            for user in range(len(OUTPUTS))
        ]
        requests = [self.constrained(user, each) for user, each in enumerate(plain)]
        cost = together(self.engine, requests, self.tokens)
        self.cpu.append(cost.cpu)
        return cost.wall


def under_grammars(
    compiler: GrammarCompiler, stop: int, limit: int
) -> Callable[[int, Request], Request]:
    """Each user's structure on their request."""
    stops = frozenset({stop})

    def constrained(user: int, plain: Request) -> Request:
        rules = Hermes().grammar(OUTPUTS[user], compiler, is_thinking=False)
        constraint = compiler.compile(rules, limit, stops)
        return replace(plain, max_tokens=limit, stop_ids=stops, constraint=constraint)

    return constrained


def table(rows: list[tuple[Measurement, Decode]], title: str) -> Table:
    """The rows as printed; the first is what the others are compared with, round by round."""
    shown = Table(title=title, title_justify="left", min_width=90)
    for column in ("", "ms per step", "spread", "of no grammar", "CPU ms", "of no grammar"):
        shown.add_column(column, justify="right" if column else "left")
    for row, decode in rows:
        busy = statistics.median(decode.cpu[1:])
        shown.add_row(
            row.name,
            f"{row.median:.1f}",
            row.spread,
            f"{ratio(row.times, rows[0][0].times):.3f}",
            f"{busy:.1f}",
            f"{ratio(decode.cpu[1:], rows[0][1].cpu[1:]):.3f}",
        )
    return shown


def ratio(times: list[float], others: list[float]) -> float:
    """How many times longer, the median over the rounds."""
    return statistics.median(one / other for one, other in zip(times, others, strict=True))


def compile_times(compiler: GrammarCompiler, stop: int) -> tuple[float, float]:
    """Milliseconds to compile a user's grammar for the first time and again, means over users."""
    compiler.compile('start: "a"', PLENTY, frozenset({stop}))  # reads the tokenizer
    constrained = under_grammars(compiler, stop, PLENTY)
    plain = request(0, PROMPT, Amulet().plan([Guidance()]), PLENTY, SamplingParams())
    times = [time.perf_counter()]
    for _ in range(2):
        for user in range(len(OUTPUTS)):
            constrained(user, plain)
        times.append(time.perf_counter())
    first, again = (1000 * (end - start) / len(OUTPUTS) for start, end in pairwise(times))
    return first, again


def main() -> None:
    """Measure and print."""
    given = options(__doc__.splitlines()[0], tokens=48, rounds=15)
    tokenizer = large_tokenizer()
    compiler, stop = GrammarCompiler(tokenizer, VOCABULARY), tokenizer.eos_token_id
    compiling = compile_times(compiler, stop)
    model = engine_model(given.shape, given.device, given.dtype)
    title = headline(given.shape, model.model)
    with Engine(model) as engine:
        ways = {
            "no grammar": lambda user, plain: plain,
            "grammars": under_grammars(compiler, stop, PLENTY),
            "grammars, their ends near": under_grammars(compiler, stop, HARDLY_ENOUGH),
        }
        decodes = {name: Decode(engine, given.tokens, way) for name, way in ways.items()}
        rows = [Measurement(name, decode, len(OUTPUTS)) for name, decode in decodes.items()]
        run(rows, given.rounds)
    pairs = list(zip(rows, decodes.values(), strict=True))
    shown = console()
    shown.print(table(pairs, title))
    shown.print("compiling a grammar: {:.1f} ms, the same again {:.2f} ms".format(*compiling))
    if given.json:
        result = {
            row.name: {"milliseconds": row.times, "cpu": decode.cpu[1:]} for row, decode in pairs
        }
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
