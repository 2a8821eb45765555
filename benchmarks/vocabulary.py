"""A tokenizer as large as a real one's, made here: none of that size comes with the package.

Byte-level BPE over words of made-up syllables, words of Chinese characters, and runs of the symbols
of JSON and code, in about the shares that Qwen2's vocabulary has. What a grammar costs depends on
how many tokens there are and how they share beginnings, not on what the words mean.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from langchain_amulet.chat_formats.detokenizer import BYTE_OF

WORDS = 151_643
"""Tokens that aren't control tokens, as in Qwen2."""

CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKERS = ["<tool_call>", "</tool_call>"]
LETTER_OF = {byte: letter for letter, byte in BYTE_OF.items()}
ONSETS = ("", *"bcdfghjklmnprstvwxz", "ch", "sh", "th", "st", "tr", "pr")
VOWELS = (*"aeiou", "ai", "ea", "ou")
CODAS = ("", "", *"nrslt")
SYMBOLS = ' \n""\'{}[]():;,,..<>=-+*/\\_|&!?#@$%'
BLANKS = [" " * width for width in (2, 4, 8, 16)]


def large_tokenizer() -> PreTrainedTokenizerFast:
    """The same 151,648 tokens every time; a second's work."""
    vocabulary, merges = _byte_pairs()
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in CONTROLS])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in MARKERS])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=CONTROLS[-1])


def _byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Every text grows letter by letter, so each of its beginnings is a token, too."""
    vocabulary = {letter: index for index, letter in enumerate(LETTER_OF.values())}
    merges: list[tuple[str, str]] = []
    for text in _texts():
        spelled = "".join(LETTER_OF[byte] for byte in text.encode())
        for end in range(2, len(spelled) + 1):
            if spelled[:end] not in vocabulary:
                vocabulary[spelled[:end]] = len(vocabulary)
                merges.append((spelled[: end - 1], spelled[end - 1]))
            if len(vocabulary) == WORDS:
                return vocabulary, merges
    raise AssertionError("texts are endless")


def _texts() -> Iterator[str]:
    rng = random.Random(0)
    yield from BLANKS
    while True:
        (make,) = rng.choices([_word, _chinese, _symbols], [75, 20, 5])
        yield make(rng)


def _word(rng: random.Random) -> str:
    syllables = rng.choices([1, 2, 3, 4], [2, 5, 4, 2])[0]
    parts = (ONSETS, VOWELS, CODAS)
    word = "".join(rng.choice(part) for _ in range(syllables) for part in parts)
    ways = [" " + word, word, " " + word.capitalize(), word.capitalize(), word.upper()]
    return rng.choices(ways, [16, 8, 4, 4, 1])[0]


def _chinese(rng: random.Random) -> str:
    """Some characters are far commoner than others."""
    length = rng.choice([1, 2, 2, 3])
    return "".join(chr(0x4E00 + int(rng.paretovariate(0.5)) % 20_000) for _ in range(length))


def _symbols(rng: random.Random) -> str:
    return "".join(rng.choices(SYMBOLS, k=rng.randint(2, 4)))
