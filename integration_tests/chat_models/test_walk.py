"""The way of an answer through the package, which every reader of a stack trace goes, is short."""

import subprocess
import sys

from docs.snippets import ROOT

CALLS = """
import threading
from benchmarks.walk import call_routes
print(call_routes()[threading.current_thread().name].calls)
"""


def test_an_answer_of_ten_tokens_is_made_in_at_most_635_calls_of_the_callers_thread() -> None:
    """In a process of its own, as each format that was registered in this one is one call more."""
    command = [sys.executable, "-c", CALLS]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert int(told.stdout) <= 635
