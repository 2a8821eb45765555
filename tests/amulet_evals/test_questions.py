"""Questions and styles from files, and samples of them."""

import json
from pathlib import Path

import pytest

from amulet_evals.data.questions import Question, QuestionSet, QuestionSource, read_sets
from amulet_evals.data.questions import read_questions as read
from amulet_evals.data.styles import (
    PAPER_STYLES,
    Example,
    Style,
    read_styles,
    traits_in,
    with_examples,
)
from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.preferences import TRAITS, Preference
from langchain_amulet.preferences.traits import read_levels

TEXTS = ("What is the composition of the trails?", 'Why, "why"?\nAnd how?', "你好？")  # noqa: RUF001
QUOTED = {text: text.replace('"', '""') for text in TEXTS}


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps([{"index": i, "question": t} for i, t in enumerate(TEXTS)])),
        ("a.json", "\ufeff" + json.dumps(TEXTS, ensure_ascii=False, indent=4)),
        ("a.jsonl", "\n".join(json.dumps({"question": text}) for text in TEXTS)),
        ("a.JSONL", "\n\n".join(json.dumps(text) for text in TEXTS) + "\n\n"),
        ("a.csv", "id,question\n" + "".join(f'{i},"{QUOTED[t]}"\n' for i, t in enumerate(TEXTS))),
    ],
    ids=["the authors' rows", "a list of texts", "objects in lines", "texts in lines", "csv"],
)
def test_questions_are_the_same_from_every_kind_of_file(tmp_path, name, text):
    found = read(QuestionSource(source=write(tmp_path, name, text)))
    assert found.name == "a"
    assert tuple(question.text for question in found.questions) == TEXTS
    assert len({question.id for question in found.questions}) == len(TEXTS)


def test_a_row_s_own_name_is_kept_if_it_is_its_own(tmp_path):
    rows = [{"id": "x", "question": "A?"}, {"index": 7, "question": "B?"}, {"question": "C?"}]
    found = read(QuestionSource(source=write(tmp_path, "a.json", json.dumps(rows))))
    assert [question.id for question in found.questions] == ["x", "7", "3"]
    rows[1]["index"] = "x"
    found = read(QuestionSource(source=write(tmp_path, "a.json", json.dumps(rows))))
    assert [question.id for question in found.questions] == ["1", "2", "3"]


def test_column_and_name_are_chosen(tmp_path):
    source = write(tmp_path, "a.csv", "prompt,other\nA?,x\n")
    found = read(QuestionSource(source=source, column="prompt", name="Mine"))
    assert found == QuestionSet("Mine", (Question("1", "A?"),))


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("a.json", "[", "must hold what its name says"),
        ("a.json", '{"question": "A?"}', "it holds dict and no list"),
        (
            "a.json",
            '[{"query": "A?"}]',
            r"row 1 .* no text .*'question': its columns are \['query'",
        ),
        ("a.json", '["A?", ""]', "row 2 .* it is ''"),
        ("a.jsonl", '"A?"\n{"question": 3}', "row 2"),
        ("a.jsonl", '"A?"\n"B', "must hold what its name says"),
        ("a.csv", "query\nA?\n", r"its columns are \['query'\]"),
        ("a.json", "[]", "one at least, but '.*' has none"),
        ("a.csv", "question\n", "one at least, but '.*' has none"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_with_its_name(tmp_path, name, text, rule):
    source = write(tmp_path, name, text)
    with pytest.raises(ConfigurationError, match=rule) as refused:
        read(QuestionSource(source=source))
    assert "a.json" in str(refused.value) or "a.csv" in str(refused.value)


def test_sources_are_told_apart_by_their_names(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "test.json", json.dumps(TEXTS))
    first, second = (
        QuestionSource(source=str(tmp_path / each / "test.json")) for each in ("one", "two")
    )
    with pytest.raises(ConfigurationError, match="two are called 'test'"):
        read_sets([first, second], limit=None, seed=0)
    named = second.model_copy(update={"name": "other"})
    assert [each.name for each in read_sets([first, named], 2, seed=0)] == ["test", "other"]


def test_a_missing_file_is_refused_and_not_sought_on_the_hub(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        read(QuestionSource(source=str(tmp_path / "none.jsonl")))


def test_a_data_set_needs_a_package_and_the_error_says_which(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ConfigurationError, match=r"install 'langchain-amulet\[evaluate\]'"):
        read(QuestionSource(source="owner/name"))


def test_a_sample_keeps_the_order_and_grows_with_its_limit():
    questions = QuestionSet("a", tuple(Question(str(at), f"{at}?") for at in range(50)))
    before: set[Question] = set()
    for limit in (1, 7, 20, 49, 50, 80):
        chosen = questions.sample(limit, seed=3).questions
        assert len(chosen) == min(limit, 50)
        assert list(chosen) == sorted(chosen, key=lambda question: int(question.id))
        assert before <= set(chosen)
        before = set(chosen)
    assert questions.sample(None, seed=3) == questions
    assert questions.sample(20, seed=3) == questions.sample(20, seed=3)
    assert questions.sample(20, seed=3) != questions.sample(20, seed=4)


def test_a_name_of_the_paper_stands_for_its_sentence():
    (creative,) = read_styles(["creative"])
    assert creative == Style("creative", ("Your answer should be creative as much as possible.",))
    assert [style.name for style in read_styles(PAPER_STYLES)] == list(PAPER_STYLES)


def test_any_other_text_is_its_own_name():
    assert read_styles(["Keep it short."]) == (Style("Keep it short.", ("Keep it short.",)),)


@pytest.mark.parametrize("text", ["concise ++", "Warm, formal -", "concise+"])
def test_traits_are_known_wherever_a_style_is_worded(tmp_path, text):
    expected = tuple(Preference.trait(name, level) for name, level in read_levels(text, TRAITS))
    for given in ([text], [write(tmp_path, "a.txt", text)], {text: ["Be short.", text]}):
        (style,) = read_styles(given)
        assert style.name == text
        assert traits_in(style.wordings[-1]) == expected


def test_names_of_the_paper_and_words_are_no_traits():
    for text in (*PAPER_STYLES, "Be concise.", "concise answers, formal words"):
        (style,) = read_styles([text])
        assert traits_in(style.wordings[0]) == ()


@pytest.mark.parametrize("text", ["concise +++", "concise ++, kind", "Notepad++"])
def test_what_is_meant_for_traits_and_isn_t_is_told(text):
    for given in ([text], {"style": text}):
        with pytest.raises(PreferenceError, match="Traits with"):
            read_styles(given)


def test_traits_that_push_away_from_their_words_are_no_style():
    with pytest.raises(ConfigurationError, match="say in words what is wanted"):
        read_styles(["creative -"])
    assert read_styles(["formal --"])  # which has words of its own


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "Be kind.\n\n  \nBe short.\n"),
        ("a.json", '["Be kind.", "Be short."]'),
        ("a.json", '{"Be kind.": "Be kind.", "Be short.": ["Be short."]}'),
    ],
)
def test_preferences_come_from_files(tmp_path, name, text):
    listed = read_styles([write(tmp_path, name, text), "concise"])
    assert listed == read_styles(["Be kind.", "Be short.", "concise"])


def test_a_file_s_name_may_have_spaces_and_a_preference_may_end_like_one(tmp_path):
    (tmp_path / "my preferences.txt").write_text("Be kind.\n")
    (style,) = read_styles([str(tmp_path / "my preferences.txt")])
    assert style.name == "Be kind."
    for text in ("Answer as in notes.txt", "Answer as in " + "very " * 99 + "old notes.txt"):
        assert read_styles([text]) == (Style(text, (text,)),)


def test_a_style_s_wordings_take_turns_and_each_question_keeps_its_own():
    (style,) = read_styles({"short": ["Be short.", "Keep it brief.", "Few words."]})
    asked = [f"{at}?" for at in range(300)]
    wordings = [style.wording(question, seed=0) for question in asked]
    assert wordings == [style.wording(question, seed=0) for question in asked]
    assert wordings != [style.wording(question, seed=1) for question in asked]
    assert all(wordings.count(wording) > 70 for wording in style.wordings)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ([], "none is given"),
        (["creative", "creative"], "'creative' is given twice"),
        ({"short": []}, "'short' has"),
        ({"short": ["Be short.", " "]}, "'short' has"),
        ({"short": 3}, "'short' has 3"),
        (["missing.txt"], "can't be read from 'missing.txt'"),
    ],
)
def test_what_is_no_preference_is_refused(given, rule):
    with pytest.raises(ConfigurationError, match=rule):
        read_styles(given)


@pytest.mark.parametrize("text", ["{", "3", '[1, "Be kind."]'])
def test_a_file_without_preferences_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match="preference"):
        read_styles([write(tmp_path, "a.json", text)])


def test_examples_of_no_style_are_refused_with_the_styles_that_there_are():
    example = Example(question="Tea?", answer="Yes.")
    with pytest.raises(ConfigurationError, match="not of 'creatif': did you mean 'creative'"):
        with_examples(read_styles(["creative"]), {"creatif": [example]})
