"""Train ``pocket`` from scratch: ``python -m pocket.training.train --out build/pocket``.

A checkpoint is written every few minutes, and the same command goes on from it. Two CPU cores take
two hours or so for the default budget; with ``--device cuda`` it is minutes. The finished model
lies in ``build/pocket/model``; to ship it, copy its files over ``langchain_amulet/pocket``.
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

from pocket.corpus.generator import dialogues
from pocket.corpus.world import load_world
from pocket.training.data import Batch, Batches
from pocket.training.tokenizer import VOCABULARY, train_tokenizer

CONTEXT = 2048  # positions that the config allows; training sees dialogues up to 448
BATCH_TOKENS = 8192
TOKENIZER_DIALOGUES = 20_000
PEAK = 3e-3  # learning rate
CHECKPOINT_EVERY = 200  # steps
REPORT_EVERY = 20


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
    """Muon for the hidden matrices, AdamW for embeddings and norms."""
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in named.items() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(hidden, lr=PEAK, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=PEAK, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def loss_of(model: Any, batch: Batch, device: str) -> Tensor:
    """Mean cross-entropy of the next token in nats, weighted as the batch says."""
    ids, weights = batch.ids.to(device), batch.weights.to(device)[:, 1:]
    with torch.autocast(device, dtype=torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    each = nn.functional.cross_entropy(
        logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    return (each * weights.flatten()).sum() / weights.sum()


class Run:
    """A model in training: its optimizers, how far it has come, its checkpoint."""

    def __init__(self, folder: Path, seed: int, device: str, compiled: bool) -> None:
        """Go on from the folder's checkpoint, or begin with random weights."""
        self.model = new_model(seed).to(device)  # type: ignore[arg-type]
        self.seen = self.step = 0
        self._optimizers = optimizers(self.model)
        self._path, self._device = folder / "checkpoint.pt", device
        if self._path.exists():
            self._resume()
        self._forward: Any = torch.compile(self.model, dynamic=False) if compiled else self.model

    def learn(self, batch: Batch, factor: float) -> float:
        """One step at ``factor`` times the peak learning rate; the loss before it, in nats."""
        loss = loss_of(self._forward, batch, self._device)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = PEAK * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.seen, self.step = self.seen + batch.ids.numel(), self.step + 1
        return loss.item()

    def save(self) -> None:
        """Write beside the old checkpoint, then replace it: a kill leaves one of them whole."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "seen": self.seen,
            "step": self.step,
        }
        fresh = self._path.with_suffix(".new")
        torch.save(state, fresh)
        fresh.replace(self._path)

    def _resume(self) -> None:
        state = torch.load(self._path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.seen, self.step = state["seen"], state["step"]
        print(f"going on after {self.seen / 1e6:.1f}M tokens", flush=True)


class Progress:
    """Prints loss, speed and time left every few steps."""

    def __init__(self, run: Run, budget: int) -> None:
        """Start the clock."""
        self._run, self._budget = run, budget
        self._started, self._before = time.monotonic(), run.seen
        self._losses: list[float] = []

    def tell(self, loss: float) -> None:
        """Take in one step's loss."""
        self._losses.append(loss)
        if self._run.step % REPORT_EVERY:
            return
        seen = self._run.seen
        speed = (seen - self._before) / (time.monotonic() - self._started)
        print(
            f"step {self._run.step}  {seen / 1e6:.2f}M tokens of {self._budget / 1e6:.0f}M  "
            f"loss {sum(self._losses) / len(self._losses):.4f}  {speed:.0f} tokens/s  "
            f"{(self._budget - seen) / speed / 60:.0f} min left",
            flush=True,
        )
        self._losses.clear()


def main(
    out: Annotated[Path, typer.Option(help="Folder of checkpoint, tokenizer and weights.")],
    tokens: Annotated[int, typer.Option(help="Token budget.")] = 42_000_000,
    seed: int = 0,
    device: str = "cpu",
    compiled: Annotated[bool, typer.Option(help="Compile: nearly twice as fast on a CPU.")] = True,
) -> None:
    """Train, or go on training, and leave the finished model in OUT/model."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(out, seed)
    run = Run(out, seed, device, compiled)
    schedule, progress = Schedule(tokens), Progress(run, tokens)
    # A resumed run draws dialogues of its own, so that it doesn't read the first ones again.
    data = Batches(load_world(), tokenizer, tokens=BATCH_TOKENS, seed=seed + 1 + run.step)
    for batch in DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=16):
        if run.seen >= tokens:
            break
        progress.tell(run.learn(batch, schedule(run.seen)))
        if run.step % CHECKPOINT_EVERY == 0:
            run.save()
    run.save()
    run.model.to(torch.bfloat16).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    print(f"{out / 'model'}: finished after {run.seen / 1e6:.1f}M tokens")


def _tokenizer(out: Path, seed: int) -> PreTrainedTokenizerFast:
    if (out / "tokenizer.json").exists():
        saved: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(out)
        return saved
    print("fitting the tokenizer", flush=True)
    tokenizer = train_tokenizer(islice(dialogues(load_world(), seed), TOKENIZER_DIALOGUES), CONTEXT)
    tokenizer.save_pretrained(out)
    return tokenizer


if __name__ == "__main__":
    typer.run(main)
