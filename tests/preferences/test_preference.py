"""What a preference may be made of; and lists of them, which end however they are nested."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory import StoredPreference
from langchain_amulet.preferences.preference import MOST_PREFERENCES, Preference, as_preferences


def nested(depth: int) -> Any:
    found: Any = "Be kind."
    for _ in range(depth):
        found = [found]
    return found


def cyclic(width: int) -> list[Any]:
    found: list[Any] = []
    found.extend([found] * width)
    return found


def test_lists_in_lists_are_read_in_their_order() -> None:
    value = ["a", [["b", None, ("c",)], []], {"text": "d"}]
    assert [each.text for each in as_preferences(value)] == ["a", "b", "c", "d"]


def test_nesting_may_be_deep() -> None:
    assert len(as_preferences(nested(MOST_PREFERENCES))) == 1


@pytest.mark.parametrize(
    "value",
    [
        nested(MOST_PREFERENCES + 1),
        nested(100_000),
        cyclic(1),
        cyclic(MOST_PREFERENCES),
        ["Be kind."] * (MOST_PREFERENCES + 1),
        [[]] * 10**6,
    ],
    ids=["too deep", "far too deep", "a cycle", "a wide cycle", "too many", "too many of nothing"],
)
def test_what_never_ends_or_is_too_much_is_refused(value: Any) -> None:
    with pytest.raises(PreferenceError, match="at most 1000 preferences") as caught:
        as_preferences(value)
    assert "Be kind" not in str(caught.value)


@pytest.mark.parametrize("fields", [{"when": ["work"]}, {"expires_at": None}], ids=str)
def test_what_only_a_stored_preference_has_is_said_to_be_its(fields: dict[str, Any]) -> None:
    with pytest.raises(PreferenceError, match="unknown: a StoredPreference has it"):
        Preference("Be kind.", **fields)
    StoredPreference("Be kind.", **fields)
    with pytest.raises(PreferenceError, match=r"'whem' is unknown: did you mean 'when'\?"):
        StoredPreference("Be kind.", whem=["work"])


@pytest.mark.parametrize("kind", [Preference, StoredPreference])
@pytest.mark.parametrize("field", ["strength", "weight"])
@pytest.mark.parametrize("flag", [True, False])
def test_a_truth_value_is_no_number(kind: type[Preference], field: str, flag: bool) -> None:
    with pytest.raises(PreferenceError, match=f"'{field}' can't be {flag}: it must be a number"):
        kind("Be kind.", **{field: flag})
