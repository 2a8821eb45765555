"""Things by their names: the package's own, those of one's own, those that other packages bring.

A `Registry` finds what was registered; `import_named` finds what lies in a module, which runs that
module's code: only for names that whoever runs the program has typed.

This module knows names, entry points and imports: nothing of what is found by them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, reduce
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.validation.wording import message_of

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
            thing = self._imported(self._installed[name])
            self._check(name, thing)
            # Not by add: the entry may name what its module only imports, so the places differ.
            with self._lock:
                self._things.setdefault(name, thing)
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


def import_named(path: str) -> Any:
    """What ``package.module:name`` names. Modules may lie in the folder one works in.

    Raises:
        ConfigurationError: There is no such module, or no such name in it, or the module fails.
    """
    module, _, name = path.partition(":")
    if not (module and name):
        raise ConfigurationError(
            f"Something of one's own is named package.module:name, not {path!r}: put a colon "
            "between the module and the name."
        )
    _look_here()
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigurationError(
            f"{path!r} must be importable from the folder one works in, but isn't: {error}. "
            "Check the name, and where the command is run."
        ) from error
    except AmuletError:
        raise
    except Exception as error:  # whatever a module can raise while it is imported
        raise _failing(path, error) from error


def made_by(path: str, maker: Callable[[], Any]) -> Any:
    """What something of one's own gives that is called without arguments.

    Args:
        path: What it was named by, as for `import_named`.
        maker: It, or what calls it.

    Raises:
        ConfigurationError: It needs arguments, or fails.
    """
    with own_code(
        f"{path!r} must give something when it is called without arguments, but",
        "Name a function that needs none, or what it would give.",
    ):
        return maker()


@contextmanager
def own_code(rule: str, remedy: str) -> Iterator[None]:
    """Make whatever somebody's own code raises meanwhile the package's error, with what it says.

    For code that is given no user's words.

    Args:
        rule: What it must do, and who doesn't: the error goes on with "raised" and what it was.
        remedy: What to do about it.

    Raises:
        ConfigurationError: It raised something else than an error of the package.
    """
    try:
        yield
    except AmuletError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {message_of(error)}"
        raise ConfigurationError(f"{rule} raised {said}. {remedy}") from error


def is_importable(path: str) -> bool:
    """Whether ``module:name`` is the name of something; a module is imported if there is one.

    Raises:
        ConfigurationError: The module needs one that isn't installed, or fails.
    """
    module, _, name = path.partition(":")
    _look_here()
    if not (name and module.isidentifier()):
        return False
    if module not in sys.modules and importlib.util.find_spec(module) is None:
        return False
    try:
        return hasattr(importlib.import_module(module), name.partition(".")[0])
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{path!r} must be importable, but isn't: {error}. Install what its module needs."
        ) from error
    except AmuletError:
        raise
    except Exception as error:  # as above
        raise _failing(path, error) from error


def _failing(path: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{path!r} must be importable, but its module raised {type(error).__name__}: "
        f"{message_of(error)}. Mend the module."
    )


def _look_here() -> None:
    """Have modules found in the folder one works in."""
    folder = str(Path.cwd())
    if folder not in sys.path:  # as with `python -m`; a console script leaves it out
        sys.path.append(folder)
