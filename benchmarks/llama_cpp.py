"""What steering costs per step with llama.cpp, against llama.cpp decoding the same rows unsteered.

A random Llama of Qwen2-0.5B's shape, its logits about as peaked as a trained model's, is written as
a GGUF file, in float16 or Q4_0. Both decode it in turn: the engine's requests of two streams each,
and a bare loop over the same number of sequences that takes the likeliest token.

    python -m benchmarks.llama_cpp --type Q4_0
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np
import torch

from benchmarks.harness import PEAKEDNESS, PROMPT, request, some_ids, together
from langchain_amulet.engine import Engine
from langchain_amulet.engine.backends.llama_cpp.context import Fed, LlamaContext, LlamaModel
from langchain_amulet.engine.backends.llama_cpp.library import llama_library
from langchain_amulet.engine.backends.llama_cpp.model import LlamaCppModel
from langchain_amulet.methods import Auto, Guidance
from langchain_amulet.sampling import SamplingParams

WIDTH, INNER, LAYERS, HEADS, GROUPS, TOKENS, CONTEXT = 896, 4864, 24, 14, 2, 151_936, 4096
USERS = (1, 4, 8, 16)


class Untokenized(LlamaCppModel):
    """Weights alone: token ids go in and come out."""

    def __init__(self, path: Path) -> None:
        """Load the weights."""
        self._weights, self._dtype, self.tokenizer = (
            LlamaModel(llama_library(), path),
            "float16",
            None,
        )


def write(path: Path, kind: gguf.GGMLQuantizationType) -> None:
    """Write a random model, its embedding in Q8_0 where the rest has fewer bits."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(TOKENS)
    writer.add_tokenizer_model("no_vocab")
    q8 = gguf.GGMLQuantizationType.Q8_0
    random = np.random.default_rng(0)

    def add(name: str, rows: int, columns: int, kind: gguf.GGMLQuantizationType = kind) -> None:
        weight = random.standard_normal((rows, columns), dtype=np.float32) / 50
        writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)

    add("token_embd.weight", TOKENS, WIDTH, q8 if kind == gguf.GGMLQuantizationType.Q4_0 else kind)
    for name in (
        "output_norm",
        *(f"blk.{i}.{n}_norm" for i in range(LAYERS) for n in ("attn", "ffn")),
    ):
        scale = PEAKEDNESS if name == "output_norm" else 1.0
        writer.add_tensor(f"{name}.weight", np.full(WIDTH, scale, dtype=np.float32))
    narrow = WIDTH // HEADS * GROUPS
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        add(block + "attn_q.weight", WIDTH, WIDTH)
        add(block + "attn_k.weight", narrow, WIDTH)
        add(block + "attn_v.weight", narrow, WIDTH)
        add(block + "attn_output.weight", WIDTH, WIDTH)
        add(block + "ffn_gate.weight", INNER, WIDTH)
        add(block + "ffn_up.weight", INNER, WIDTH)
        add(block + "ffn_down.weight", WIDTH, INNER)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def bare(model: LlamaModel, rows: int, steps: int) -> float:
    """Milliseconds per step of a loop over so many sequences, each with a prompt of its own."""
    context = LlamaContext(model, rows * (PROMPT + steps + 8), rows, max(rows, 256), "float16")
    for row in range(rows):
        context.decode([Fed(row, some_ids(PROMPT, row), 0)])
    tokens, times = [1] * rows, list[float]()
    for step in range(steps):
        begun = time.perf_counter()
        fed = [Fed(row, [tokens[row]], PROMPT + step, 1) for row in range(rows)]
        tokens = context.decode(fed).argmax(-1).tolist()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def steered(engine: Engine, users: int, steps: int) -> float:
    """Milliseconds per step while all users decode together, each with two streams."""
    plan = Auto().plan([Guidance()])
    sampling = {"temperature": 0.7, "top_k": 50, "top_p": 0.9}
    requests = [
        request(user, PROMPT, plan, steps + 64, SamplingParams(**sampling, seed=user))
        for user in range(users)
    ]
    return together(engine, requests, steps).wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--type", choices=("F16", "Q4_0"), default="Q4_0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(path, gguf.GGMLQuantizationType[given.type])
        model = Untokenized(path)
        with Engine(model, max_rows=2 * max(USERS)) as engine:
            for users in USERS:
                pairs = [
                    (
                        bare(model._weights, 2 * users, given.steps),
                        steered(engine, users, given.steps),
                    )
                    for _ in range(given.rounds)
                ]
                plain, ours = (statistics.median(each) for each in zip(*pairs, strict=True))
                ratio = statistics.median(b / a for a, b in pairs)
                print(
                    f"{given.type}, {torch.get_num_threads()} threads, {users} users: "
                    f"{2 * users} rows unsteered {plain:.1f} ms, steered {ours:.1f} ms, "
                    f"ratio {ratio:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
