"""Train ``pocket`` from scratch: ``python -m training.train --out build/pocket``.

A checkpoint is written every few minutes, and the same command goes on from it. Two CPU cores take
about two hours for the default budget; with ``--device cuda`` it is minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from training.data import Batch, Batches
from training.generator import dialogues
from training.tokenizer import VOCABULARY, train_tokenizer
from training.world import load_world

CONTEXT = 2048  # positions that the config allows; training sees dialogues up to 448
BATCH_TOKENS = 8192
TOKENIZER_DIALOGUES = 20_000
CHECKPOINT_EVERY = 200  # steps


@dataclass(frozen=True)
class Schedule:
    """Learning rate by the share of the token budget spent: warm-up, plateau, linear decay."""

    budget: int
    warmup: float = 0.02
    decay: float = 0.4

    def __call__(self, tokens: int) -> float:
        """The factor on the peak learning rate after ``tokens`` tokens."""
        spent = tokens / self.budget
        return max(0.0, min(1.0, spent / self.warmup + 0.01, (1.0 - spent) / self.decay))


def new_model(seed: int) -> LlamaForCausalLM:
    """A Llama of 5.5 million parameters with random weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, which halves the tokens needed to learn copying; AdamW else."""
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in named.items() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(hidden, lr=3e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(model: nn.Module, batch: Batch, device: str) -> Tensor:
    """Mean cross-entropy of the next token in nats, weighted as the batch says."""
    ids, weights = batch.ids.to(device), batch.weights.to(device)[:, 1:]
    with torch.autocast(device, dtype=torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    each = nn.functional.cross_entropy(
        logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    return (each * weights.flatten()).sum() / weights.sum()


def main(
    out: Annotated[Path, typer.Option(help="Folder of checkpoint, tokenizer and weights.")],
    tokens: Annotated[int, typer.Option(help="Token budget.")] = 40_000_000,
    seed: int = 0,
    device: str = "cpu",
    compiled: Annotated[bool, typer.Option(help="Compile: nearly twice as fast on a CPU.")] = True,
) -> None:
    """Train, or go on training, and leave the finished model in OUT."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(out, seed)
    model = new_model(seed).to(device)  # type: ignore[arg-type]
    optimizer = optimizers(model)
    seen, step = _resume(out, model, optimizer)
    schedule = Schedule(tokens)
    peaks = [group["lr"] for opt in optimizer for group in opt.param_groups]
    data = Batches(load_world(), tokenizer, tokens=BATCH_TOKENS, seed=seed + 1 + step)
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    started, fresh, losses = time.monotonic(), 0, []
    for batch in DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=16):
        if seen >= tokens:
            break
        groups = [group for opt in optimizer for group in opt.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * schedule(seen)
        loss = loss_of(forward, batch, device)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in optimizer:
            opt.step()
            opt.zero_grad(set_to_none=True)
        seen, fresh, step = seen + batch.ids.numel(), fresh + batch.ids.numel(), step + 1
        losses.append(loss.item())
        if step % 20 == 0:
            speed = fresh / (time.monotonic() - started)
            print(f"step {step}  {seen / 1e6:.2f}M tokens of {tokens / 1e6:.0f}M  "
                  f"loss {sum(losses) / len(losses):.4f}  {speed:.0f} tokens/s  "
                  f"{(tokens - seen) / speed / 60:.0f} min left", flush=True)  # fmt: skip
            losses = []
        if step % CHECKPOINT_EVERY == 0:
            _checkpoint(out, model, optimizer, seen, step)
    _checkpoint(out, model, optimizer, seen, step)
    model.to(torch.bfloat16).save_pretrained(out)
    print(f"{out}: finished after {seen / 1e6:.1f}M tokens")


def _tokenizer(out: Path, seed: int) -> PreTrainedTokenizerFast:
    if (out / "tokenizer.json").exists():
        saved: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(out)
        return saved
    print("fitting the tokenizer", flush=True)
    tokenizer = train_tokenizer(islice(dialogues(load_world(), seed), TOKENIZER_DIALOGUES), CONTEXT)
    tokenizer.save_pretrained(out)
    return tokenizer


def _checkpoint(
    out: Path, model: nn.Module, optimizer: list[torch.optim.Optimizer], seen: int, step: int
) -> None:
    """Write beside the old checkpoint, then replace it, so that a kill leaves one of them whole."""
    state = {
        "model": model.state_dict(),
        "optimizer": [opt.state_dict() for opt in optimizer],
        "seen": seen,
        "step": step,
    }
    torch.save(state, out / "checkpoint.new")
    (out / "checkpoint.new").replace(out / "checkpoint.pt")


def _resume(out: Path, model: nn.Module, optimizer: list[torch.optim.Optimizer]) -> tuple[int, int]:
    if not (out / "checkpoint.pt").exists():
        return 0, 0
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for opt, saved in zip(optimizer, state["optimizer"], strict=True):
        opt.load_state_dict(saved)
    print(f"going on after {state['seen'] / 1e6:.1f}M tokens", flush=True)
    return state["seen"], state["step"]


if __name__ == "__main__":
    typer.run(main)
