"""Methods by name: the package's own, those of one's own, those that other packages bring.

Knows names and classes. Doesn't know how a method is typed, or what it does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeGuard, TypeVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.method import Method, check_kind
from langchain_amulet.methods.strengths import STRENGTHS

GROUP = "langchain_amulet.methods"
"""The entry points by which other packages bring methods, each by its method's name."""

RESERVED = STRENGTHS.keys() - {"amulet"}  # whose own strength has its name
"""What means a strength of Amulet's where a method is given as text, and so names no method."""

Kind = TypeVar("Kind", bound=type[Method])


class MethodRegistry(Mapping[str, type[Method]]):
    """Classes of methods by their names; any thread may add to it.

    A method that another package brings is imported when it is first looked for, and no sooner.
    """

    def __init__(self) -> None:
        """Begin with no method."""
        self._kinds: dict[str, type[Method]] = {}
        self._lock = threading.Lock()

    def register(self, kind: Kind) -> Kind:
        """Let a method be found by its name; returns the class, so that it can be a decorator.

        Raises:
            ConfigurationError: The name is taken, or the class isn't fit for a method, see
                `check_kind`.
        """
        check_kind(kind)
        with self._lock:
            self._check_free(kind)
            self._kinds[kind.name] = kind
        return kind

    def _check_free(self, kind: type[Method]) -> None:
        taken = self._kinds.get(kind.name)
        # The same class defined anew, as by a notebook's cell that is run twice, is welcome.
        if taken is not None and _place(taken) != _place(kind):
            raise ConfigurationError(
                f"A method's name must be its own, but {kind.name!r} is {_place(taken)} "
                f"already: give {_place(kind)} another one."
            )
        if kind.name in RESERVED:
            raise ConfigurationError(
                f"A method's name must not be a strength's, but {kind.name!r} is one: give "
                f"{_place(kind)} another one."
            )

    def holds(self, kind: type[Method]) -> bool:
        """Whether just this class is registered; entry points aren't looked at."""
        return self._kinds.get(getattr(kind, "name", "")) is kind

    def __getitem__(self, name: str) -> type[Method]:
        """The method of this name.

        Raises:
            KeyError: There is none.
            ConfigurationError: Another package's can't be imported, or isn't what it should be.
        """
        if name not in self._kinds:
            for entry in entry_points(group=GROUP, name=name):
                self.register(_loaded(entry))
        return self._kinds[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a method of this name; nothing is imported to find out."""
        return name in self._kinds or name in entry_points(group=GROUP).names

    def __iter__(self) -> Iterator[str]:
        """The names, what other packages bring last."""
        return iter(dict.fromkeys([*self._kinds, *sorted(entry_points(group=GROUP).names)]))

    def __len__(self) -> int:
        """How many names there are."""
        return sum(1 for _ in self)


METHODS = MethodRegistry()
"""All methods. A decorator needs one place to register in; this is it."""

register = METHODS.register


def _loaded(entry: EntryPoint) -> type[Method]:
    """The class that another package brings."""
    try:
        kind = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"The method {entry.name!r} must be importable as {entry.value!r}, but isn't: {error}. "
            "Install its package anew, or remove it."
        ) from error
    if not is_kind(kind) or kind.name != entry.name:
        raise ConfigurationError(
            f"The entry point {entry.name!r} must name the class of a method of that name, but "
            f"{entry.value!r} is {kind!r}: mend the package that brings it, or remove it."
        )
    return kind


def is_kind(value: Any) -> TypeGuard[type[Method]]:
    """Whether it is a class of methods."""
    return isinstance(value, type) and issubclass(value, Method)


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
