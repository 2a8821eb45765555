"""A stored preference is on the way of every answer, and that way is short."""

from benchmarks.walk import lookup_route
from langchain_amulet.memory import StoredPreference

WRITERS = ("merging.py", "writing.py")


def test_a_stored_preference_is_found_in_at_most_30_calls() -> None:
    assert lookup_route().calls <= 30


def test_and_without_what_writers_need() -> None:
    known = StoredPreference("Keep it short.", strength="strong", when="sleep")
    for route in (lookup_route(), lookup_route(known)):
        assert not any(file.endswith(WRITERS) for file in route.steps)
