"""The way of an answer through the package, which every reader of a stack trace goes, is short."""

import threading

from benchmarks.walk import call_routes


def test_an_answer_of_ten_tokens_is_made_in_at_most_600_calls_of_the_callers_thread() -> None:
    assert call_routes()[threading.current_thread().name].calls <= 600
