"""Methods as one types them: ``name``, or ``name:parameter=value,parameter=value``.

This module knows how text is read and written: nothing of which methods there are.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.method import Method

COMMA = re.compile(r',(?![^\[]*\])(?=(?:[^"]*"[^"]*")*[^"]*$)')
"""A comma between parameters, which isn't one within a list or a quoted text."""


def read_spec(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the parameters in ``text``.

    Values are read as JSON where they are JSON: numbers, true, false, null, lists of these. All
    others are texts as they stand. A list becomes a tuple.

    Raises:
        ConfigurationError: A parameter has no value, or is there twice.
    """
    name, colon, rest = text.partition(":")
    given: dict[str, Any] = {}
    for part in COMMA.split(rest) if colon else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value) or key in given:
            raise ConfigurationError(
                "A method's parameters are written name:parameter=value,parameter=value, each "
                f"once, but {text!r} has {part!r}: write it as in 'amulet:kl_cap=0.5'."
            )
        given[key] = _value(value)
    return name.strip(), given


def make_method(kind: type[Method], given: Mapping[str, Any]) -> Method:
    """The method of this kind with these parameters.

    Raises:
        ConfigurationError: A parameter is unknown, missing or out of its range.
    """
    parameters = inspect.signature(kind).parameters
    unknown = [name for name in given if name not in parameters]
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in given
    ]
    if unknown or missing:
        wrong = f"doesn't know {unknown[0]!r}" if unknown else f"needs {missing[0]!r}"
        known = ", ".join(parameters) or "none"
        raise ConfigurationError(
            f"The method {kind.name!r} {wrong}: its parameters are {known}, and one is given as "
            f"in '{kind.name}:{missing[0] if missing else 'parameter'}=...'."
        )
    return kind(**given)


def spell(method: Method) -> str:
    """The shortest text that `read_spec` and `make_method` make the same method of.

    A parameter that has no text, such as a function, is shown and can't be read again.
    """
    kind, parameters = type(method), inspect.signature(type(method)).parameters
    values = ((name, getattr(method, name), kept.default) for name, kept in parameters.items())
    given = {name: value for name, value, default in values if value != default}
    for name in list(given):  # what another parameter stands for needn't be said, either
        fewer = {other: value for other, value in given.items() if other != name}
        if _makes(kind, fewer, method):
            given = fewer
    written = ",".join(f"{name}={_text(value)}" for name, value in given.items())
    return f"{kind.name}:{written}" if written else kind.name


def _makes(kind: type[Method], given: Mapping[str, Any], method: Method) -> bool:
    try:
        return make_method(kind, given) == method
    except ConfigurationError:  # it can't do without what was left out
        return False


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if _value(value) == value and "," not in value else json.dumps(value)
    return json.dumps(value, default=repr)


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return tuple(value) if isinstance(value, list) else value
