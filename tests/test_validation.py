"""What pydantic complains of becomes an error of the package, which keeps nothing alive."""

import asyncio
import errno
import gc
import sqlite3
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.validation import (
    DEEPEST,
    MOST_VALUES,
    check_nesting,
    explained,
    is_finite,
    kind_of,
    quoted,
)
from langchain_amulet.waiting import Deadline, Procedure, Workers, arun, in_executor, limited, run


def refuse(value: Any) -> Any:
    raise PreferenceError("A wish must be kind.")


class Small(BaseModel):
    size: int = Field(default=1, ge=1)
    wish: Annotated[Any, BeforeValidator(refuse)] = None


class Diary(BaseModel):
    day: datetime = Field(default=datetime(2026, 1, 1))


class Never(BaseModel):
    @model_validator(mode="after")
    def _refuse(self) -> "Never":
        raise ConfigurationError("Nothing fits together.")


REFUSALS: dict[str, Callable[[], object]] = {
    "a number out of its range": lambda: Small(size=0),
    "a text that is no date": lambda: Diary(day="soon"),
    "a field's own validator": lambda: Small(wish="x"),
    "a model's own validator": lambda: Never(),
}


def elsewhere(work: Callable[[], object]) -> Procedure[None, object]:
    """Have it done by another thread, if who runs this doesn't wait in their own."""
    return (yield in_executor(work, Workers(1)))


LATE = Deadline(time.monotonic() + 1000.0, TimeoutError)

WAYS: dict[str, Callable[[Callable[[], object]], object]] = {
    "in this thread": lambda work: run(elsewhere(work)),
    "in time": lambda work: run(limited(elsewhere(work), LATE)),
    "beside an event loop": lambda work: asyncio.run(arun(elsewhere(work))),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("make", REFUSALS.values(), ids=REFUSALS)
def test_an_error_that_is_dropped_takes_along_what_its_call_held(
    make: Callable[[], object], way: Callable[[Callable[[], object]], object]
) -> None:
    class Held:
        """Stands for a conversation, or for weights."""

    def call() -> weakref.ref[Held]:
        held = Held()

        def refused() -> None:
            with explained(ConfigurationError):
                make()

        try:
            way(refused)
        except (ConfigurationError, PreferenceError):
            return weakref.ref(held)
        raise AssertionError("nothing was refused")

    left, end = call(), time.monotonic() + 10.0
    while left() is not None and time.monotonic() < end:  # the thread may not be over yet
        gc.collect()
    assert left() is None


def test_a_validator_s_own_error_is_raised_as_it_is() -> None:
    with pytest.raises(PreferenceError, match="A wish must be kind"), explained(ConfigurationError):
        Small(wish="x")


def test_other_complaints_say_the_rule_and_the_value() -> None:
    with (
        pytest.raises(ConfigurationError, match="'size' can't be 0: it must be at least 1"),
        explained(ConfigurationError),
    ):
        Small(size=0)


def test_values_that_are_private_are_not_quoted() -> None:
    private = {"size": "my " + "secret"}
    with pytest.raises(ConfigurationError) as refused, explained(ConfigurationError, quoting=False):
        Small.model_validate(private)
    assert "secret" not in "".join(traceback.format_exception(refused.value))


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


# --- what an error may show of others' ---------------------------------------


def nested(depth: int) -> Any:
    value: Any = "a"
    for layer in range(depth):
        value = [value] if layer % 2 else {"a": value}
    return value


def endless() -> Any:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


def test_lists_and_dicts_lie_so_deep_in_one_another_and_no_deeper() -> None:
    check_nesting(PreferenceError, "It", nested(DEEPEST))
    for deeper in (nested(DEEPEST + 1), nested(100_000), endless()):
        with pytest.raises(PreferenceError, match=f"It may hold .* up to {DEEPEST} deep"):
            check_nesting(PreferenceError, "It", deeper)


def test_what_is_reached_in_many_ways_counts_as_often_and_is_looked_at_once() -> None:
    """Written out it would be longer than any memory."""
    value: Any = []
    for _ in range(DEEPEST - 1):
        value = [value, value]
    with pytest.raises(PreferenceError, match="100000 values together"):
        check_nesting(PreferenceError, "It", value)
    twice = [value := [1, 2], value]
    check_nesting(PreferenceError, "It", twice, most=6)
    with pytest.raises(PreferenceError, match="5 values together"):
        check_nesting(PreferenceError, "It", twice, most=5)
    with pytest.raises(PreferenceError, match="100000 values together"):
        check_nesting(PreferenceError, "It", dict.fromkeys(range(MOST_VALUES + 1)))


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


def test_whole_numbers_beyond_floats_are_no_numbers_to_calculate_with() -> None:
    assert [is_finite(number) for number in (2**1000, 10**400, -(10**5000))] == [True, False, False]


def test_of_many_complaints_the_first_are_told_and_how_many_there_are() -> None:
    class Sizes(BaseModel):
        sizes: list[int]

    with pytest.raises(ConfigurationError) as refused, explained(ConfigurationError):
        Sizes.model_validate({"sizes": ["x"] * 10_000})
    assert str(refused.value).endswith("And so on, 10000 times in all.")
    assert len(str(refused.value)) < 1000
