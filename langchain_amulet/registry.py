"""Things by their names: the package's own, those of one's own, those that other packages bring.

This module knows names and entry points: nothing of what is found by them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation import message_of

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Things of one kind by their names. Any thread may add to it.

    What another package brings by an entry point is imported when it is first asked for by its
    name, or with all others, and no sooner: asking whether it is there imports nothing.
    """

    def __init__(self, noun: str, group: str, check: Callable[[str, Any], None]) -> None:
        """Begin with nothing.

        Args:
            noun: What the things are, for messages.
            group: The group of entry points by which other packages bring them.
            check: Called with a name and what is to have it; raises `ConfigurationError` unless
                that is fit for it.
        """
        self._noun, self._group, self._check = noun, group, check
        self._things: dict[str, T] = {}
        self._lock = threading.Lock()

    def add(self, name: str, thing: T) -> None:
        """Let something be found by a name.

        Raises:
            ConfigurationError: The name is taken, or what is to have it isn't fit for it.
        """
        self._check(name, thing)
        with self._lock:
            taken = self._place_of(name)
            # The same one defined anew, as by a notebook's cell that is run twice, is welcome.
            if taken not in (None, place_of(thing)):
                raise ConfigurationError(
                    f"The name of a {self._noun} must be its own, but {name!r} is {taken} already: "
                    f"give {place_of(thing)} another one."
                )
            self._things[name] = thing

    def __getitem__(self, name: str) -> T:
        """What has this name.

        Raises:
            KeyError: Nothing has.
            ConfigurationError: Another package's can't be imported, or isn't fit.
        """
        if name not in self._things and name in self._installed:
            self.add(name, self._imported(self._installed[name]))
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        """Whether anything has this name."""
        return name in self._things or name in self._installed

    def __iter__(self) -> Iterator[str]:
        """The names in the order in which they were added, what other packages bring last."""
        return iter(dict.fromkeys([*self._things, *self._installed]))

    def __len__(self) -> int:
        """How many names there are."""
        return sum(1 for _ in self)

    @cached_property
    def _installed(self) -> Mapping[str, EntryPoint]:
        """What other packages bring; looked for once, as that reads every package's metadata."""
        return {entry.name: entry for entry in sorted(entry_points(group=self._group))}

    def _imported(self, entry: EntryPoint) -> Any:
        try:
            return entry.load()
        except Exception as error:  # whatever a module can raise while it is imported
            raise ConfigurationError(
                f"The {self._noun} {entry.name!r} must be importable as {entry.value!r}, but "
                f"isn't: {message_of(error)}. Install its package anew, or remove it."
            ) from error

    def _place_of(self, name: str) -> str | None:
        """Where what has a name is defined; None if nothing has."""
        if name in self._things:
            return place_of(self._things[name])
        installed = self._installed.get(name)
        return None if installed is None else installed.value.replace(":", ".")


def place_of(thing: Any) -> str:
    """The module and name of a class or function; of another object, those of its class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
