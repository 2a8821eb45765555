"""What pydantic complains of becomes an error of the package, which keeps nothing alive."""

import asyncio
import gc
import time
import traceback
import weakref
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.waiting.deadline import Deadline, limited
from langchain_amulet.waiting.procedure import Procedure, arun, run
from langchain_amulet.waiting.threads import Workers
from langchain_amulet.waiting.wait import in_executor


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


def test_of_many_complaints_the_first_are_told_and_how_many_there_are() -> None:
    class Sizes(BaseModel):
        sizes: list[int]

    with pytest.raises(ConfigurationError) as refused, explained(ConfigurationError):
        Sizes.model_validate({"sizes": ["x"] * 10_000})
    assert str(refused.value).endswith("And so on, 10000 times in all.")
    assert len(str(refused.value)) < 1000
