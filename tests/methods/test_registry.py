"""Methods of one's own: what makes a class one, and how it is found by its name."""

import sys
import threading
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
    MethodRegistry,
    Pref,
    as_method,
)
from langchain_amulet.steering import Plan


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
    registry = MethodRegistry()
    for name, kind in METHODS.items():
        assert registry.register(kind) is kind
        assert registry[name] is kind


# --- Registering ---


def test_a_registered_method_is_found_by_its_name() -> None:
    registry = MethodRegistry()
    assert registry.register(Own) is Own  # so that it is a decorator, too
    assert registry["own"] is Own
    assert list(registry) == ["own"]
    assert registry.holds(Own) and not registry.holds(Amulet)
    with pytest.raises(KeyError):
        registry["another"]


def test_a_name_that_is_taken_is_refused() -> None:
    registry = MethodRegistry()
    registry.register(Own)

    @dataclass(frozen=True)
    class Rival(Prompted):
        name: ClassVar[str] = "own"

    with pytest.raises(ConfigurationError, match=r"'own' is .*\.Own already: give .*Rival another"):
        registry.register(Rival)
    assert registry["own"] is Own


@pytest.mark.parametrize("strength", ["subtle", "balanced", "strong"])
def test_a_strength_s_name_is_no_method_s(strength: str) -> None:
    @dataclass(frozen=True)
    class Strong(Prompted):
        name: ClassVar[str] = strength

    with pytest.raises(ConfigurationError, match=f"must not be a strength's, but '{strength}'"):
        MethodRegistry().register(Strong)


def test_a_class_that_is_defined_anew_takes_the_place_of_its_former_self() -> None:
    registry = MethodRegistry()

    def cell() -> type[Method]:  # as of a notebook, run twice
        @registry.register
        @dataclass(frozen=True)
        class Tried(Prompted):
            name: ClassVar[str] = "tried"

        return Tried

    first, second = cell(), cell()
    assert registry["tried"] is second is not first


def test_what_isn_t_fit_for_a_method_isn_t_registered() -> None:
    with pytest.raises(ConfigurationError, match="must be a frozen dataclass"):
        MethodRegistry().register(Prompted)


def test_of_threads_that_want_one_name_one_gets_it() -> None:
    registry, start, refused = MethodRegistry(), threading.Barrier(8), []

    def kind(number: int) -> type[Method]:
        return dataclass(frozen=True)(type(f"Own{number}", (Prompted,), {"name": "own"}))

    kinds = [kind(number) for number in range(8)]

    def register(kind: type[Method]) -> None:
        start.wait()
        try:
            registry.register(kind)
        except ConfigurationError:
            refused.append(kind)

    threads = [threading.Thread(target=register, args=(each,)) for each in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(kinds) - set(refused) == {registry["own"]}


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
broken = brought_methods:Nobody
absent = no_such_module_of_methods:Brought
odd = brought_methods:dataclass
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that brings methods, as an installer would have left it."""
    (tmp_path / "brought_methods.py").write_text(PLUGIN)
    told = tmp_path / "brought_methods-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: brought-methods\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("brought_methods", None)


@pytest.mark.usefixtures("installed")
def test_a_method_that_another_package_brings_is_imported_when_it_is_looked_for() -> None:
    registry = MethodRegistry()
    assert "brought" in registry and "brought" in list(registry)
    assert len(registry) == 5
    assert "brought_methods" not in sys.modules
    kind = registry["brought"]
    assert kind(level=2).plan([Guidance()]) == Pref().plan([Guidance()])  # type: ignore[call-arg]
    assert registry["brought"] is kind
    assert registry.holds(kind)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("misnamed", "must name the class of a method of that name, but 'brought_methods:Brought'"),
        ("odd", "must name the class of a method"),
        ("broken", "must be importable as 'brought_methods:Nobody', but isn't: .*Install"),
        ("absent", "must be importable"),
    ],
)
def test_what_another_package_brings_wrongly_is_refused_by_its_name(name: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        MethodRegistry()[name]


@pytest.mark.usefixtures("installed")
def test_an_unknown_name_is_told_all_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match=r"one of amulet, .*brought, .*subtle.*'brougt'"):
        as_method("brougt")
