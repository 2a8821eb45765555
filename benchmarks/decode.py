"""What steering costs per token, against Hugging Face ``generate``, in one process.

A random model of a real model's shape decodes with every method in turn, round by round, so that
whatever else the machine does hits all alike; the table shows medians and the spread between the
rounds. Random weights leave the speed as it is. The final norm is scaled so that the logits are
about as peaked as a trained model's, since samplers and masks look only at likely tokens.

    python benchmarks/decode.py                       # Qwen2-0.5B's shape on the CPU
    python benchmarks/decode.py --device cuda --shape 7b --json result.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen2Config, Qwen2ForCausalLM, StoppingCriteria, StoppingCriteriaList

from langchain_amulet.engine import Engine, Request
from langchain_amulet.engine.loading import default_dtype
from langchain_amulet.engine.packing import pack
from langchain_amulet.machine import hardware
from langchain_amulet.methods import Amulet, Pref, Pull
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan

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
USERS = (1, 4, 8, 16)
PROMPT, PREFERENCE, LONG_PROMPT = 48, 12, 1500
SAMPLING: dict[str, Any] = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
HEAD_START = 64
"""Tokens that the first users may be ahead of the last one to join."""


@dataclass
class Row:
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
    def tokens_per_second(self) -> float | None:
        """Over all users together."""
        return self.users * 1000 / self.median if self.per_token else None


def build(shape: str, device: str, dtype: torch.dtype) -> Any:
    """A random model; the same seed gives the same weights."""
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=VOCABULARY, max_position_embeddings=32768, **SHAPES[shape])
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
    prompt = torch.tensor([_ids(PROMPT + PREFERENCE, 0)], device=model.device)
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
    negative = torch.tensor([_ids(PROMPT, 0)], device=model.device)
    return generate(model, tokens, guidance_scale=2.0, negative_prompt_ids=negative)


def steered(engine: Engine, users: int, tokens: int, plan: Plan) -> float:
    """Milliseconds per step while all users decode together."""
    requests = [_request(user, PROMPT, plan, tokens + HEAD_START) for user in range(users)]
    generations = [engine.submit(request) for request in requests]
    for generation in generations:
        next(generation)
    start = time.perf_counter()
    for _ in range(tokens - 1):
        for generation in generations:
            next(generation)
    seconds = time.perf_counter() - start
    for generation in generations:
        generation.cancel()
    _settle(engine)
    return 1000 * seconds / (tokens - 1)


def first_token(engine: Engine, plan: Plan, prompt: int = LONG_PROMPT) -> float:
    """Milliseconds from submission to the first token of a prompt, preference last."""
    start = time.perf_counter()
    generation = engine.submit(_request(0, prompt, plan, 2))
    next(generation)
    milliseconds = 1000 * (time.perf_counter() - start)
    generation.cancel()
    _settle(engine)
    return milliseconds


def lines(plain: Any, served: Any, engine: Engine, tokens: int) -> list[Row]:
    """Everything that is measured, in the order of the table.

    On a CPU the engine's weights are packed, see ``langchain_amulet.engine.packing``; what that
    alone gives to ``generate`` is a line of its own.
    """
    amulet, one_stream = Amulet().plan([Pull()]), Pref().plan([Pull()])
    short, long = Amulet(updates=1).plan([Pull()]), Amulet(updates=10_000).plan([Pull()])
    return [
        Row("generate, unsteered", lambda: generate(plain, tokens)),
        Row("generate, unsteered, engine's weights", lambda: generate(served, tokens)),
        Row("generate, guidance_scale", lambda: guided(plain, tokens)),
        Row("engine, unsteered", lambda: steered(engine, 1, tokens, one_stream)),
        *(
            Row(
                f"engine, Amulet, {users} user{'s' * (users > 1)}",
                lambda users=users: steered(engine, users, tokens, amulet),  # type: ignore[misc]
                users,
            )
            for users in USERS
        ),
        Row("engine, Amulet(updates=1)", lambda: steered(engine, 1, tokens, short)),
        Row("engine, Amulet(updates=10000)", lambda: steered(engine, 1, tokens, long)),
        Row(
            f"first token, {LONG_PROMPT} prompt tokens, one stream",
            lambda: first_token(engine, one_stream),
            per_token=False,
        ),
        Row(
            f"first token, {LONG_PROMPT} prompt tokens, Amulet",
            lambda: first_token(engine, amulet),
            per_token=False,
        ),
    ]


def table(rows: list[Row], lowest: float, title: str) -> Table:
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
            f"{min(row.times):.1f} to {max(row.times):.1f}",
            "" if rate is None else f"{rate:.1f}",
            f"{row.median / rows[0].median:.2f}" if row.per_token else "",
        )
    return shown


def verdicts(rows: list[Row]) -> dict[str, float]:
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
    options = _arguments()
    dtype = getattr(torch, options.dtype) if options.dtype else None
    dtype = dtype or default_dtype(torch.device(options.device)) or torch.bfloat16
    plain = build(options.shape, options.device, dtype)
    served = plain
    if options.device == "cpu":
        served = build(options.shape, options.device, dtype)
        pack(served, served.get_output_embeddings())
    parameters = sum(parameter.numel() for parameter in plain.parameters())
    title = (
        f"Qwen2 {options.shape}, {parameters / 1e6:.0f} M parameters, {dtype}\n"
        f"{hardware(options.device)}"
    )
    with Engine(served) as engine:
        rows = lines(plain, served, engine, options.tokens)
        for round_number in range(options.rounds + 1):
            for row in rows:
                milliseconds = row.measure()
                if round_number:  # the first round only warms up
                    row.times.append(milliseconds)
    lowest = floor(plain, options.device)
    console = Console(width=None if Console().is_terminal else 100)
    console.print(table(rows, lowest, title))
    for name, ratio in verdicts(rows).items():
        console.print(f"{name}: {ratio:.2f}")
    if options.json:
        result = {
            "title": title,
            "floor": lowest,
            "milliseconds": {row.name: row.times for row in rows},
            "ratios": verdicts(rows),
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="0.5b")
    parser.add_argument("--dtype", help="such as float32; the device's fastest if left out")
    parser.add_argument("--tokens", type=int, default=32, help="per answer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    return parser.parse_args()


def _request(user: int, length: int, plan: Plan, tokens: int) -> Request:
    """One user's request: a common prompt, then the preference in the streams that have one."""
    common, preference = _ids(length, user), _ids(PREFERENCE, 1000 + user)
    end = (7,)
    prompts = tuple(
        common + (preference if stream.preferences else ()) + end for stream in plan.streams
    )
    return Request(prompts, plan, SamplingParams(**SAMPLING, seed=user), tokens)


def _ids(count: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(10, VOCABULARY, (count,), generator=generator).tolist())


def _settle(engine: Engine) -> None:
    while engine.stats().active_requests:
        time.sleep(0.001)


def _seconds(work: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
