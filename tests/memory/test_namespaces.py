"""Where a user's preferences are: one user's never where another's are."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.memory.namespaces import Namespace, RecordLocation

users = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40).filter(
    str.strip
)
patterns = st.sampled_from(
    [("preferences",), ("users", "{user_id}"), ("{user_id}", "of-{user_id}", "wishes")]
)


@given(patterns, users, users)
def test_no_two_users_share_a_location(pattern: tuple[str, ...], one: str, other: str) -> None:
    assume(one != other and "." not in one + other)
    namespace = Namespace.of(pattern)
    first, second = namespace.location(one), namespace.location(other)
    assert (first.namespace, first.key) != (second.namespace, second.key)
    assert first.history != second.history


@given(users, users)
def test_a_history_is_one_users_whatever_the_ids_hold(one: str, other: str) -> None:
    assume(one != other)
    namespace = Namespace.of(("preferences",))
    assert namespace.location(one).history != namespace.location(other).history
    assert all("." not in label for label in namespace.location(one).history)


@given(patterns, users)
def test_a_namespace_tells_whose_it_is(pattern: tuple[str, ...], user: str) -> None:
    assume("." not in user)
    namespace = Namespace.of(pattern)
    assert namespace.user_of(namespace.location(user).namespace) == (
        user if namespace.owned else None
    )


def test_a_namespace_of_other_users_or_depth_is_nobodys() -> None:
    namespace = Namespace.of(("users", "{user_id}", "of-{user_id}"))
    assert namespace.user_of(("users", "ada", "of-ada")) == "ada"
    for other in (("users", "ada", "of-bob"), ("users", "ada"), ("files", "ada", "of-ada")):
        assert namespace.user_of(other) is None


def test_the_convention_is_one_item_per_user() -> None:
    location = Namespace.of(("preferences",)).location("ada@example.com")
    assert location == RecordLocation(
        "ada@example.com", ("preferences",), "ada@example.com", owned=False
    )


def test_a_functions_namespace_is_never_taken_for_a_users_own() -> None:
    namespace = Namespace.of(lambda user: ("tenants", "ada"))
    assert namespace.location("ada") == RecordLocation(
        "ada", ("tenants", "ada"), "ada", owned=False
    )


@pytest.mark.parametrize(
    "given",
    [(), "users", ("",), ("a.b",), ("a\0b",), ("langgraph", "x"), ("preference_changes",), (1,), 3],
    ids=repr,
)
def test_what_no_store_takes_for_a_namespace_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="namespace"):
        Namespace.of(given)
    with pytest.raises(ConfigurationError, match="namespace"):
        Namespace.of(lambda user: given).location("ada")


@pytest.mark.parametrize("user", ["a.b", "langgraph", "preference_changes"])
def test_a_user_who_makes_no_namespace_is_refused_where_one_is_needed(user: str) -> None:
    with pytest.raises(PreferenceError, match="full stops"):
        Namespace.of(("{user_id}", "preferences")).location(user)
    assert Namespace.of(("preferences",)).location(user).key == user


@pytest.mark.parametrize(
    "user", [None, 3, b"ada", "", " ", "a\nb", "a\0", "\ud800", "é" * 129, ["ada"]], ids=repr
)
def test_what_tells_no_user_from_others_is_refused(user: Any) -> None:
    with pytest.raises(PreferenceError, match="user's id"):
        Namespace.of(("preferences",)).location(user)
