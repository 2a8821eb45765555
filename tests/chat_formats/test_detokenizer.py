from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import decoders
from transformers import PreTrainedTokenizerFast

from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from support.tokenizers import (
    CONTROLS,
    byte_fallback,
    byte_level,
    unigram,
    word_level,
    word_suffixes,
    wordpiece,
)

NESTED = decoders.Sequence([decoders.Fuse(), decoders.Sequence([decoders.ByteLevel()])])
KINDS = {
    "byte_level": byte_level(),
    "byte_level, decoded in steps": byte_level(decoder=NESTED),
    "byte_level, never decoded": byte_level(decoder=None),
    "byte_fallback": byte_fallback(),
    "unigram": unigram(),
    "wordpiece": wordpiece(),
    "word_suffixes": word_suffixes(),
    "word_level, never decoded": word_level(),
}
SPELLINGS = {kind: TokenBytes(tokenizer) for kind, tokenizer in KINDS.items()}
WORDS = ["How", "do", "I", "sleep", "better?", "Keep", "it", "kind,", "short!"]
WITH_BYTES = [kind for kind in KINDS if kind.startswith("byte")]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_kind_with_bytes = pytest.mark.parametrize("kind", WITH_BYTES)
every_decoded_kind = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind != "byte_level, never decoded"]
)
"""Without a decoder the library shows bytes in GPT-2's alphabet, which nobody can read."""


def stream(kind: str, ids: list[int]) -> list[str]:
    """What is shown after each token, and at the end."""
    text = Detokenizer(SPELLINGS[kind])
    return [*(text.feed(token) for token in ids), text.flush()]


def encode(kind: str, text: str) -> list[int]:
    return list(KINDS[kind].encode(text, add_special_tokens=False))


def decode(kind: str, ids: list[int]) -> str:
    tokenizer: PreTrainedTokenizerFast = KINDS[kind]
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@every_kind_with_bytes
@given(text=st.text())
def test_any_text_comes_back_as_it_was(kind: str, text: str) -> None:
    text = text.encode("utf-8", "ignore").decode().lstrip()
    assume(not any(special in text for special in [*CONTROLS, "<unk>"]))
    assert "".join(stream(kind, encode(kind, text))) == text


@every_decoded_kind
@given(words=st.lists(st.sampled_from(WORDS)))
def test_the_stream_joined_is_what_the_tokenizer_decodes_at_once(
    kind: str, words: list[str]
) -> None:
    ids = encode(kind, " ".join(words))
    assert "".join(stream(kind, ids)) == decode(kind, ids)


class Spaced:
    """A decoder in Python, which the library can't tell the kind of."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [("" if place == 0 else " ") + token for place, token in enumerate(tokens)]


@given(words=st.lists(st.sampled_from(WORDS)))
def test_a_decoder_in_python_is_asked_for_what_each_token_adds(words: list[str]) -> None:
    tokenizer = word_level()
    tokenizer.backend_tokenizer.decoder = decoders.Decoder.custom(Spaced())
    text = Detokenizer(TokenBytes(tokenizer))
    ids = tokenizer.encode(" ".join(words), add_special_tokens=False)
    shown = "".join(map(text.feed, ids)) + text.flush()
    assert shown == tokenizer.decode(ids, skip_special_tokens=True)


@every_kind_with_bytes
@given(text=st.text(alphabet="a 你🙂é👩\u200d", min_size=1))
def test_no_half_character_is_ever_shown(kind: str, text: str) -> None:
    for piece in stream(kind, encode(kind, text)):
        assert "\N{REPLACEMENT CHARACTER}" not in piece


def test_characters_whose_bytes_overlap_two_tokens_are_shown_whole() -> None:
    class Overlapping:
        """Tokens that end inside one character and go on with the next."""

        all_special_ids: tuple[int, ...] = ()
        added_tokens_decoder: dict[int, str] = {}  # noqa: RUF012
        pieces = ("你好吗".encode()[:2], "你好吗".encode()[2:4], "你好吗".encode()[4:])

        def convert_ids_to_tokens(self, index: int) -> bytes:
            return self.pieces[index]

    text = Detokenizer(TokenBytes(Overlapping()))
    assert [text.feed(index) for index in range(3)] == ["", "你", "好吗"]


@given(ids=st.lists(st.integers(0, 2000)))
@every_kind
def test_no_sequence_of_ids_breaks_the_stream(kind: str, ids: list[int]) -> None:
    shown = "".join(stream(kind, ids))
    assert shown.encode("utf-8").decode("utf-8") == shown


@every_kind_with_bytes
def test_bytes_that_are_no_character_are_replaced_and_do_not_hold_up_the_rest(kind: str) -> None:
    cut = encode(kind, "🙂")[:-1]
    if kind == "byte_fallback":
        cut = encode(kind, "é🙂")[-4:-1]
    shown = stream(kind, [*cut, *encode(kind, "kind")])
    assert "".join(shown).strip("\N{REPLACEMENT CHARACTER} ") == "kind"
    assert shown[-1] == ""


@every_kind_with_bytes
def test_an_answer_cut_inside_a_character_ends_with_a_replacement(kind: str) -> None:
    shown = stream(kind, encode(kind, "a🙂")[:-1])
    assert shown[-1] == "\N{REPLACEMENT CHARACTER}"


@every_decoded_kind
def test_special_tokens_are_never_shown(kind: str) -> None:
    special = KINDS[kind].convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<|user|>"])
    how, better = encode(kind, "How"), encode(kind, "better?")
    assert "".join(stream(kind, [special[0], *how, special[1], *better, special[2]])) == decode(
        kind, [*how, *better]
    )


def test_control_tokens_that_are_not_special_are_shown_as_they_are_written() -> None:
    ids = encode("byte_level", "<tool_call>{}</tool_call>")
    assert "".join(stream("byte_level", ids)) == "<tool_call>{}</tool_call>"


@pytest.mark.parametrize("kind", ["byte_fallback", "unigram"])
def test_the_space_that_marks_the_first_word_is_stripped_and_no_other(kind: str) -> None:
    ids = encode(kind, "How do I sleep")
    assert "".join(stream(kind, ids)) == "How do I sleep"


def test_ids_beyond_the_vocabulary_have_no_text() -> None:
    assert "".join(stream("byte_level", [10**6])) == ""


def test_every_whole_character_is_shown_at_once() -> None:
    ids = encode("byte_level", "Keep it short")
    assert stream("byte_level", ids)[:-1] == [decode("byte_level", [index]) for index in ids]


@every_kind
def test_a_token_costs_the_same_however_long_the_text_is(kind: str) -> None:
    decoded: list[int] = []
    tokenizer = Counting(KINDS[kind], decoded.append)
    text = Detokenizer(TokenBytes(tokenizer))
    for token in encode(kind, "Keep it short, and be kind") * 50:
        text.feed(token)
    assert max(decoded, default=0) <= 2


class Counting:
    """A tokenizer that says how many ids it is asked to decode."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, report: Callable[[int], None]) -> None:
        self._tokenizer, self._report = tokenizer, report

    def __getattr__(self, name: str) -> object:
        return getattr(self._tokenizer, name)

    def decode(self, ids: list[int], **options: bool) -> str:
        self._report(len(ids))
        return str(self._tokenizer.decode(ids, **options))


# --- Texts that go on ---


@every_decoded_kind
def test_a_text_goes_on_where_another_ended_in_any_token(kind: str) -> None:
    ids = encode(kind, " ".join(WORDS))
    for place in range(1, len(ids)):
        if not SPELLINGS[kind].after(None, ids[place]):
            continue
        text = Detokenizer(SPELLINGS[kind], before=ids[place - 1])
        told = "".join([*(text.feed(token) for token in ids[place:]), text.flush()])
        assert decode(kind, ids).endswith(told)
        assert told.startswith(" ") == (decode(kind, ids)[-len(told)] == " ")


@every_kind_with_bytes
@given(gap=st.text("  \n\t\u2003", min_size=1), more=st.text())
def test_a_gap_that_is_there_already_is_not_shown(kind: str, gap: str, more: str) -> None:
    ids = encode(kind, f"a{gap}{more}")
    text = Detokenizer(SPELLINGS[kind], gap=f"a{gap}")
    assert "".join([*(text.feed(token) for token in ids), text.flush()]) == more


def test_what_begins_without_the_gap_is_shown_whole() -> None:
    text = Detokenizer(SPELLINGS["byte_level"], gap="  ")
    shown = [text.feed(token) for token in encode("byte_level", " x  y")]
    assert "".join([*shown, text.flush()]) == "x  y"
