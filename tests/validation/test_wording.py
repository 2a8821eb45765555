"""An error shows numbers and names, and of whatever may be somebody's words only the kind."""

import errno
import sqlite3
from contextlib import closing

import pytest

from langchain_amulet.validation.wording import kind_of, quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("amulet:strengh=2", "'amulet:strengh=2'"),
        ("", "''"),
        ("Keep it short.", "this text of 14 characters"),
        ("短く" * 3, "this text of 6 characters"),
        (0.5, "0.5"),
        (None, "None"),
        (int, "<class 'int'>"),
        (["a", "Keep it short."], "['a', this text of 14 characters]"),
        (
            {"lam": 0, "a b": "x y"},
            "{'lam': 0, this text of 3 characters: this text of 3 characters}",
        ),
        ({"Keep it short."}, "this set"),
        (b"Keep it short.", "this bytes"),
        ([0] * 9, "this list"),
    ],
)
def test_a_wrong_value_is_shown_if_it_is_a_number_or_a_name(value: object, shown: str) -> None:
    assert quoted(value) == shown


def test_a_wrong_value_that_holds_itself_is_shown_as_far_as_it_is_looked_at() -> None:
    circle: list[object] = [1]
    circle.append(circle)
    assert quoted(circle) == "[1, [1, [1, this list]]]"


class Unlike:
    """Says that it is a text."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return str


class Uncounted(list[object]):
    def __len__(self) -> int:
        raise RuntimeError("counted")


def test_a_value_that_cannot_be_looked_at_is_shown_by_its_kind() -> None:
    assert quoted(Unlike()) == "this Unlike"
    assert quoted([Uncounted()]) == "[this Uncounted]"
    assert quoted(-(10**5000)) == "this whole number of more than 60 digits"


def failing(statement: str) -> sqlite3.Error:
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(statement)
        except sqlite3.Error as error:
            return error
    raise AssertionError


def test_of_others_errors_the_kind_is_told_and_the_code_that_they_have() -> None:
    assert kind_of(ValueError("a wish")) == "ValueError"
    assert kind_of(OSError("a wish")) == "OSError"
    assert kind_of(OSError(errno.ENOSPC, "a wish")) == "OSError (ENOSPC)"
    assert kind_of(failing("SELECT wish")) == "OperationalError (SQLITE_ERROR)"
