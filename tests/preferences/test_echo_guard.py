"""What counts as an echo of a preference, and by which tokens one would come about."""

from __future__ import annotations

import random

import pytest
from transformers import AutoTokenizer

from langchain_amulet.chat_formats.detokenizer import TokenBytes
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.preferences.echo_guard import (
    EchoGuard,
    WordPieces,
    echoes,
    phrases,
)
from support.tokenizers import byte_level

FORMAL = "Please use a formal tone."


def test_phrases_are_three_words_in_a_row_in_any_case() -> None:
    assert phrases([FORMAL]) == {"please use a", "use a formal", "a formal tone"}


def test_two_words_are_one_phrase_and_one_word_is_none() -> None:
    assert phrases(["Be brief!", "formal"]) == {"be brief"}


def test_characters_are_words_where_words_are_not_separated() -> None:
    assert phrases(["请用正式的"]) == {"请 用 正", "用 正 式", "正 式 的"}


def test_what_the_conversation_says_is_no_phrase() -> None:
    said = ["Why do you USE a... formal", "tone of voice?"]
    assert phrases([FORMAL], said) == {"please use a", "a formal tone"}


def test_an_echo_is_found_whatever_stands_between_its_words() -> None:
    assert echoes("Well:\nplease, USE a formal tone", [FORMAL]) == 3
    assert echoes("please use an informal tone", [FORMAL]) == 0
    assert echoes("a formal tone", [FORMAL], ["What is a formal tone?"]) == 0


class Vocabulary:
    """A tokenizer with its bytes and pieces."""

    def __init__(self, name: str) -> None:
        self.tokenizer = (
            AutoTokenizer.from_pretrained(POCKET_FOLDER) if name == "pocket" else byte_level()
        )
        self.size = len(self.tokenizer)
        self.bytes = TokenBytes(self.tokenizer)
        self.pieces = WordPieces(self.bytes, self.size)

    def guard(self, *preferences: str) -> EchoGuard:
        return EchoGuard(phrases(preferences), self.bytes, self.pieces)

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def text(self, ids: list[int]) -> str:
        return b"".join(map(self.bytes.of, ids)).decode(errors="ignore")


@pytest.fixture(scope="module", params=["pocket", "bytes"])
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return Vocabulary(request.param)


def completes(phrase: str, before: str, after: str) -> bool:
    """Whether a text becomes one that has begun the phrase's last word, or said it."""
    last = phrase.rindex(" ") + 1

    def words(text: str) -> str:
        letters = "".join(c if c.isalnum() else " " for c in text.casefold())
        return f" {' '.join(letters.split())}"

    said = words(after)
    ends = range(last + 1, len(phrase) + 1)
    return said != words(before) and any(said.endswith(f" {phrase[:end]}") for end in ends)


@pytest.mark.parametrize("seed", range(30))
def test_held_are_the_tokens_behind_which_the_last_word_of_a_phrase_is_begun(
    vocabulary: Vocabulary, seed: int
) -> None:
    generator = random.Random(seed)
    found = phrases([FORMAL, "Be brief", "It helps to use a plan"])
    guard = EchoGuard(found, vocabulary.bytes, vocabulary.pieces)
    pieces = ["Please", " use", " USE", " a", "a", " formal", " form", ",", "\n", " be", " it", "s"]
    ids = vocabulary.ids("".join(generator.choices(pieces, k=generator.randrange(6))))
    before = vocabulary.text(ids)
    expected = {
        token
        for token in range(vocabulary.size)
        if any(completes(phrase, before, vocabulary.text([*ids, token])) for phrase in found)
    }
    assert guard.held(ids) == expected


def test_every_way_to_write_an_echo_passes_a_held_token(vocabulary: Vocabulary) -> None:
    guard = vocabulary.guard(FORMAL)
    for text in ("a formal tone", "A FORMAL TONE", "Use a *formal* tone.", "a\n\nformal\ntone"):
        ids = vocabulary.ids(f"Of course: {text}")
        assert any(ids[at] in guard.held(ids[:at]) for at in range(len(ids)))


def test_an_echo_may_begin_where_the_answers_beginning_is_given(vocabulary: Vocabulary) -> None:
    found = phrases([FORMAL])
    guard = EchoGuard(found, vocabulary.bytes, vocabulary.pieces, "Of course: a for")
    ids = vocabulary.ids("mal tone")
    assert any(ids[at] in guard.held(ids[:at]) for at in range(len(ids)))


def test_an_answer_without_a_phrase_passes_none(vocabulary: Vocabulary) -> None:
    guard = vocabulary.guard(FORMAL)
    ids = vocabulary.ids("Please do. Use forms, and a tone that is formal.")
    assert not any(ids[at] in guard.held(ids[:at]) for at in range(len(ids)))


def test_characters_are_held_back_before_the_last_of_a_phrase() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(list("请用正式的"))
    tokens = TokenBytes(tokenizer)
    guard = EchoGuard(phrases(["请用正式的"]), tokens, WordPieces(tokens, len(tokenizer)))
    ids = tokenizer.convert_tokens_to_ids(list("请用正式的"))
    assert [sorted(guard.held(ids[:at])) for at in range(5)] == [
        [],
        [],
        [ids[2]],
        [ids[3]],
        [ids[4]],
    ]
