"""A journal keeps every line that was finished, whatever happened to the one after it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_evals.run.journal import Journal, rows
from langchain_amulet.errors import ConfigurationError

texts = st.text(st.characters(), max_size=20)
lines = st.lists(st.dictionaries(texts, texts | st.integers(-9, 9) | st.none()), max_size=6)


@given(written=lines, after=lines, cut=st.integers(0, 60))
def test_wherever_a_write_is_torn_the_lines_before_it_stay_and_others_follow(
    tmp_path_factory, written, after, cut
):
    path = tmp_path_factory.mktemp("journal") / "a.jsonl"
    with Journal(path) as journal:
        for row in written:
            journal.append(row)
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    whole = path.read_bytes().count(b"\n")
    assert list(rows(path)) == written[:whole]
    with Journal(path) as journal:
        for row in after:
            journal.append(row)
    assert list(rows(path)) == written[:whole] + after


def test_a_torn_line_longer_than_any_buffer_is_dropped(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": "' + b"x" * 300_000)
    with Journal(path) as journal:
        journal.append({"c": 3})
    assert list(rows(path)) == [{"a": 1}, {"c": 3}]
    path.write_bytes(b"x" * 300_000)
    with Journal(path) as journal:
        journal.append({"c": 3})
    assert list(rows(path)) == [{"c": 3}]


def test_every_line_is_in_the_file_before_append_returns(tmp_path):
    with Journal(tmp_path / "a.jsonl") as journal:
        for at in range(20):
            journal.append({"at": at, "text": "x" * at * 1000})
            assert [row["at"] for row in rows(tmp_path / "a.jsonl")] == list(range(at + 1))


def test_lines_are_plain_json_in_utf8(tmp_path):
    with Journal(tmp_path / "a.jsonl") as journal:
        journal.append({"text": "Größe\n你好"})
    (line,) = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert line == '{"text": "Größe\\n你好"}'
    with Journal(tmp_path / "a.jsonl") as journal, pytest.raises(ValueError, match="JSON"):
        journal.append({"value": float("nan")})


def test_there_is_nothing_where_there_is_no_file(tmp_path):
    assert list(rows(tmp_path / "none.jsonl")) == []


def test_a_line_that_somebody_else_wrote_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": 1}) + "\nwhat?\n" + json.dumps({"b": 2}))
    with pytest.raises(ConfigurationError, match="line 2"):
        list(rows(tmp_path / "a.jsonl"))
