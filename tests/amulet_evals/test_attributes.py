"""What is counted in a text, on texts that one can count by hand."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_evals.reporting.results import DECODED_METRICS
from amulet_evals.run.grid import Task
from amulet_evals.scorers.attributes import (
    attributes,
    distinct,
    length,
    longest_repeat,
    readability,
    repetition,
    sentences,
)
from amulet_evals.scorers.functions import AttributeScorer, EchoScorer
from amulet_evals.scorers.scoring import ScorableAnswer
from support.evaluation import answer


@pytest.fixture(scope="module")
def counted():
    return attributes()


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("...", 0), ("Don't go!", 2), ("It's 3 o'clock, re-read _this_.", 6), ("你好", 1)],
)
def test_words_are_counted_without_punctuation(text, count):
    assert length(text) == count


def test_sentences_end_at_their_marks():
    assert sentences("One. Two! Three?! Four") == ["One.", " Two!", " Three?!", " Four"]


def test_repetition_is_the_share_of_n_grams_that_came_before():
    assert repetition("a b c d e") == 0.0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("no " * 20) == pytest.approx(16 / 17)
    assert repetition("A b! C, d. a B c D") == pytest.approx(1 / 5)
    assert repetition("too short") == 0.0


def test_distinct_n_is_the_share_of_different_n_grams():
    assert distinct("a b a b", 1) == 0.5
    assert distinct("a b a b", 2) == pytest.approx(2 / 3)
    assert distinct("", 1) == 1.0


@given(st.text(alphabet="ab .", max_size=40), st.integers(1, 5))
def test_what_isn_t_distinct_is_repeated(text, n):
    assert 0.0 <= distinct(text, n) <= 1.0
    assert repetition(text, n) == 1.0 - distinct(text, n)


def test_readability_is_coleman_and_liau_s_index():
    # 4 words of 5 letters in one sentence: 0.0588 x 500 - 0.296 x 25 - 15.8
    assert readability("Great stuff never sinks.") == pytest.approx(29.4 - 7.4 - 15.8)
    assert readability("It is so.") < readability("Considerable perseverance notwithstanding.")
    assert readability("!?") is None


def test_formality_is_heylighen_and_dewaele_s_f_score(counted):
    # the DT, cat NN, sat VBD, on IN, the DT, mat NN: five formal words and one informal of six
    assert counted["formality"]("The cat sat on the mat.") == pytest.approx(50 * (1 + 4 / 6))
    assert counted["formality"]("I really do so wish you would.") < 30
    assert counted["formality"](" - ") is None


def test_sentiment_tells_praise_from_blame(counted):
    praise, blame = "What a wonderful, happy day!", "A terrible, boring mess."
    assert counted["sentiment"](praise) > 0.5 > -0.5 > counted["sentiment"](blame)
    assert counted["sentiment"]("The table has four legs.") == 0.0


@given(text=st.text(max_size=60))
def test_any_text_can_be_counted(counted, text):
    for value in (count(text) for count in counted.values()):
        assert value is None or value == value


def test_nothing_is_fetched(monkeypatch, counted):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    for count in attributes().values():
        count("A fresh word, such as zeugma, needs no dictionary from elsewhere.")


def test_echoes_are_counted_but_for_what_question_and_system_message_say():
    def count(question: str, text: str, system: str = "") -> float | None:
        task = Task("pocket", "amulet", question, "Please use a formal tone.")
        found = answer(text, task)
        (score,) = EchoScorer(system).score([ScorableAnswer(question, found, task.preference)])
        return score.values["echoes"]

    recited = "Of course. Please use a formal tone!"
    assert count("Why?", recited) == 3.0
    assert count("Why use a formal letter?", recited) == 2.0
    assert count("Why?", recited, system="Never use a formal tone.") == 1.0
    assert count("Why?", "Why not?") == 0.0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("one", 0),
        ("a b c d", 0),
        ("a b c. A b c?", 3),
        ("a b x a b y b", 2),
        ("no " * 5, 4),
    ],
)
def test_the_longest_repeat_is_the_longest_phrase_that_comes_again(text, count):
    assert longest_repeat(text) == count


@given(st.text(alphabet="ab ", max_size=30))
def test_a_phrase_as_long_as_the_longest_repeat_comes_twice_and_no_longer_one_does(text):
    longest = longest_repeat(text)
    assert distinct(text, longest + 1) == 1.0
    assert longest == 0 or distinct(text, longest) < 1.0


def test_nothing_that_saying_less_would_win_is_ever_called_best():
    counted = (*AttributeScorer().metrics, *EchoScorer().metrics, *DECODED_METRICS)
    assert {metric.better for metric in counted} == {None}
