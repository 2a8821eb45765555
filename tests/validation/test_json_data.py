"""Lists and dicts are taken as far as anybody reads them, and looked at in less time than that."""

from typing import Any

import pytest

from langchain_amulet.errors import PreferenceError
from langchain_amulet.validation.json_data import DEEPEST, MOST_VALUES, check_nesting


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
