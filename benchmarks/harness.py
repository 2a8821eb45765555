"""What the benchmarks share: a random model of a real model's shape, and rounds of measurements.

Whatever is compared is measured in turn, round by round, in one process, so that whatever else the
machine does hits all alike. On a CPU each measurement has a thread of its own, which ends with it,
and where engines are compared with others an engine, too: as soon as the helpers of all threads
that ever computed outnumber the cores, OpenMP's, by which PyTorch computes, sleep wherever they
wait for each other, which makes a step a third longer than in a program that does nothing else.

Random weights leave the speed as it is. The final norm is scaled so that the logits are about as
peaked as a trained model's, since samplers and masks look only at likely tokens.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from transformers import Qwen2Config, Qwen2ForCausalLM

from amulet_evals.hardware import hardware
from langchain_amulet.engine import CacheScope, Engine, HuggingFaceModel, Request
from langchain_amulet.engine.loading.loader import default_dtype
from langchain_amulet.engine.loading.packing import pack
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan
from langchain_amulet.waiting.threads import in_ended_thread

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "intermediate_size": 128, "tie_word_embeddings": True},
    "0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "intermediate_size": 4864, "tie_word_embeddings": True},
    "7b": {"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "intermediate_size": 18944, "tie_word_embeddings": False},
}  # fmt: skip
VOCABULARY = 151_936
PEAKEDNESS = 6.0
PROMPT, PREFERENCE = 48, 12


@dataclass
class Measurement:
    """One line of the table: what is measured, in milliseconds, once per round."""

    name: str
    measure: Callable[[], float]
    users: int = 1
    per_token: bool = True
    times: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Milliseconds, over the rounds."""
        return statistics.median(self.times)

    @property
    def spread(self) -> str:
        """From the shortest to the longest round."""
        return f"{min(self.times):.1f} to {max(self.times):.1f}"

    @property
    def tokens_per_second(self) -> float | None:
        """Over all users together."""
        return self.users * 1000 / self.median if self.per_token else None


def run(rows: Sequence[Measurement], rounds: int) -> None:
    """Measure all rows in turn, round after round, every other round backwards."""
    for round_number in range(rounds + 1):
        for row in rows if round_number % 2 else reversed(rows):
            milliseconds = in_ended_thread(row.measure)
            if round_number:  # the first round only warms up
                row.times.append(milliseconds)


Engines = Callable[[], AbstractContextManager[Engine]]
"""Gives an engine to measure with, for a while."""


def engines_for(new: Callable[[], Engine], kind: str, stack: ExitStack) -> Engines:
    """On a CPU a new engine each time; on a GPU one, which keeps what it recorded there."""
    return new if kind == "cpu" else partial(nullcontext, stack.enter_context(new()))


def by(engines: Engines, measure: Callable[..., float], *given: Any) -> Callable[[], float]:
    """What is measured of an engine, which comes first among the arguments."""

    def measured() -> float:
        with engines() as engine:
            return measure(engine, *given)

    return measured


@dataclass(frozen=True)
class Options:
    """What a benchmark is told on the command line."""

    device: str
    shape: str
    dtype: torch.dtype
    tokens: int
    rounds: int
    json: Path | None
    compile: bool = False


def options(description: str, tokens: int, rounds: int, can_compile: bool = False) -> Options:
    """Read the command line; ``tokens`` and ``rounds`` are what they are unless it says so."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="0.5b")
    parser.add_argument("--dtype", help="such as float32; the device's fastest if left out")
    parser.add_argument("--tokens", type=int, default=tokens, help="per answer")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    if can_compile:
        parser.add_argument("--compile", action="store_true", help="the engine's layers")
    given = vars(parser.parse_args())
    named = given.pop("dtype")
    dtype = getattr(torch, named) if named else default_dtype(torch.device(given["device"]))
    return Options(**given, dtype=dtype or torch.bfloat16)


def build(shape: str, device: str, dtype: torch.dtype, vocabulary: int = VOCABULARY) -> Any:
    """A random model; the same seed gives the same weights."""
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=vocabulary, max_position_embeddings=32768, **SHAPES[shape])
    config.eos_token_id = config.bos_token_id = None
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model: Any = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        model.model.norm.weight.mul_(PEAKEDNESS)
    return model.eval()


def packed(model: Any) -> Any:
    """The same model as the engine's loader leaves it, see ``engine/loading/packing.py``."""
    if model.device.type == "cpu":
        pack(model, model.get_output_embeddings())
    return model


def engine_model(shape: str, device: str, dtype: torch.dtype) -> HuggingFaceModel:
    """A model as the engine's, made in a thread that ends."""
    return in_ended_thread(lambda: HuggingFaceModel(packed(build(shape, device, dtype))))


def request(user: int, length: int, plan: Plan, tokens: int, sampling: SamplingParams) -> Request:
    """One user's request: a common prompt, then the preference in the streams that have one.

    Nothing is kept of its prompts, so that each round computes what the one before did.
    """
    common, preference = some_ids(length, user), some_ids(PREFERENCE, 1000 + user)
    end = (7,)
    prompts = tuple(
        common + (preference if stream.preferences else ()) + end for stream in plan.streams
    )
    return Request(
        prompts, plan, sampling, tokens, cache_scope=CacheScope(("user", user), keeps=False)
    )


def some_ids(count: int, seed: int) -> tuple[int, ...]:
    """Token ids that the seed decides."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(10, VOCABULARY, (count,), generator=generator).tolist())


class Cost(NamedTuple):
    """Milliseconds per step: on the clock, and of processor time over all threads."""

    wall: float
    cpu: float


def together(engine: Engine, requests: Sequence[Request], tokens: int) -> Cost:
    """What a step costs while all requests decode together, after the first token of each."""
    with ExitStack() as stack:
        answers = [stack.enter_context(engine.submit(request)) for request in requests]
        for answer in answers:
            next(answer)
        start, busy = time.perf_counter(), time.process_time()
        for _ in range(tokens - 1):
            for answer in answers:
                next(answer)
        spent = (time.perf_counter() - start, time.process_time() - busy)
    settle(engine)
    return Cost(*(1000 * seconds / (tokens - 1) for seconds in spent))


def settle(engine: Engine) -> None:
    """Wait until no request holds rows."""
    while engine.stats().active_requests:
        time.sleep(0.001)


def headline(shape: str, model: Any) -> str:
    """What was measured, and on what."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"Qwen2 {shape}, {parameters / 1e6:.0f} M parameters, {model.dtype}\n"
        f"{hardware(str(model.device))}"
    )


def console() -> Console:
    """Where tables go; wide enough for them where that is no terminal."""
    return Console(width=None if Console().is_terminal else 100)
