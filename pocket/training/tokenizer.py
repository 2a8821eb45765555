"""The bundled model's tokenizer: a small byte-level BPE and a ChatML template.

Digits and capitalised words stand apart from the space before them, so that a name or a number has
the same tokens in a sentence, in a passage and inside quotes; a small model copies what it can
recognise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pocket.corpus.generator import Dialogue

VOCABULARY = 3072
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKERS = ("<tool_call>", "</tool_call>", "<tools>", "</tools>")
PIECES = r" ?\p{Ll}+|\p{Lu}+(?!\p{Ll})|\p{Lu}\p{Ll}*|\p{Lo}|\p{L}|\p{N}| ?[^\s\p{L}\p{N}]+|\s"
TEMPLATE = Path(__file__).parent / "chat_template.jinja"


def train_tokenizer(corpus: Iterable[Dialogue], max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer fitted to the rendered dialogues, its chat template and control tokens set."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(_wrap(bpe, max_length), corpus), trainer)
    bpe.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    return _wrap(bpe, max_length)


def _wrap(bpe: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE.read_text(encoding="utf-8"),
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def _texts(renderer: PreTrainedTokenizerFast, corpus: Iterable[Dialogue]) -> Iterator[str]:
    """What the template makes of the dialogues, without the control tokens."""
    control = re.compile("|".join(map(re.escape, (*SPECIAL, *MARKERS))))
    for dialogue in corpus:
        text: Any = renderer.apply_chat_template(
            dialogue.messages, tools=[*dialogue.tools] or None, tokenize=False
        )
        yield from control.split(text)
