"""Chat formats by name, and which of them a chat template writes.

This module knows which families there are: nothing of how any of them writes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.delimited import Delimited
from langchain_amulet.chat_formats.hermes import Hermes
from langchain_amulet.chat_formats.llama import Llama
from langchain_amulet.chat_formats.mistral import Mistral
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.response_template import OwnResponseTemplate
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation import choose, told

GROUP = "langchain_amulet.chat_formats"
"""Entry points of this group are families that other packages bring."""

Family = TypeVar("Family", bound=type[ChatFormat])


class FormatRegistry:
    """Families by their names: this package's, registered ones, and those of other packages."""

    def __init__(self, shipped: Sequence[type[ChatFormat]] = ()) -> None:
        """Know the families of this package, in the order in which they are asked."""
        self._shipped = tuple(shipped)
        self._registered: dict[str, type[ChatFormat]] = {}
        self._lock = threading.Lock()

    def register(self, family: Family) -> Family:
        """Make a family known by its ``name``; returns it, so that it can be a decorator.

        Raises:
            ConfigurationError: It lacks something that a chat format must have, or its name is
                another one's.
        """
        _check(family)
        with self._lock:
            _check_name(family, (*self._shipped, *self._registered.values()))
            self._registered[family.name] = family
        return family

    @property
    def families(self) -> tuple[type[ChatFormat], ...]:
        """All families, in the order in which they are asked if a template's calls are theirs.

        Those of this package come last, as others are more particular.

        Raises:
            ConfigurationError: Another package's family can't be imported, or isn't one.
        """
        return (*reversed(self._registered.values()), *self._installed, *self._shipped)

    def family(self, name: str) -> type[ChatFormat]:
        """The family of that name.

        Raises:
            ConfigurationError: There is none.
        """
        known = {family.name: family for family in reversed(self.families)}
        if name not in known:
            raise ConfigurationError(
                f"chat_format must be one of {', '.join(sorted(known))}, a ChatFormat or None, not "
                f"{name!r}: {choose(name, known)} one of those, or register the format first."
            )
        return known[name]

    @cached_property
    def _installed(self) -> tuple[type[ChatFormat], ...]:
        """Families of other packages, imported once."""
        found: list[type[ChatFormat]] = []
        for point in entry_points(group=GROUP):
            family = _load(point)
            _check_name(family, (*self._shipped, *found))
            found.append(family)
        return tuple(found)


FORMATS = FormatRegistry((Hermes, Mistral, Llama, Delimited))
"""All families. A decorator needs one place to register in; this is it."""

register = FORMATS.register


def as_chat_format(value: Any) -> ChatFormat | str | None:
    """A chat format, or the name of one; None for that which the chat template writes.

    Raises:
        ConfigurationError: No format has that name, or it is something else.
    """
    if isinstance(value, str):
        return FORMATS.family(value).name
    if isinstance(value, ChatFormat):
        _check_instance(value)
        return value
    if value is None:
        return None
    raise ConfigurationError(
        f"chat_format must be a ChatFormat, the name of one or None, not {value!r}: pass an "
        "instance, or a name that was registered."
    )


def find_format(template: ChatTemplate, chosen: ChatFormat | str | None = None) -> ChatFormat:
    """The format of the answers that go with a chat template.

    Args:
        template: The chat template, which tells a family's details by what it writes.
        chosen: A format, which is taken as it is; the name of a family, whose details the template
            tells as far as it writes calls of that family; or None for the family whose calls it
            writes. Where these are no family's, that is Hermes.
    """
    if isinstance(chosen, ChatFormat):
        return chosen
    sample = TemplateSample(template)
    families = FORMATS.families if chosen is None else (FORMATS.family(chosen),)
    learnt = next(filter(None, (family.learn(sample) for family in families)), None)
    found = learnt or (Hermes() if chosen is None else families[0]())
    if found.thinking is None:
        found = replace(found, thinking=sample.thinking)
    own = sample.response_template if chosen is None else None
    return found if own is None else OwnResponseTemplate(own, found, thinking=found.thinking)


def _load(point: EntryPoint) -> type[ChatFormat]:
    try:
        family: type[ChatFormat] = point.load()
    except Exception as error:  # whatever a module can raise while it is imported
        raise ConfigurationError(
            f"A chat format of an installed package must be importable, but {point.name!r}, which "
            f"is {point.value}, isn't: {told(error)}. Mend the package, or uninstall it."
        ) from error
    _check(family)
    if family.name != point.name:
        raise ConfigurationError(
            f"The entry point {point.name!r} must name the class of a chat format of that name, "
            f"but {point.value!r} is {family.name!r}: mend the package that brings it, or remove "
            "it."
        )
    return family


def _check_name(family: type[ChatFormat], others: Iterable[type[ChatFormat]]) -> None:
    """Refuse a name that is taken, but by the same class.

    That is defined anew where a notebook's cell is run twice.
    """
    taken = next((each for each in others if each.name == family.name), None)
    if taken is not None and _place(taken) != _place(family):
        raise ConfigurationError(
            f"A chat format's name must be its own, but {family.name!r} is {_place(taken)} "
            f"already: give {_place(family)} another one."
        )


def _place(family: type[ChatFormat]) -> str:
    return f"{family.__module__}.{family.__qualname__}"


def _check(family: Any) -> None:
    """Refuse what can't be a family before any template is asked about it."""
    if not (isinstance(family, type) and issubclass(family, ChatFormat)):
        raise ConfigurationError(
            f"A chat format must be a subclass of ChatFormat, not {family!r}: register the class."
        )
    try:
        _check_instance(family())
    except TypeError as error:
        raise ConfigurationError(
            "A chat format must say all that ChatFormat asks for, and have defaults for its "
            f"fields, but of {family.__name__} is said: {told(error)}. Add what is missing."
        ) from error


def _check_instance(chat_format: ChatFormat) -> None:
    """Refuse a format without a name, and one that caches can't tell from others."""
    kind = type(chat_format)
    name = getattr(kind, "name", None)
    if not (isinstance(name, str) and name):
        raise ConfigurationError(
            f"A chat format must have a name, which of {kind.__name__} is {name!r}: set the class "
            "attribute name."
        )
    try:
        hash(chat_format)
    except TypeError as error:
        raise ConfigurationError(
            "A chat format must have fields that don't change, so that it can be told from others, "
            f"but of {kind.__name__} is said: {told(error)}. Use tuples and frozensets."
        ) from error
