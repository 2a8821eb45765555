"""What is far longer than a limit is told as such in slices, and nothing else is."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from langchain_amulet.chat_formats.control_tokens import ControlTokens
from langchain_amulet.chat_formats.long_texts import (
    CHARACTERS_PER_TOKEN,
    SLACK,
    SLICE,
    is_longer,
    slices,
)
from support.tokenizers import byte_fallback, byte_level

TOKENIZERS = (byte_level(), byte_fallback())
LONGEST = 128
"""Characters of a token of `RUNS`."""


def of_runs() -> PreTrainedTokenizerFast:
    """A tokenizer of runs of one character, so long that a text of them has to be looked at."""
    lengths = [2**power for power in range(LONGEST.bit_length())]
    runs = [sign * length for length in lengths for sign in "a "]
    merges = [(run, run) for run in runs if len(run) < LONGEST]
    model = models.BPE(vocab={run: index for index, run in enumerate(runs)}, merges=merges)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))


RUNS = of_runs()
lengths = st.lists(st.integers(SLICE // 4, 2 * SLICE), min_size=1, max_size=6)


@given(lengths=lengths)
def test_a_text_within_the_limit_is_never_called_longer(lengths: list[int]) -> None:
    text = "".join("a "[place % 2] * length for place, length in enumerate(lengths))
    count = len(RUNS.encode(text))
    assert len(text) > CHARACTERS_PER_TOKEN * count, "else it isn't looked at"
    assert not is_longer(RUNS, text, count)


@given(lengths=lengths)
def test_a_text_of_some_more_tokens_for_each_slice_is(lengths: list[int]) -> None:
    text = "".join("a "[place % 2] * length for place, length in enumerate(lengths))
    slack = SLACK * (1 + len(text) // SLICE)
    assert is_longer(RUNS, text, len(RUNS.encode(text)) - slack - 1)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_text_far_beyond_it_is(tokenizer: object) -> None:
    text = "the weather in Rome " * 2000
    assert is_longer(tokenizer, text, len(text) // CHARACTERS_PER_TOKEN // 2)


@given(length=st.integers(0, 3 * SLICE), overlap=st.integers(0, 50))
def test_slices_are_the_whole_text_and_overlap(length: int, overlap: int) -> None:
    text = "".join(chr(97 + place % 26) for place in range(length))
    parts = list(slices(text, overlap))
    assert "".join(part[:SLICE] for part in parts) == text
    for part, following in pairwise(parts):
        assert following.startswith(part[SLICE:])


@pytest.mark.parametrize("before", range(SLICE - 12, SLICE + 2))
def test_a_control_token_is_found_where_slices_meet(before: int) -> None:
    tokenizer = byte_level()
    control = tokenizer.eos_token
    text = "a" * before + str(control) + "b" * SLICE
    assert ControlTokens(tokenizer).stand_in(text)
    assert not ControlTokens(tokenizer).stand_in(text.replace(str(control), ""))
