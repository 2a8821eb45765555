"""What a method is: preferences in, a plan out, and a search where it looks at whole answers.

Knows what all methods have in common. Doesn't know any of them, or by what name they are found.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field, fields, is_dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import uuid4

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.guidance import Guidance
from langchain_amulet.methods.search import BeamPlan, SearchPlan
from langchain_amulet.registry import own_code
from langchain_amulet.steering import Plan

NAME = re.compile(r"[A-Za-z]\w*")
"""What a method can be called: nothing that means something else where methods are typed."""

CODE: Mapping[str, bool] = MappingProxyType({"code": True})
"""Metadata of a field that holds a function or another piece of code, which has no text of its
own: config files and command lines name it, ``module:name``, and nothing else may."""


class Method(ABC):
    """How preferences become an answer.

    A method is a value: a frozen dataclass, made of its fields. Calls, caches and traces compare
    it and print it; see `check_kind`.
    """

    name: ClassVar[str]
    """What it is called in settings, texts and ``response_metadata``."""

    @abstractmethod
    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """How the prompts of a call with these preferences become one distribution.

        Without any it is the base prompt alone.

        Raises:
            ConfigurationError: Strength times weight is beyond what scores can carry.
        """

    def search(self) -> SearchPlan | BeamPlan | None:
        """How the answer is found among several; None for one that is decoded token by token."""
        return None


def plan_of(method: Method, preferences: Sequence[Guidance]) -> Plan:
    """A method's plan for these preferences, which anybody's method may have made.

    Raises:
        ConfigurationError: It is none, or the method failed; and see `Method.plan`.
    """
    plan = _asked(method, "plan", partial(method.plan, preferences))
    if not isinstance(plan, Plan):
        raise ConfigurationError(
            f"A method's plan() must return a Plan, but that of {method.name!r} gave "
            f"{type(plan).__name__}: return one, such as Plan.plain(prompted(preferences))."
        )
    named = {index for stream in plan.streams for index in stream.preferences}
    if strange := sorted(named - {*range(len(preferences))}):
        raise ConfigurationError(
            f"A plan's streams may name preferences from 0 to {len(preferences) - 1}, as there are "
            f"{len(preferences)}, but that of {method.name!r} names {strange[0]}: count them from "
            "what plan() is given, as prompted(preferences) does."
            if preferences
            else f"A plan's streams can't name a preference where there is none, but that of "
            f"{method.name!r} names {strange[0]}: return Plan.plain() then."
        )
    return plan


def search_of(method: Method) -> SearchPlan | BeamPlan | None:
    """A method's plan of a search, which anybody's method may have made; None for no search.

    Raises:
        ConfigurationError: It is something else, or the method failed.
    """
    search = _asked(method, "search", method.search)
    if not (search is None or isinstance(search, (SearchPlan, BeamPlan))):
        raise ConfigurationError(
            "A method's search() must return a SearchPlan, a BeamPlan or None, but that of "
            f"{method.name!r} gave {type(search).__name__}: return one of these."
        )
    return search


def _asked(method: Method, what: str, ask: Callable[[], object]) -> object:
    """What a method answers, or the package's own error. It knows numbers, and no user's words."""
    rule = f"A method's {what}() must work for whatever a call prefers, but that of {method.name!r}"
    with own_code(rule, "Mend it."):
        return ask()


def unique_key() -> Any:
    """A field that tells a method which holds a function from all others where it is printed.

    Caches tell calls apart by that, and a function's address may be another's tomorrow.
    """
    return field(default_factory=lambda: uuid4().hex, init=False, compare=False)


def check_kind(kind: type[Method]) -> None:
    """Refuse a class of methods that couldn't be named, compared or printed.

    Raises:
        ConfigurationError: It has no name that can be typed, isn't a frozen dataclass, or isn't
            made of its fields.
    """
    title = kind.__qualname__
    name = getattr(kind, "name", None)
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ConfigurationError(
            "A method's name must be a letter and then letters, digits or underscores, but that "
            f'of {title} is {name!r}: give it one, as in name: ClassVar[str] = "mine".'
        )
    if not _is_frozen_dataclass(kind):
        raise ConfigurationError(
            "A method must be a frozen dataclass, as caches and traces compare and print it, but "
            f"{title} isn't one: put @dataclass(frozen=True) above it, below any @register."
        )
    parameters = inspect.signature(kind).parameters
    made_of = {each.name for each in parts(kind)}
    needed = {name for name, each in parameters.items() if each.default is each.empty}
    if not needed <= made_of <= parameters.keys():
        odd = ", ".join(sorted((needed - made_of) | (made_of - parameters.keys())))
        raise ConfigurationError(
            "A method must be made of its fields, so that its text says all of it, but "
            f"{title}'s fields and the parameters it is made with differ in {odd}: leave its "
            "__init__ to the dataclass, or give the parameter a default."
        )


def parts(kind: type[Method]) -> tuple[Field[Any], ...]:
    """The fields that a method of this class is made with."""
    checked: Any = kind  # a dataclass, as `check_kind` made sure
    return tuple(each for each in fields(checked) if each.init)


def _is_frozen_dataclass(kind: type) -> bool:
    if not is_dataclass(kind):
        return False
    # One that prints as its address would be another one's tomorrow, to a cache.
    has_text = kind.__repr__ is not object.__repr__
    return bool(kind.__dataclass_params__.frozen) and has_text  # type: ignore[attr-defined]
