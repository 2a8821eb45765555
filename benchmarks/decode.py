"""What steering costs per token, against Hugging Face ``generate``, in one process.

A random model decodes in every way in turn, see `harness`; the table shows medians and the spread
between the rounds. Users are steered as they are unless they say how, by `Auto`; one row is without
its bound, so that what the bound costs is seen. On a GPU it also counts what the host asks of it at
each step.

    python -m benchmarks.decode                       # Qwen2-0.5B's shape on the CPU
    python -m benchmarks.decode --device cuda --shape 7b --json result.json
    python -m benchmarks.decode --device cuda --shape 7b --compile
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import nn
from transformers import StoppingCriteria, StoppingCriteriaList

from benchmarks.harness import (
    PREFERENCE,
    PROMPT,
    Engines,
    Measurement,
    Options,
    build,
    by,
    console,
    engines_for,
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
from langchain_amulet.engine.loading.packing import PackedLinear
from langchain_amulet.methods import Amulet, Auto, Guidance, Pref
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan
from langchain_amulet.waiting.threads import in_ended_thread

USERS = {"cpu": (1, 4, 8, 16), "cuda": (1, 4, 8, 16, 64, 128)}
LONG_PROMPT = 1500
SAMPLING: dict[str, Any] = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
HEAD_START = 64
"""Tokens that the first users may be ahead of the last one to join."""

FLOOR = "floor: the weights read once"
PRODUCTS = "all weights' products alone, two rows"

USUAL = Auto().plan([Guidance()])
"""How users are steered who don't say how."""


def bandwidth(device: str) -> float:
    """Bytes per second that the device reads, the best of a few passes over 512 MiB."""
    block = torch.ones(2**27, device=device)
    return max(block.nbytes / _seconds(block.sum, device) for _ in range(5))


def floor(model: Any) -> float:
    """Milliseconds to read every weight that a token needs, once."""
    weights: int = sum(parameter.nbytes for parameter in model.parameters())
    if not model.config.tie_word_embeddings:
        weights -= model.model.embed_tokens.weight.nbytes
    return 1000 * weights / bandwidth(model.device.type)


@torch.inference_mode()
def products(model: Any, tokens: int) -> float:
    """Milliseconds of all linear layers by themselves, one after the other, of one user's rows."""
    layers = [each for each in model.modules() if isinstance(each, nn.Linear | PackedLinear)]
    place = {"device": model.device, "dtype": model.dtype}
    rows = {each.in_features: torch.randn(2, each.in_features, **place) for each in layers}

    def passes(count: int) -> None:
        for _ in range(count):
            for layer in layers:
                layer(rows[layer.in_features])

    _seconds(lambda: passes(2), model.device.type)  # what is made at first
    return 1000 * _seconds(lambda: passes(tokens), model.device.type) / tokens


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


@torch.inference_mode()
def bare_pass(model: Any, prompt: int = LONG_PROMPT) -> float:
    """Milliseconds of one forward pass over a prompt, with the logits of its last token."""
    ids = torch.tensor([some_ids(prompt, 0)], device=model.device)
    kind = model.device.type
    return 1000 * _seconds(lambda: model(ids, use_cache=False, logits_to_keep=1), kind)


def asked_of_gpu(engines: Engines, users: int, tokens: int, plan: Plan) -> dict[str, float]:
    """How often per step kernels and graphs are launched, and how often the host waits for them.

    The prompts' passes are in it, too, so this is a bound, which more tokens make closer.
    """
    kinds = {
        "kernel launches": ("LaunchKernel",),
        "graph launches": ("GraphLaunch",),
        "synchronisations": ("Synchronize",),
    }
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        by(engines, steered, users, tokens, plan)()
    counts = {event.key: event.count for event in profile.key_averages()}
    return {
        name: sum(count for key, count in counts.items() if any(part in key for part in parts))
        / tokens
        for name, parts in kinds.items()
    }


def decoding(
    engines: Engines, device: str, tokens: int, name: str, plan: Plan
) -> list[Measurement]:
    """A line for each number of users."""
    return [
        Measurement(
            f"engine, {name}, {users} user{'s' * (users > 1)}",
            by(engines, steered, users, tokens, plan),
            users,
        )
        for users in USERS[device]
    ]


def lines(
    plain: Any, engine_weights: Any, engines: Engines, device: str, tokens: int
) -> list[Measurement]:
    """Everything that is measured, in the order of the table.

    On a CPU the engine's weights are packed, see ``engine/loading/packing.py``; what that
    alone gives to ``generate`` is a line of its own.
    """
    one_stream = Pref().plan([Guidance()])
    unbounded, short, long = (
        each.plan([Guidance()]) for each in (Amulet(), Amulet(updates=1), Amulet(updates=10_000))
    )
    return [
        Measurement(FLOOR, lambda: floor(plain), per_token=False),
        Measurement(PRODUCTS, lambda: products(engine_weights, tokens), per_token=False),
        Measurement("generate, unsteered", lambda: generate(plain, tokens)),
        Measurement(
            "generate, unsteered, engine's weights", lambda: generate(engine_weights, tokens)
        ),
        Measurement("generate, guidance_scale", lambda: guided(plain, tokens)),
        *decoding(engines, device, tokens, "unsteered", one_stream),
        *decoding(engines, device, tokens, "steered", USUAL),
        Measurement("engine, Amulet unbounded, 1 user", by(engines, steered, 1, tokens, unbounded)),
        Measurement("engine, Amulet(updates=1)", by(engines, steered, 1, tokens, short)),
        Measurement("engine, Amulet(updates=10000)", by(engines, steered, 1, tokens, long)),
        Measurement(
            f"one bare pass over {LONG_PROMPT} prompt tokens",
            lambda: bare_pass(engine_weights),
            per_token=False,
        ),
        Measurement(
            f"first token, {LONG_PROMPT} prompt tokens, one stream",
            by(engines, first_token, one_stream),
            per_token=False,
        ),
        Measurement(
            f"first token, {LONG_PROMPT} prompt tokens, two streams",
            by(engines, first_token, USUAL),
            per_token=False,
        ),
    ]


def table(rows: list[Measurement], title: str) -> Table:
    """The rows as printed."""
    plain = next(row.median for row in rows if row.name == "generate, unsteered")
    shown = Table(title=title, title_justify="left", min_width=90)
    for column in ("", "ms per step", "spread", "tokens/s", "of unsteered generate"):
        shown.add_column(column, justify="left" if not column else "right")
    for row in rows:
        rate = row.tokens_per_second
        shown.add_row(
            row.name,
            f"{row.median:.1f}",
            row.spread,
            "" if rate is None else f"{rate:.1f}",
            f"{row.median / plain:.2f}" if row.per_token else "",
        )
    return shown


def verdicts(rows: list[Measurement]) -> dict[str, float]:
    """The ratios that the project watches."""
    median = {row.name: row.median for row in rows}
    most = max(row.users for row in rows)
    one, many = median["engine, steered, 1 user"], median[f"engine, steered, {most} users"]
    first = f"first token, {LONG_PROMPT} prompt tokens, "
    return {
        "one steered user / unsteered generate": one / median["generate, unsteered"],
        "one steered user / floor": one / median[FLOOR],
        "one steered user / products alone": one / median[PRODUCTS],
        f"{most} steered users / floor": many / median[FLOOR],
        **{
            f"steered / unsteered, {row.users} users": row.median
            / median[row.name.replace("steered", "unsteered")]
            for row in rows
            if row.name.startswith("engine, steered, ")
        },
        "bounded / unbounded, one steered user": one / median["engine, Amulet unbounded, 1 user"],
        "guidance_scale / one steered user": median["generate, guidance_scale"] / one,
        f"{most} users' tokens per second / one user's": most * one / many,
        "first token / one bare pass": median[first + "one stream"]
        / median[f"one bare pass over {LONG_PROMPT} prompt tokens"],
        "first token, two streams / one": median[first + "two streams"]
        / median[first + "one stream"],
        "updates=10000 / updates=1": median["engine, Amulet(updates=10000)"]
        / median["engine, Amulet(updates=1)"],
    }


def models(given: Options) -> tuple[Any, Any, HuggingFaceModel]:
    """The model for ``generate``, that with the engine's weights, and the latter as an engine's."""
    plain = build(given.shape, given.device, given.dtype)
    engine_weights = plain
    if given.device == "cpu":
        engine_weights = build(given.shape, given.device, given.dtype)
        engine_weights = engine_weights if given.compile else packed(engine_weights)
    elif given.compile:  # or generate would run what is compiled
        engine_weights = copy.deepcopy(plain)
    return plain, engine_weights, HuggingFaceModel(engine_weights, compile=given.compile)


def main() -> None:
    """Measure and print."""
    given = options(__doc__.splitlines()[0], tokens=32, rounds=5, can_compile=True)
    kind = torch.device(given.device).type
    plain, engine_weights, run_by = in_ended_thread(partial(models, given))
    with ExitStack() as stack:
        engines = engines_for(partial(Engine, run_by, max_rows=2 * max(USERS[kind])), kind, stack)
        rows = lines(plain, engine_weights, engines, kind, given.tokens)
        run(rows, given.rounds)
        counts = {
            f"{name} per step, {users} users": count
            for users in USERS[kind]
            if kind == "cuda"
            for name, count in asked_of_gpu(engines, users, given.tokens, USUAL).items()
        }
    heading, shown = headline(given.shape, plain), console()
    shown.print(table(rows, heading))
    ratios = verdicts(rows)
    for name, number in {**ratios, **counts}.items():
        shown.print(f"{name}: {number:.2f}")
    if given.json:
        result = {
            "title": heading,
            "milliseconds": {row.name: row.times for row in rows},
            "ratios": ratios,
            "counts": counts,
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
