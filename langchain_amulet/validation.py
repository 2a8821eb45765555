"""Errors in words: rule, value, remedy. Pydantic's complaints become the package's own errors.

This module knows nothing of what is validated.
"""

from __future__ import annotations

import errno
import inspect
import json
import math
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from langchain_amulet.errors import AmuletError, ConfigurationError, MissingExtraError

RULES: Mapping[str, str] = MappingProxyType(
    {
        "greater_than": "above {gt}",
        "greater_than_equal": "at least {ge}",
        "less_than": "below {lt}",
        "less_than_equal": "at most {le}",
        "finite_number": "a finite number",
        "float_type": "a number",
        "float_parsing": "a number",
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "bool_type": "True or False",
        "bool_parsing": "True or False",
        "string_type": "a text",
        "string_too_short": "a text with {min_length} or more characters",
        "string_too_long": "a text with {max_length} or fewer characters",
        "too_short": "at least {min_length} long",
        "too_long": "at most {max_length} long",
        "list_type": "a list, even of one",
        "tuple_type": "a list, even of one",
        "dict_type": "a dict",
        "model_type": "a dict of settings, or of type {class_name}",
        "literal_error": "{expected}",
    }
)
"""What a value must be that broke a rule, by pydantic's name for the complaint."""


LONGEST_WAIT = 1e8
"""The most seconds that anything may be waited for, three years: clocks count no further."""

FLAG = TypeAdapter(bool)

NAME = re.compile("[!-~]{0,60}")
"""What may be a name, a number or a path in writing, and is no sentence."""

DEEPEST = 64
"""How deep lists and dicts may lie in one another."""

LONGEST_NAME = 200
"""How many characters what may be meant for a name has at most, as each is looked at."""

MOST_VALUES = 100_000
"""How many values lists and dicts may hold together."""

OWN = frozenset({"langchain_amulet", "amulet_evals", "amulet_server"})
"""The packages that this distribution holds."""

BETWEEN = OWN | {
    "asyncio",
    "concurrent",
    "contextvars",
    "threading",
    "langchain",
    "langchain_core",
    "langgraph",
}
"""The packages through which a program's call gets to ours."""

NOTHING: Mapping[str, str] = MappingProxyType({})

FEW = 8
"""How many values of a list or a dict are shown, and how many of its faults told."""

MOST_DIGITS = 60
"""How many digits of a whole number are shown."""


class FlaglessNumbers(BaseModel):
    """Settings whose numbers aren't given as truth values, which pydantic takes for 0 and 1."""

    _numbers: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Find the numbers once, as the settings of a call are read with every call."""
        super().__pydantic_init_subclass__(**kwargs)
        kinds = {name: [*_kinds(field.annotation)] for name, field in cls.model_fields.items()}
        cls._numbers = frozenset(
            name
            for name, found in kinds.items()
            if (int in found or float in found) and bool not in found
        )

    @model_validator(mode="before")
    @classmethod
    def _refuse_flags(cls, data: Any) -> Any:
        given = data if isinstance(data, Mapping) else {}
        flags = [name for name in given if name in cls._numbers and isinstance(given[name], bool)]
        if flags:
            refused = PydanticCustomError("flag", "it must be a number")
            details = [
                InitErrorDetails(type=refused, loc=(name,), input=given[name]) for name in flags
            ]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return data


@contextmanager
def explained(
    kind: type[AmuletError],
    names: Iterable[str] = (),
    quoting: bool = True,
    others: Mapping[str, str] = NOTHING,
) -> Iterator[None]:
    """Turn a ``ValidationError`` into an error of the package, see `explanation`."""
    try:
        yield
    except ValidationError as error:
        raise explanation(error, kind, names, quoting, others) from None


def explanation(
    error: ValidationError,
    kind: type[AmuletError],
    names: Iterable[str] = (),
    quoting: bool = True,
    others: Mapping[str, str] = NOTHING,
) -> AmuletError:
    """The error of the package that says what a ``ValidationError`` complains of.

    Args:
        error: The complaint. Raise what is returned ``from None``.
        kind: The kind of error, unless a validator raised one of the package by itself.
        names: Names that would have been accepted, for the message on an unknown one.
        quoting: Whether messages quote the values that were refused, or of all but numbers name
            their types only.
        others: What to write in place of names that are known to be meant for something.
    """
    details = error.errors(include_url=False)
    given = [each.get("ctx", {}).get("error") for each in details]
    raised = [own for own in given if isinstance(own, BaseException)]  # of dates it's a text
    for own in raised:
        # The collector can't look into a ValidationError, which holds what validators raised. With
        # its frames that would hold what a user wrote, and by way of a thread's future what is
        # raised in its place, whose context the ValidationError is: a circle, kept for ever.
        own.__traceback__ = own.__context__ = own.__cause__ = None
    for own in raised:
        if isinstance(own, AmuletError):
            return type(own)(*own.args)  # a new one, for the same reason
    told = [_sentence(detail, names, quoting, others) for detail in details[:FEW]]
    more = [f"And so on, {len(details)} times in all."] if len(details) > FEW else []
    return kind(" ".join([*told, *more]))


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Say which extra is to be installed where an import lacks a package that comes with it.

    Args:
        extra: The name of the extra.
        what: What needs it, for the message.

    Raises:
        MissingExtraError: A package isn't installed, other than our own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in OWN:
            raise  # a mistake of ours, which no installation mends
        raise MissingExtraError(
            f"{what} must have the package {package}, which isn't installed: install the extra "
            f"that brings it, as in pip install 'langchain-amulet[{extra}]'."
        ) from error


def as_flag(name: str, value: object) -> bool:
    """A truth value as pydantic reads it, where one is needed before the settings are checked.

    Args:
        name: What is set.
        value: What it is to be.

    Raises:
        ConfigurationError: It isn't one.
    """
    if isinstance(value, bool):
        return value
    try:
        return FLAG.validate_python(value)
    except ValidationError:
        raise ConfigurationError(
            f"{name!r} can't be {quoted(value)}: it must be True or False."
        ) from None


def check_type(
    name: str, value: object, *kinds: type, error: type[AmuletError] = ConfigurationError
) -> None:
    """Refuse what is of none of these types.

    Args:
        name: What is given.
        value: What it is.
        kinds: The types that it may have.
        error: What to raise.
    """
    if isinstance(value, kinds):
        return
    known = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
    raise error(f"{name} must be of type {known}, not {quoted(value)}: give one.")


def check_whole(name: str, text: str, error: type[AmuletError]) -> None:
    """Refuse a text that holds half a character, a surrogate by itself, which nobody can write.

    Args:
        name: What is given.
        text: What it is.
        error: What to raise.
    """
    try:
        text.encode()
    except UnicodeEncodeError as found:
        raise error(
            f"{name} must be whole characters and hold no half of one, {text[found.start]!r}: take "
            "it out, or put its other half beside it."
        ) from None


def check_callable(name: str, value: object) -> None:
    """Refuse what can't be called, with `ConfigurationError`."""
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {quoted(value)}: give one.")


def check_count(name: str, value: Any, least: int = 0, most: float = math.inf) -> None:
    """Refuse what is no whole number from ``least`` to ``most``, with `ConfigurationError`."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (is_whole and least <= value <= most):
        bounds = f"at least {least}" + (f" and at most {most:g}" if most < math.inf else "")
        raise ConfigurationError(
            f"{name} must be a whole number, {bounds}, not {quoted(value)}: give one, or leave it "
            "out for the default."
        )


def check_timeout(value: Any) -> None:
    """Refuse what is no number of seconds to wait, nor None, with `ConfigurationError`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0.0 < value <= LONGEST_WAIT):
        raise ConfigurationError(
            f"timeout must be a number of seconds above 0 and at most {LONGEST_WAIT:g}, not "
            f"{quoted(value)}: use None to wait without a limit."
        )


def as_json(value: Any) -> Any:
    """Data as JSON writes it: in lists and dicts of one's own, whose keys are texts.

    Raises:
        ValueError: JSON can't write it: it holds something else, itself, or no finite number.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except RecursionError:
        raise ValueError("JSON can't write it: it nests too deep") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"JSON can't write it: {message_of(error)}") from None


def as_written(value: Any) -> Any:
    """Data as `as_json` gives it, with words in place of what JSON can't write, such as a date.

    For what a program's own tools gave or were given, and what is to be read by a model: there it
    is better read in other words than refused. `check_nesting` is for before.
    """
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, Mapping):
        return {_in_words(key): as_written(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_written(each) for each in value]
    is_short = isinstance(value, int) and abs(value) < 10**MOST_DIGITS
    return value if is_short else _in_words(value)


def _in_words(value: object) -> str:
    try:
        return str(value)
    except Exception:  # whatever a class of the caller's raises, or too many digits
        return quoted(value)


def quoted(value: object, depth: int = 3) -> str:
    """A wrong value as an error may show it: numbers and names, but no words.

    A preference or a message may stand where it doesn't belong and be refused there, and errors end
    up in logs. Of what may be one only the kind is told.

    Args:
        value: The value.
        depth: How far into lists and dicts is looked, which may hold themselves.
    """
    try:
        return _quoted(value, depth)
    except Exception:  # whatever a class of the caller's raises where it is looked at
        return f"this {type(value).__name__}"


def _quoted(value: object, depth: int) -> str:
    if isinstance(value, str):
        is_name = NAME.fullmatch(value) is not None
        return repr(value) if is_name else f"this text of {len(value)} characters"
    if isinstance(value, (list, tuple, dict)) and len(value) <= FEW and depth:
        inner = [quoted(each, depth - 1) for each in value]
        if not isinstance(value, dict):
            return f"[{', '.join(inner)}]"
        held = (quoted(each, depth - 1) for each in value.values())
        pairs = zip(inner, held, strict=True)
        return f"{{{', '.join(f'{key}: {each}' for key, each in pairs)}}}"
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"this whole number of more than {MOST_DIGITS} digits"
    if value is None or isinstance(value, (int, float, type)):
        return repr(value)
    return f"this {type(value).__name__}"


def dotted(place: Iterable[object]) -> str:
    """A place within data as an error may show it: names and numbers with dots between, no words.

    Args:
        place: The keys that lead there.
    """
    keys = map(str, place)
    return ".".join(
        key if NAME.fullmatch(key) else f"[a text of {len(key)} characters]" for key in keys
    )


def check_nesting(
    kind: type[AmuletError], what: str, value: object, most: int = MOST_VALUES
) -> None:
    """Refuse lists and dicts that hold themselves, or more or deeper than anybody reads.

    Args:
        kind: The kind of error.
        what: What holds them, for the message.
        value: What is looked at.
        most: How many values they may hold together. What can be come to in several ways counts
            as often: written out it is as long.
    """
    # Each once, with how many ways there are to it, of which there may be more than can be gone.
    level, count = {id(value): (value, 1)}, 0
    for _ in range(DEEPEST):
        count += sum(_size(outer) * ways for outer, ways in level.values())
        if count > most:
            raise kind(
                f"{what} may hold lists and dicts of {most} values together, but some hold more: "
                "leave out what needn't be there."
            )
        below: dict[int, tuple[object, int]] = {}
        for outer, ways in level.values():
            for each in _held(outer):
                below[id(each)] = (each, ways + below.get(id(each), (each, 0))[1])
        level = below
        if not level:
            return
    raise kind(
        f"{what} may hold lists and dicts in one another up to {DEEPEST} deep, but some lie deeper "
        "or hold themselves: flatten them."
    )


def message_of(error: object) -> str:
    """What an error says, in a line without a full stop; its kind where it says nothing.

    For what is raised by code that was given no user's words: libraries that load models, a
    program's own signatures and modules. For all other code see `kind_of`.
    """
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def kind_of(error: BaseException) -> str:
    """What an error is, with the code that its library has for it, and nothing of what it says.

    For what is raised by code that was given a user's words, such as a store, a resolver or a
    matcher: it may quote them. Raise ``from None`` besides, or the trace would; Python keeps the
    original as the ``__context__`` of what is raised, for a debugger.
    """
    number = getattr(error, "errno", None)
    codes = (
        getattr(error, "sqlite_errorname", None),
        getattr(error, "sqlstate", None),
        errno.errorcode.get(number) if isinstance(number, int) else None,
    )
    name = type(error).__qualname__
    return next((f"{name} ({code})" for code in codes if isinstance(code, str)), name)


def is_finite(value: object) -> bool:
    """Whether it is a number that one can calculate with: neither infinite nor NaN, no bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all that floats reach
        return False


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a function takes; None for some that are written in C, which don't tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def nearest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known name that an unknown one was probably meant for; None if there is none.

    Capitals make no difference.

    Args:
        name: The unknown name.
        known: The names that there are.
        least: How alike they must be, from 0 to 1. Where something is wrong for certain, a far
            guess helps; where it may be right, only a near one is worth mentioning.
    """
    if len(name) > LONGEST_NAME:
        return None
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), list(folded), n=1, cutoff=least)
    return folded[close[0]] if close else None


def choose(name: str, known: Iterable[str]) -> str:
    """The beginning of the remedy for an unknown name: which one to use, or to use one at all."""
    close = nearest(name, known)
    return f"did you mean {close!r}? Use" if close else "use"


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn whoever called: the warning's place is the nearest code that isn't a library's of ours.

    Args:
        message: What it says.
        category: Its kind.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, whatever they are told of each other."""
    yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)


def _size(value: object) -> int:
    """How many values a list or dict holds itself."""
    return len(value) if isinstance(value, (Mapping, list, tuple)) else 0


def _held(value: object) -> list[object]:
    """The lists and dicts that a list or dict holds."""
    inner: Iterable[object] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    return [each for each in inner if isinstance(each, (Mapping, list, tuple))]


def _sentence(detail: Any, names: Iterable[str], quoting: bool, others: Mapping[str, str]) -> str:
    if detail["type"] == "extra_forbidden":
        name = ".".join(map(str, detail["loc"]))
        if name in others:
            return f"{quoted(name)} is unknown: {others[name]}."
        names = sorted(names)
        return f"{quoted(name)} is unknown: {choose(name, names)} one of {', '.join(names)}."
    place = dotted(detail["loc"]) or "the value"
    if detail["type"] == "missing":
        return f"{place!r} is missing: give it a value."
    is_shown = quoting or isinstance(detail["input"], (int, float))
    value = quoted(detail["input"]) if is_shown else f"this {type(detail['input']).__name__}"
    return f"{place!r} can't be {value}: {rule_of(detail)}."


def rule_of(detail: Mapping[str, Any], rules: Mapping[str, str] = RULES) -> str:
    """The rule that a value broke, as the end of a sentence.

    Args:
        detail: One of pydantic's complaints.
        rules: What a value must be, by pydantic's names for the complaints.
    """
    if detail["type"] in rules:
        return f"it must be {rules[detail['type']].format(**detail.get('ctx', {}))}"
    rule: str = detail["msg"].removeprefix("Value error, ")
    return f"{rule[0].lower()}{rule[1:]}"
