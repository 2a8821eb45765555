"""Chat formats by name, and which of them a chat template writes.

This module knows which families there are: nothing of how any of them writes.
"""

from __future__ import annotations

from dataclasses import replace
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
from langchain_amulet.registry import Registry, place_of
from langchain_amulet.validation import choose, message_of, quoted

Family = TypeVar("Family", bound=type[ChatFormat])


SHIPPED = (Hermes, Mistral, Llama, Delimited)
"""The families of this package, in the order in which they are asked."""


def _check_family(name: str, family: Any) -> None:
    """Refuse what can't be a family before any template is asked about it."""
    if not (isinstance(family, type) and issubclass(family, ChatFormat)):
        raise ConfigurationError(
            f"A chat format must be a subclass of ChatFormat, not {quoted(family)}: register the "
            "class."
        )
    try:
        _check_instance(family())
    except TypeError as error:
        raise ConfigurationError(
            "A chat format must say all that ChatFormat asks for, and have defaults for its "
            f"fields, but of {family.__name__} is said: {message_of(error)}. Add what is missing."
        ) from error
    if family.name != name:
        raise ConfigurationError(
            f"A chat format must be registered by its own name, but {place_of(family)}, which is "
            f"{family.name!r}, is brought as {name!r}: mend the package that brings it."
        )


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
            f"but of {kind.__name__} is said: {message_of(error)}. Use tuples and frozensets."
        ) from error


def format_registry() -> Registry[type[ChatFormat]]:
    """A registry with the package's own families."""
    registry: Registry[type[ChatFormat]] = Registry(
        "chat format", "langchain_amulet.chat_formats", _check_family
    )
    for family in SHIPPED:
        registry.add(family.name, family)
    return registry


FORMATS = format_registry()
"""All families. A decorator needs one place to register in; this is it."""


def register(family: Family) -> Family:
    """Make a family known by its ``name``; returns it, so that it can be a decorator.

    Raises:
        ConfigurationError: It lacks something that a chat format must have, or its name is
            another one's.
    """
    FORMATS.add(getattr(family, "name", ""), family)
    return family


def families() -> tuple[type[ChatFormat], ...]:
    """All families, in the order in which they are asked if a template's calls are theirs.

    Those of this package come last, as others are more particular; of others the newest is first.

    Raises:
        ConfigurationError: Another package's family can't be imported, or isn't one.
    """
    others = [family for family in FORMATS.values() if family not in SHIPPED]
    return (*reversed(others), *SHIPPED)


def family_of(name: str) -> type[ChatFormat]:
    """The family of that name.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in FORMATS:
        raise ConfigurationError(
            f"chat_format must be one of {', '.join(sorted(FORMATS))}, a ChatFormat or None, not "
            f"{quoted(name)}: {choose(name, FORMATS)} one of those, or register the format first."
        )
    return FORMATS[name]


def as_chat_format(value: Any) -> ChatFormat | str | None:
    """A chat format, or the name of one; None for that which the chat template writes.

    Raises:
        ConfigurationError: No format has that name, or it is something else.
    """
    if isinstance(value, str):
        return family_of(value).name
    if isinstance(value, ChatFormat):
        _check_instance(value)
        return value
    if value is None:
        return None
    raise ConfigurationError(
        f"chat_format must be a ChatFormat, the name of one or None, not {quoted(value)}: pass an "
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
    asked = families() if chosen is None else (family_of(chosen),)
    learnt = next(filter(None, (family.learn(sample) for family in asked)), None)
    found = learnt or (Hermes() if chosen is None else asked[0]())
    if found.thinking is None:
        found = replace(found, thinking=sample.thinking)
    own = sample.response_template if chosen is None else None
    return found if own is None else OwnResponseTemplate(own, found, thinking=found.thinking)
