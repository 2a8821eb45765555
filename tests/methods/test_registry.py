"""Methods of one's own: what makes a class one, and how it is found by its name."""

from collections.abc import Callable, Iterator
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import (
    METHODS,
    Amulet,
    Guidance,
    Method,
    Pref,
    as_method,
    register,
)
from langchain_amulet.methods.registry import is_registered, method_registry
from langchain_amulet.steering import Plan
from support.registries import installed, restored


class Prompted(Method):
    """A method in all but its form."""

    name: ClassVar[str] = "prompted"

    def plan(self, preferences: Any) -> Plan:
        return Pref().plan(preferences)


@dataclass(frozen=True)
class Own(Prompted):
    name: ClassVar[str] = "own"
    level: int = 1


# --- What makes a class a method ---


def unnamed() -> Method:
    @dataclass(frozen=True)
    class Unnamed(Method):
        def plan(self, preferences: Any) -> Plan:
            return Plan.plain()

    return Unnamed()


def strangely_named() -> Method:
    @dataclass(frozen=True)
    class Strange(Prompted):
        name: ClassVar[str] = "a:b"

    return Strange()


def mutable() -> Method:
    @dataclass
    class Mutable(Prompted):
        level: int = 1

    return Mutable()


def without_text() -> Method:
    @dataclass(frozen=True, repr=False)
    class Silent(Prompted):
        level: int = 1

    return Silent()


def with_other_parameters() -> Method:
    @dataclass(frozen=True, init=False)
    class Renamed(Prompted):
        level: int

        def __init__(self, height: int = 1) -> None:
            object.__setattr__(self, "level", height)

    return Renamed()


def with_a_parameter_that_is_gone() -> Method:
    @dataclass(frozen=True)
    class Forgetful(Prompted):
        level: InitVar[int]

    return Forgetful(3)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (Prompted, "must be a frozen dataclass, .* but Prompted isn't one: put @dataclass"),
        (mutable, "must be a frozen dataclass"),
        (without_text, "must be a frozen dataclass"),
        (unnamed, "name must be a letter .* is None: give it one"),
        (strangely_named, "name must be a letter .* is 'a:b'"),
        (with_other_parameters, "made of its fields, .* differ in level: leave its __init__"),
        (with_a_parameter_that_is_gone, "made of its fields, .* differ in level"),
    ],
)
def test_a_method_that_can_t_be_named_compared_and_printed_is_refused_at_once(
    make: Callable[[], Method], rule: str
) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        as_method(make())


def test_every_method_of_the_package_is_one_by_the_same_rules() -> None:
    registry = method_registry()
    for name, kind in METHODS.items():
        registry.add(name, kind)
        assert registry[name] is kind


# --- Registering ---


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The methods of this process are the same after each test."""
    with restored(METHODS):
        yield


def test_a_registered_method_is_found_by_its_name() -> None:
    assert not is_registered(Own)
    assert register(Own) is Own  # so that it is a decorator, too
    assert METHODS["own"] is Own
    assert as_method("own:level=3") == Own(3)
    assert is_registered(Own)


def test_a_class_of_a_registered_name_is_not_registered_by_that() -> None:
    @dataclass(frozen=True)
    class Rival(Prompted):
        name: ClassVar[str] = "amulet"

    assert is_registered(Amulet)
    assert not is_registered(Rival)
    with pytest.raises(ConfigurationError, match=r"'amulet' is .*\.Amulet already: give .*Rival"):
        register(Rival)


@pytest.mark.parametrize("strength", ["subtle", "balanced", "strong"])
def test_a_strength_s_name_is_no_method_s(strength: str) -> None:
    @dataclass(frozen=True)
    class Strong(Prompted):
        name: ClassVar[str] = strength

    with pytest.raises(ConfigurationError, match=f"must not be a strength's, but '{strength}'"):
        register(Strong)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (Prompted, "must be a frozen dataclass"),
        (Own(), "must be registered by its class, but 'own' is this Own"),
        (dict, "must be registered by its class"),
    ],
)
def test_what_isn_t_fit_for_a_method_isn_t_registered(kind: Any, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        register(kind)


# --- From other packages ---


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.methods import Method, Pref


@dataclass(frozen=True)
class Brought(Method):
    name: ClassVar[str] = "brought"
    level: int = 1

    def plan(self, preferences):
        return Pref().plan(preferences)
"""

ENTRIES = """
[langchain_amulet.methods]
brought = brought_methods:Brought
misnamed = brought_methods:Brought
odd = brought_methods:dataclass
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    """A package that brings a method, once rightly and twice wrongly."""
    with installed(tmp_path, "brought_methods", PLUGIN, ENTRIES):
        yield


@pytest.mark.usefixtures("package")
def test_a_method_that_another_package_brings_is_given_by_its_name() -> None:
    method = as_method("brought:level=2")
    assert method.plan([Guidance()]) == Pref().plan([Guidance()])
    assert is_registered(type(method))


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("misnamed", r"brought_methods\.Brought, which is 'brought', is brought as 'misnamed'"),
        ("odd", "must be registered by its class, but 'odd' is this function"),
    ],
)
def test_an_entry_point_names_the_class_of_a_method_of_its_name(name: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        METHODS[name]


@pytest.mark.usefixtures("package")
def test_an_unknown_name_is_told_all_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match=r"one of amulet, .*brought, .*subtle.*'brougt'"):
        as_method("brougt")
