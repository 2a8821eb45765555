"""Methods as one types them: ``name``, or ``name:parameter=value,parameter=value``.

Knows how text is read and written, and where methods are found by their names. Doesn't import
code that a text names: who may do that hands in how.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field
from numbers import Real
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.methods.amulet import Amulet
from langchain_amulet.methods.method import Method, check_kind, parts
from langchain_amulet.methods.registry import METHODS, is_kind, is_registered
from langchain_amulet.methods.strengths import STRENGTHS
from langchain_amulet.validation.wording import choose, kind_of, quoted

COMMA = re.compile(r',(?![^\[]*\])(?=(?:[^"]*"[^"]*")*[^"]*$)')
"""A comma between parameters, which isn't one within a list or a quoted text."""

LONGEST = 2000
"""The most characters of a method's text: each of its commas is looked at with all that follows."""

NAMES_CODE = re.compile(r"[\w.]+:[\w.]+(:.*)?")
"""What ``module:Name`` looks like, with parameters behind it or without."""

Load = Callable[[str], Any]
"""Imports what ``module:name`` names."""


def as_method(value: Method | str | float, load: Load | None = None) -> Method:
    """A method, given as itself or as text, or by the name or number of Amulet's strength.

    As text it is a name, with parameters where they differ from the method's own, or a number::

        "pref"  "strong"  "1.5"  "amulet:kl_cap=0.5,plausibility=0"  "pad:model=./reward,weight=1.5"

    With ``load``, the name may be ``module:Name`` in place of one that is registered, and
    parameters that hold code are ``module:name``::

        "own_method:Own:level=2"  "best_of:n=16,scorer=own_method:score"

    Args:
        value: The method.
        load: Imports what a text names. Leave it out where the text comes from a call: that must
            not decide which code is run.

    Raises:
        ConfigurationError: The name or a parameter is unknown, a value is out of its range, the
            text is far too long, or the method is one that can't be compared and printed, see
            `check_kind`.
    """
    if isinstance(value, Method):
        if not is_registered(type(value)):  # or else it was checked when it was registered
            check_kind(type(value))
        return value
    if isinstance(value, Real):  # NumPy's numbers, too
        is_own = isinstance(value, (int, float))
        return Amulet(strength=value if is_own else float(value))
    if not isinstance(value, str):
        raise _unknown(value)
    if len(value) > LONGEST:
        raise ConfigurationError(
            f"A method's text may have at most {LONGEST} characters, not {len(value)}: write what "
            "differs from the method's own parameters, as in 'amulet:kl_cap=0.5'."
        )
    if (strength := read_strength(value)) is not None:
        return Amulet(strength=strength)
    kind, parameters = _kind(value, load)
    return _make(kind, _read(parameters, value), load)


def read_strength(text: str) -> str | float | None:
    """The strength that a text is by itself, by name or as a number; None if it is a method's."""
    name = text.strip()
    if name in STRENGTHS:
        return name
    try:
        return float(name)
    except ValueError:
        return None


def is_strength(value: object) -> bool:
    """Whether what is given as a method is a strength and nothing else: a number, or its name.

    "amulet" is a method's name as well, and does more than to set a strength.
    """
    if isinstance(value, str):
        strength = read_strength(value)
        return strength is not None and strength not in METHODS
    return isinstance(value, Real) and not isinstance(value, bool)


def spell(method: Method) -> str:
    """The shortest text that `as_method` makes the same method of.

    A kind that isn't registered is named ``module:Name``, and a function ``module:name``: both
    are read again with ``load`` only. What has no text at all is shown, and can't be read again.
    """
    kind = type(method)
    head = kind.name if is_registered(kind) else f"{kind.__module__}:{kind.__qualname__}"
    pairs = ((each, getattr(method, each.name)) for each in parts(kind))
    written = [f"{each.name}={_text(value)}" for each, value in pairs if value != _default(each)]
    return f"{head}:{','.join(written)}" if written else head


# --- From text ---


def _kind(text: str, load: Load | None) -> tuple[type[Method], str | None]:
    """The class that a text begins with, and what it says of parameters; None for nothing."""
    name, colon, rest = text.partition(":")
    name = name.strip()
    if name in METHODS:
        return METHODS[name], rest if colon else None
    attribute, more, parameters = rest.partition(":")
    if load is None or not attribute or "=" in attribute:
        raise _unknown(text, may_name_code=load is not None)
    kind = load(f"{name}:{attribute.strip()}")
    if not is_kind(kind):
        raise ConfigurationError(
            f"A method of one's own must be a class that is a Method, but {text!r} names "
            f"{quoted(kind)}: name the class, with its parameters behind it."
        )
    check_kind(kind)
    return kind, parameters if more else None


def _unknown(value: object, may_name_code: bool = False) -> ConfigurationError:
    """What to say of a text that begins with no method's name, or of what is no method at all."""
    name = value.partition(":")[0].strip() if isinstance(value, str) else ""
    known = [*METHODS, *(each for each in STRENGTHS if each not in METHODS)]
    remedy = f"{choose(name, known)} one of those"
    if may_name_code:
        remedy += ", or your own as module:Name"
    elif isinstance(value, type):
        remedy = "an instance of the class is needed, so call it with what differs from its own"
    elif isinstance(value, str) and NAMES_CODE.fullmatch(value):
        remedy = (
            "import it and give its value, or register it; only config files and command lines "
            "may name code"
        )
    return ConfigurationError(
        f"method must be one of {', '.join(known)}, a number or a Method such as "
        f"Amulet(kl_cap=0.5), not {quoted(value)}: {remedy}."
    )


def _read(parameters: str | None, text: str) -> dict[str, Any]:
    """Parameters by their names.

    Values are read as JSON where they are JSON: numbers, true, false, null, lists of these. All
    others are texts as they stand. A list becomes a tuple.
    """
    given: dict[str, Any] = {}
    for part in [] if parameters is None else COMMA.split(parameters):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value) or key in given:
            raise ConfigurationError(
                "A method's parameters are written name:parameter=value,parameter=value, each "
                f"once, but {quoted(text)} has {quoted(part)}: write it as in 'amulet:kl_cap=0.5'."
            )
        given[key] = _value(value)
    return given


def _make(kind: type[Method], given: Mapping[str, Any], load: Load | None) -> Method:
    """The method of this kind with these parameters."""
    parameters = inspect.signature(kind).parameters
    unknown = [name for name in given if name not in parameters]
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in given
    ]
    given = _with_code(kind, given, load)
    if unknown or missing:
        wrong = f"doesn't know {quoted(unknown[0])}" if unknown else f"needs {missing[0]!r}"
        known = ", ".join(parameters) or "none"
        raise ConfigurationError(
            f"The method {kind.name!r} {wrong}: its parameters are {known}, and one is given as "
            f"in '{kind.name}:{missing[0] if missing else 'parameter'}=...'."
        )
    return _made(kind, given)


def _made(kind: type[Method], given: Mapping[str, Any]) -> Method:
    """The method. Its own error on a wrong parameter says more than that on its type."""
    try:
        method = kind(**given)
    except AmuletError:
        raise
    except Exception as error:  # whatever somebody's own code raises
        _check_types(kind, given)
        raise ConfigurationError(
            f"The method {kind.name!r} must be made of what its text says, but raised "
            f"{kind_of(error)}, in words that aren't shown, as they may quote that text. Give it "
            "other parameters, or mend it."
        ) from None
    _check_types(kind, given)
    return method


def _check_types(kind: type[Method], given: Mapping[str, Any]) -> None:
    """Refuse what a text says of a parameter unless it is of the type that the class names.

    Only types that pydantic knows are checked, and not code, which stands for itself.
    """
    types = _types(kind)
    code = {each.name for each in parts(kind) if each.metadata.get("code")}
    for name in given.keys() & types.keys() - code:
        try:
            # As JSON a text may be a path or a date, and a list a tuple, but no text is a number.
            TypeAdapter(types[name]).validate_json(json.dumps(given[name]), strict=True)
        except ValidationError:
            expected = inspect.formatannotation(types[name])
            raise ConfigurationError(
                f"The method {kind.name!r} needs {name} of type {expected}, not "
                f"{quoted(given[name])}: give one, as in '{kind.name}:{name}=...'."
            ) from None
        except PydanticUserError:
            continue


def _types(kind: type[Method]) -> Mapping[str, Any]:
    """The types of the parameters that a class is made with, as far as their names are known."""
    found: dict[str, Any] = {}
    for typed in (kind, kind.__init__):  # whose parameters may be of more types than its fields
        with suppress(Exception):  # whatever an annotation raises that is only for readers
            found |= get_type_hints(typed)
    return found


def _with_code(
    kind: type[Method], given: Mapping[str, Any], load: Load | None
) -> Mapping[str, Any]:
    """Parameters, with the code that their texts name in place of these texts."""
    held = [each for each in parts(kind) if each.metadata.get("code")]
    if load is not None:
        named = {each.name: given.get(each.name) for each in held}
        code = {name: load(text) for name, text in named.items() if isinstance(text, str)}
        return {**given, **code}
    for name in (each.name for each in held if each.name in given or _default(each) is MISSING):
        rule = (
            f"A call's text must not name code, which the method {kind.name!r} holds as its {name}"
            if name in given
            else f"The method {kind.name!r} needs its {name}, which is code and has no text"
        )
        raise ConfigurationError(f"{rule}: give it as a value, {kind.__name__}({name}=...).")
    return given


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter for lists within lists
        return text
    return tuple(value) if isinstance(value, list) else value


# --- To text ---


def _default(of: Field[Any]) -> Any:
    """What a field is unless it is given; `MISSING` if it must be given."""
    return of.default if of.default_factory is MISSING else of.default_factory()


def _text(value: Any) -> str:
    if isinstance(value, Method):
        value = spell(value)
    elif inspect.isfunction(value) and "<" not in value.__qualname__:
        value = f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, str):
        return value if _value(value) == value and "," not in value else json.dumps(value)
    return json.dumps(value, default=repr)
