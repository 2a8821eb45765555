"""What several samples of one prompt cost until each has its first token.

Samples, as best-of-n draws them, are ordinary requests whose prompts are the same, so these are
computed once; different prompts of the same length are each computed.

    python -m benchmarks.samples                      # Qwen2-0.5B's shape on the CPU
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from rich.table import Table

from benchmarks.harness import (
    Measurement,
    console,
    engine_model,
    headline,
    options,
    request,
    run,
    settle,
)
from langchain_amulet.engine import Engine
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams

SAMPLES, PROMPT = 16, 200


def first_tokens(engine: Engine, prompts: int, samples: int) -> float:
    """Milliseconds until so many samples of each prompt have a token."""
    plan = Amulet().plan([Guidance()])
    start = time.perf_counter()
    with ExitStack() as stack:
        generations = [
            stack.enter_context(
                engine.submit(request(prompt, PROMPT, plan, 2, SamplingParams(seed=sample)))
            )
            for prompt in range(prompts)
            for sample in range(samples)
        ]
        for generation in generations:
            next(generation)
    milliseconds = 1000 * (time.perf_counter() - start)
    settle(engine)
    return milliseconds


def main() -> None:
    """Measure and print."""
    given = options(__doc__.splitlines()[0], tokens=1, rounds=3)
    model = engine_model(given.shape, given.device, given.dtype)
    with Engine(model) as engine:
        rows = [
            Measurement("1 sample", lambda: first_tokens(engine, 1, 1), per_token=False),
            Measurement(
                f"{SAMPLES} samples", lambda: first_tokens(engine, 1, SAMPLES), per_token=False
            ),
            Measurement(
                f"{SAMPLES} prompts", lambda: first_tokens(engine, SAMPLES, 1), per_token=False
            ),
        ]
        run(rows, given.rounds)
    title = (
        f"{headline(given.shape, model.model)}\nprompts of {PROMPT} tokens, Amulet's two streams"
    )
    shown = Table(title=title, title_justify="left", min_width=70)
    for column in ("", "ms to the last first token", "spread"):
        shown.add_column(column, justify="left" if not column else "right")
    for row in rows:
        shown.add_row(row.name, f"{row.median:.0f}", row.spread)
    console().print(shown)


if __name__ == "__main__":
    main()
