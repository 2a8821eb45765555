"""Train a reward model of styles: ``python -m pocket.training.reward --out build/reward``.

PAD (arXiv 2410.04070) steers by a second causal language model: what its log-probabilities have
gained over the first one's is a reward per token, given a preference in its prompt. It is trained
by preference optimisation (DPO, arXiv 2305.18290) on pairs that the generator writes: the same
question and wish, answered fully in the wished style, and in another or in none.

A few minutes on two CPU cores. Knows the generator and TRL's trainer, nothing of decoding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from transformers import AutoModelForCausalLM, AutoTokenizer

from langchain_amulet.engine.loading.hub import resolve_model
from pocket.corpus.questions import ask, wish
from pocket.corpus.styles import Coins, advise
from pocket.corpus.world import STYLES, Topic, World, load_world

MAX_LENGTH = 320  # tokens of a prompt and its answer; the longest pair has fewer


def pairs(world: World, seed: int) -> Iterator[dict[str, Any]]:
    """Preference pairs without end, in TRL's conversational form.

    The wished style is missed in one of two ways: half of the rejected answers have no style, the
    others one that wasn't asked for.
    """
    rng = random.Random(seed)
    while True:
        topic, style = rng.choice(world.topics), rng.choice(STYLES)
        other = rng.choice([name for name in STYLES if name != style])
        missed = rng.choice((frozenset[str](), frozenset({other})))
        yield {
            "prompt": [
                {"role": "system", "content": wish(frozenset({style}), world, rng)},
                {"role": "user", "content": ask(topic, rng)},
            ],
            "chosen": _answer(topic, frozenset({style}), world, rng),
            "rejected": _answer(topic, missed, world, rng),
        }


def _answer(
    topic: Topic, styles: frozenset[str], world: World, rng: random.Random
) -> list[dict[str, str]]:
    text = advise(topic, world, Coins(rng, styles, fully=True))
    return [{"role": "assistant", "content": text}]


def main(
    out: Annotated[Path, typer.Option(help="Folder of the reward model.")],
    model: Annotated[str, typer.Option(help="What is trained, and compared with.")] = "pocket",
    count: Annotated[int, typer.Option("--pairs", help="How many pairs to learn from.")] = 1200,
    beta: Annotated[float, typer.Option(help="How strongly it is held to the model.")] = 0.1,
    seed: int = 0,
) -> None:
    """Train the reward model and leave it in the folder."""
    # Seconds to import, for which nobody should wait who wants the pairs alone.
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    folder = resolve_model(model)
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype="float32"),
        args=DPOConfig(
            output_dir=str(out),
            beta=beta,
            # The second term keeps the chosen answers likely; pairs alone are content to make
            # both less so, and a model that is worse at facts rewards worse facts.
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, 1.0],
            max_length=MAX_LENGTH,
            learning_rate=1e-4,
            lr_scheduler_type="linear",
            per_device_train_batch_size=16,
            num_train_epochs=1,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            seed=seed,
            logging_steps=20,
            save_strategy="no",
            report_to=[],
        ),
        processing_class=AutoTokenizer.from_pretrained(folder),
        train_dataset=Dataset.from_list(list(islice(pairs(load_world(), seed), count))),
    )
    trainer.train()
    trainer.save_model(str(out))


if __name__ == "__main__":
    typer.run(main)
