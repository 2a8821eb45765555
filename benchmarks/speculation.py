"""What drafts by prompt look-up give to an answer that copies, and what they cost one that doesn't.

A random model decodes steered answers without and with drafts in turn, see `harness`. One kind of
answer is held to its prompt's own tokens, so that drafts are always right; the other may be written
with a dozen tokens, so that there is always something to draft, which is seldom right.

    python -m benchmarks.speculation              # Qwen2-0.5B's shape on the CPU
    python -m benchmarks.speculation --shape tiny
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.harness import (
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
from langchain_amulet.engine import Constraint, Engine, Request
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams

PROMPT = 200
FEW = 12
"""With so few tokens most pairs of them were written soon, and what followed one is no guide."""


class Copying:
    """A constraint: the answer is what the prompt says."""

    def __init__(self, prompt: Sequence[int]) -> None:
        """Begin at the prompt's first token."""
        self._left = list(reversed(prompt))

    def allowed(self) -> Tensor:
        """The next token of the prompt."""
        return _only(self._left[-1:])

    def accept(self, token: int) -> bool:
        """Go on to the next one."""
        self._left.pop()
        return True


class Babbling:
    """A constraint: the answer is written with a few tokens, in any order."""

    def allowed(self) -> Tensor:
        """These tokens."""
        return _only(range(10, 10 + FEW))

    def accept(self, token: int) -> bool:
        """Any of them is as good as any other."""
        return True


def asked(
    constrain: Callable[[Sequence[int]], Constraint], tokens: int, speculates: bool
) -> Request:
    """A steered request whose answer is constrained; hot, so that all that is allowed comes."""
    sampling = SamplingParams(temperature=20.0, seed=0)
    made = request(0, PROMPT, Amulet(plausibility=0.0).plan([Guidance()]), tokens, sampling)
    return replace(made, constraint=constrain(made.prompts[0]), speculates=speculates)


def lines(engine: Engine, tokens: int) -> list[Measurement]:
    """Each kind of answer, without drafts and with them."""
    kinds: dict[str, Callable[[Sequence[int]], Constraint]] = {
        "copies": Copying,
        "babbles": lambda prompt: Babbling(),
    }
    return [
        Measurement(
            f"{kind}, {'with' if speculates else 'without'} drafts",
            lambda constrain=constrain, speculates=speculates: (
                together(  # type: ignore[misc]
                    engine, [asked(constrain, tokens, speculates)], tokens
                ).wall
            ),
        )
        for kind, constrain in kinds.items()
        for speculates in (False, True)
    ]


def main() -> None:
    """Measure and print."""
    given = options(__doc__.splitlines()[0], tokens=96, rounds=5)
    model = engine_model(given.shape, given.device, given.dtype)
    with Engine(model) as engine:
        rows = lines(engine, given.tokens)
        run(rows, given.rounds)
        stats = engine.stats()
    heading, shown = headline(given.shape, model.model), console()
    table = Table(title=heading, title_justify="left", min_width=80)
    for column in ("an answer that", "ms per token", "spread", "tokens/s"):
        table.add_column(column, justify="left" if column.startswith("an") else "right")
    for row in rows:
        table.add_row(row.name, f"{row.median:.1f}", row.spread, f"{row.tokens_per_second:.1f}")
    shown.print(table)
    median = [row.median for row in rows]
    ratios = {
        "tokens per second of a copy, with drafts / without": median[0] / median[1],
        "time of a babble, with drafts / without": median[3] / median[2],
    }
    for name, number in ratios.items():
        shown.print(f"{name}: {number:.2f}")
    shown.print(f"drafted {stats.drafted_tokens}, accepted {stats.accepted_tokens}")
    if given.json:
        result = {"title": heading, "milliseconds": {row.name: row.times for row in rows}}
        given.json.write_text(json.dumps({**result, "ratios": ratios}, indent=2) + "\n", "utf-8")


def _only(tokens: Sequence[int]) -> Tensor:
    mask = torch.zeros(VOCABULARY, dtype=torch.bool)
    mask[list(tokens)] = True
    return mask


if __name__ == "__main__":
    main()
