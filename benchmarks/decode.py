"""What steering costs per token, against Hugging Face ``generate``, in one process.

A random model decodes with every method in turn, see `harness`; the table shows medians and the
spread between the rounds.

    python -m benchmarks.decode                       # Qwen2-0.5B's shape on the CPU
    python -m benchmarks.decode --device cuda --shape 7b --json result.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table
from transformers import StoppingCriteria, StoppingCriteriaList

from benchmarks.harness import (
    PREFERENCE,
    PROMPT,
    Measurement,
    build,
    console,
    headline,
    options,
    packed,
    request,
    run,
    settle,
    some_ids,
    together,
)
from langchain_amulet.engine import Engine, HuggingFaceModel
from langchain_amulet.methods import Amulet, Guidance, Pref
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan

USERS = (1, 4, 8, 16)
LONG_PROMPT = 1500
SAMPLING: dict[str, Any] = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
HEAD_START = 64
"""Tokens that the first users may be ahead of the last one to join."""


def bandwidth(device: str) -> float:
    """Bytes per second that the device reads, the best of a few passes over 512 MiB."""
    block = torch.ones(2**27, device=device)
    return max(block.nbytes / _seconds(block.sum, device) for _ in range(5))


def floor(model: Any, device: str) -> float:
    """Milliseconds to read every weight that a token needs, once."""
    weights: int = sum(parameter.nbytes for parameter in model.parameters())
    if not model.config.tie_word_embeddings:
        weights -= model.model.embed_tokens.weight.nbytes
    return 1000 * weights / bandwidth(device)


class Clock(StoppingCriteria):
    """Never stops; notes when each token of ``generate`` was there."""

    def __init__(self) -> None:
        """Start without times."""
        self.times: list[float] = []

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Note the time."""
        self.times.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def generate(model: Any, tokens: int, **guidance: Any) -> float:
    """Milliseconds per token after the first, with ``generate``."""
    clock = Clock()
    prompt = torch.tensor([some_ids(PROMPT + PREFERENCE, 0)], device=model.device)
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=tokens,
        do_sample=True,
        pad_token_id=0,
        stopping_criteria=StoppingCriteriaList([clock]),
        **SAMPLING,
        **guidance,
    )
    return 1000 * (clock.times[-1] - clock.times[0]) / (tokens - 1)


def guided(model: Any, tokens: int) -> float:
    """The same with the library's own classifier-free guidance."""
    negative = torch.tensor([some_ids(PROMPT, 0)], device=model.device)
    return generate(model, tokens, guidance_scale=2.0, negative_prompt_ids=negative)


def steered(engine: Engine, users: int, tokens: int, plan: Plan) -> float:
    """Milliseconds per step while all users decode together."""
    requests = [
        request(user, PROMPT, plan, tokens + HEAD_START, SamplingParams(**SAMPLING, seed=user))
        for user in range(users)
    ]
    return together(engine, requests, tokens).wall


def first_token(engine: Engine, plan: Plan, prompt: int = LONG_PROMPT) -> float:
    """Milliseconds from submission to the first token of a prompt, preference last."""
    start = time.perf_counter()
    sampling = SamplingParams(**SAMPLING, seed=0)
    with engine.submit(request(0, prompt, plan, 2, sampling)) as answer:
        next(answer)
        milliseconds = 1000 * (time.perf_counter() - start)
    settle(engine)
    return milliseconds


def lines(plain: Any, served: Any, engine: Engine, tokens: int) -> list[Measurement]:
    """Everything that is measured, in the order of the table.

    On a CPU the engine's weights are packed, see ``engine/loading/packing.py``; what that
    alone gives to ``generate`` is a line of its own.
    """
    amulet, one_stream = Amulet().plan([Guidance()]), Pref().plan([Guidance()])
    short, long = Amulet(updates=1).plan([Guidance()]), Amulet(updates=10_000).plan([Guidance()])
    return [
        Measurement("generate, unsteered", lambda: generate(plain, tokens)),
        Measurement("generate, unsteered, engine's weights", lambda: generate(served, tokens)),
        Measurement("generate, guidance_scale", lambda: guided(plain, tokens)),
        Measurement("engine, unsteered", lambda: steered(engine, 1, tokens, one_stream)),
        *(
            Measurement(
                f"engine, Amulet, {users} user{'s' * (users > 1)}",
                lambda users=users: steered(engine, users, tokens, amulet),  # type: ignore[misc]
                users,
            )
            for users in USERS
        ),
        Measurement("engine, Amulet(updates=1)", lambda: steered(engine, 1, tokens, short)),
        Measurement("engine, Amulet(updates=10000)", lambda: steered(engine, 1, tokens, long)),
        Measurement(
            f"first token, {LONG_PROMPT} prompt tokens, one stream",
            lambda: first_token(engine, one_stream),
            per_token=False,
        ),
        Measurement(
            f"first token, {LONG_PROMPT} prompt tokens, Amulet",
            lambda: first_token(engine, amulet),
            per_token=False,
        ),
    ]


def table(rows: list[Measurement], lowest: float, title: str) -> Table:
    """The rows as printed."""
    shown = Table(title=title, title_justify="left", min_width=90)
    for column in ("", "ms per step", "spread", "tokens/s", "of unsteered generate"):
        shown.add_column(column, justify="left" if not column else "right")
    shown.add_row("floor: the weights read once", f"{lowest:.1f}", "", "", "")
    for row in rows:
        rate = row.tokens_per_second
        shown.add_row(
            row.name,
            f"{row.median:.1f}",
            row.spread,
            "" if rate is None else f"{rate:.1f}",
            f"{row.median / rows[0].median:.2f}" if row.per_token else "",
        )
    return shown


def verdicts(rows: list[Measurement]) -> dict[str, float]:
    """The four ratios that the project watches."""
    median = {row.name: row.median for row in rows}
    one, many = median["engine, Amulet, 1 user"], median[f"engine, Amulet, {USERS[-1]} users"]
    first = f"first token, {LONG_PROMPT} prompt tokens, "
    return {
        "one steered user / unsteered generate": one / median["generate, unsteered"],
        "guidance_scale / one steered user": median["generate, guidance_scale"] / one,
        f"{USERS[-1]} users' tokens per second / one user's": USERS[-1] * one / many,
        "first token, two streams / one": median[first + "Amulet"] / median[first + "one stream"],
        "updates=10000 / updates=1": median["engine, Amulet(updates=10000)"]
        / median["engine, Amulet(updates=1)"],
    }


def main() -> None:
    """Measure and print."""
    given = options(__doc__.splitlines()[0], tokens=32, rounds=5)
    plain = build(given.shape, given.device, given.dtype)
    served = plain
    if given.device == "cpu":
        served = packed(build(given.shape, given.device, given.dtype))
    with Engine(HuggingFaceModel(served)) as engine:
        rows = lines(plain, served, engine, given.tokens)
        run(rows, given.rounds)
    lowest = floor(plain, given.device)
    heading, shown = headline(given.shape, plain), console()
    shown.print(table(rows, lowest, heading))
    for name, ratio in verdicts(rows).items():
        shown.print(f"{name}: {ratio:.2f}")
    if given.json:
        result = {
            "title": heading,
            "floor": lowest,
            "milliseconds": {row.name: row.times for row in rows},
            "ratios": verdicts(rows),
        }
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _seconds(work: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
