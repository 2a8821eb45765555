"""How far it is through the package: what a call passes on its way, function by function.

Counted is every function of the package that begins, the files that these are in, and how often
the way goes on in another file. A generator counts where it begins and not each time it goes on; a
generator expression is part of the function it is written in. From Python 3.12 on list
comprehensions are, too, so counts are a little lower there than on 3.11.

    python -m benchmarks.walk

Shown are a call of the bundled model that is loaded and warm, in the caller's thread and in the
engine's, and the lookup of a stored preference in an `InMemoryStore`. How often the engine's
thread looks for work before and after the call isn't the same each time.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

import langchain_amulet
from langchain_amulet import ChatAmulet, PreferenceMemory
from langchain_amulet.memory import StoredPreference

PACKAGE = str(Path(langchain_amulet.__file__).parent)
QUESTION, PREFERENCE = "How do I sleep better?", "Keep it short."


@dataclass(frozen=True)
class Route:
    """The functions that began, as the files that they are in, one after the other."""

    steps: tuple[str, ...]

    @property
    def calls(self) -> int:
        """How many functions began."""
        return len(self.steps)

    @property
    def files(self) -> int:
        """How many files they are in."""
        return len(set(self.steps))

    @property
    def switches(self) -> int:
        """How often the next one was in another file."""
        return sum(one != other for one, other in zip(self.steps, self.steps[1:], strict=False))


class Recorder:
    """Writes down what begins in this thread, and in those that were started `from_the_start`."""

    def __init__(self) -> None:
        """Record nothing yet."""
        self._steps: dict[str, list[str]] = {}
        self._frames: set[FrameType] = set()  # kept, so that no other has the same identity
        self._is_on = False

    @contextmanager
    def from_the_start(self) -> Iterator[None]:
        """Watch the threads that start meanwhile, too."""
        threading.setprofile(self._record)
        try:
            yield
        finally:
            threading.setprofile(None)  # type: ignore[arg-type]

    def record(self, call: Callable[[], object]) -> dict[str, Route]:
        """The way of a call, by the name of the thread."""
        self._steps, self._frames, self._is_on = {}, set(), True
        sys.setprofile(self._record)
        try:
            call()
        finally:
            sys.setprofile(None)
            self._is_on = False
        return {name: Route(tuple(steps)) for name, steps in self._steps.items()}

    def _record(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        if not self._is_on or event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_name != "<genexpr>" and frame not in self._frames:
            self._frames.add(frame)
            name = threading.current_thread().name
            self._steps.setdefault(name, []).append(code.co_filename)


def lookup_route(
    preference: StoredPreference | str = PREFERENCE, about: str | None = QUESTION
) -> Route:
    """The way to a stored preference that is found."""
    memory = PreferenceMemory(InMemoryStore())
    memory.set("ada", preference)
    memory.get("ada", about)  # the first one imports what it needs
    (route,) = Recorder().record(lambda: memory.get("ada", about)).values()
    return route


def call_routes() -> dict[str, Route]:
    """The way of a call's answer, of the caller's thread and of the engine's."""
    recorder = Recorder()
    with recorder.from_the_start(), ChatAmulet(model="pocket", temperature=0) as llm:
        settings = {"preference": PREFERENCE, "max_tokens": 10}
        llm.invoke(QUESTION, **settings)
        return recorder.record(lambda: llm.invoke(QUESTION, **settings))


def main() -> None:
    """Count and print."""
    known = StoredPreference(PREFERENCE, strength="strong", when="sleep")
    routes = {
        "a stored preference": lookup_route(),
        "the same with a strength and a topic": lookup_route(known),
        **{f"invoke, in {name}": route for name, route in call_routes().items()},
    }
    table = Table("", "calls", "files", "switches between files")
    for name, route in routes.items():
        table.add_row(name, *map(str, (route.calls, route.files, route.switches)))
    Console().print(table)


if __name__ == "__main__":
    main()
