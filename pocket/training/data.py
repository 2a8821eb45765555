"""Dialogues as token batches: what the model reads, and which tokens it is to learn from.

Dialogues are not packed: each starts at position 0, as at inference, and batches are made of
dialogues of about one length, so that little is padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import PreTrainedTokenizerFast

from pocket.corpus.generator import Dialogue, dialogues
from pocket.corpus.world import World

CONTEXT_WEIGHT = 0.1  # of a token that the assistant reads, against 1 for one that it writes
LENGTHS = (64, 96, 128, 160, 192, 256, 320, 448)  # tokens; a dialogue is padded to the next

Encoded = tuple[list[int], list[int]]


@dataclass(frozen=True)
class Batch:
    """Right-padded ids and loss weights, both ``[rows, length]``."""

    ids: Tensor
    weights: Tensor


def encode(dialogue: Dialogue, tokenizer: PreTrainedTokenizerFast) -> Encoded:
    """Token ids through the chat template, and a 1 for each that the assistant writes."""
    encoded: Any = tokenizer.apply_chat_template(
        dialogue.messages,
        tools=[*dialogue.tools] or None,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return encoded["input_ids"], encoded["assistant_masks"]


class Batches(IterableDataset[Batch]):
    """An endless stream of batches of about ``tokens`` tokens each, the same for the same seed.

    There is one shape of batch per length in `LENGTHS`, so that a compiled model sees few shapes.
    """

    def __init__(
        self, world: World, tokenizer: PreTrainedTokenizerFast, *, tokens: int, seed: int
    ) -> None:
        """``tokens`` is a batch's rows times its length, padding included."""
        self._world, self._tokenizer = world, tokenizer
        self._tokens, self._seed = tokens, seed

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batch of a length as soon as it has all its rows; overlong dialogues go."""
        waiting: dict[int, list[Encoded]] = {length: [] for length in LENGTHS}
        for dialogue in dialogues(self._world, self._seed):
            encoded = encode(dialogue, self._tokenizer)
            length = next((n for n in LENGTHS if n >= len(encoded[0])), None)
            if length is None:
                continue
            waiting[length].append(encoded)
            if len(waiting[length]) == self._tokens // length:
                yield _pad(waiting[length], length)
                waiting[length] = []


def _pad(rows: list[Encoded], length: int) -> Batch:
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    weights = torch.zeros(len(rows), length)
    for row, (tokens, learned) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        written = torch.tensor(learned, dtype=torch.float32)
        weights[row, : len(tokens)] = written + CONTEXT_WEIGHT * (1 - written)
    return Batch(ids, weights)
