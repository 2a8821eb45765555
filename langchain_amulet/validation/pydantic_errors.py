"""Pydantic's errors in the package's words, and one that it lacks: of flags in place of numbers.

Knows pydantic's complaints. Doesn't know what is validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from langchain_amulet.errors import AmuletError
from langchain_amulet.validation.wording import FEW, choose, dotted, quoted

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
        **dict.fromkeys(
            ("timezone_aware", "datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
            "a time with its zone, such as 2030-01-31T12:00:00Z",
        ),
    }
)
"""What a value must be that broke a rule, by pydantic's name for the complaint."""

NOTHING: Mapping[str, str] = MappingProxyType({})


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


def _kinds(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of, whatever they are told of each other."""
    yield annotation
    for inner in get_args(annotation):
        yield from _kinds(inner)
