"""What all registries have in common, on one of classes."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.registry import Registry, place_of
from support.registries import installed, restored

GROUP = "langchain_amulet.tests"


class First: ...


class Second: ...


def check(name: str, thing: Any) -> None:
    if not isinstance(thing, type):
        raise ConfigurationError(f"A thing must be a class, which {name!r} isn't: define one.")


@pytest.fixture
def registry() -> Registry[type]:
    return Registry("thing", GROUP, check)


def defined_anew() -> type:
    class Tried: ...  # as in a notebook's cell, which is run twice

    return Tried


# --- What is added ---


def test_a_registry_begins_with_nothing(registry: Registry[type]) -> None:
    assert len(registry) == 0
    assert list(registry) == []


def test_what_is_added_is_found_by_its_name_and_names_keep_their_order(
    registry: Registry[type],
) -> None:
    registry.add("second", Second)
    registry.add("first", First)
    assert registry["first"] is First
    assert registry["second"] is Second
    assert list(registry) == ["second", "first"]
    assert dict(registry) == {"second": Second, "first": First}
    assert len(registry) == 2


@pytest.mark.parametrize("name", ["another", "", None, 3])
def test_what_was_never_added_is_not_there(registry: Registry[type], name: Any) -> None:
    registry.add("first", First)
    assert name not in registry
    assert registry.get("another") is None
    with pytest.raises(KeyError):
        registry["another"]


def test_what_is_not_fit_is_refused_and_its_name_stays_free(registry: Registry[type]) -> None:
    with pytest.raises(ConfigurationError, match="must be a class, which 'first' isn't"):
        registry.add("first", First())  # type: ignore[arg-type]
    assert "first" not in registry
    registry.add("first", First)


def test_a_name_that_is_taken_is_refused(registry: Registry[type]) -> None:
    registry.add("mine", First)
    rule = r"name of a thing must be its own, but 'mine' is .*\.First already: give .*\.Second an"
    with pytest.raises(ConfigurationError, match=rule):
        registry.add("mine", Second)
    assert registry["mine"] is First


def test_one_thing_may_have_several_names(registry: Registry[type]) -> None:
    registry.add("one", First)
    registry.add("other", First)
    assert registry["one"] is registry["other"]


def test_what_is_defined_anew_takes_the_place_of_its_former_self(registry: Registry[type]) -> None:
    registry.add("tried", defined_anew())
    registry.add("first", First)
    again = defined_anew()
    registry.add("tried", again)
    assert registry["tried"] is again
    assert list(registry) == ["tried", "first"]


def test_of_threads_that_want_one_name_one_gets_it(registry: Registry[type]) -> None:
    start, refused = threading.Barrier(8), []
    kinds = [type(f"Kind{number}", (), {}) for number in range(8)]

    def add(kind: type) -> None:
        start.wait()
        try:
            registry.add("wanted", kind)
        except ConfigurationError:
            refused.append(kind)

    threads = [threading.Thread(target=add, args=(each,)) for each in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(kinds) - set(refused) == {registry["wanted"]}


def test_a_class_and_a_function_have_their_own_place_and_an_object_that_of_its_class() -> None:
    assert place_of(First) == f"{__name__}.First"
    assert place_of(place_of) == "langchain_amulet.registry.place_of"
    assert place_of(First()) == f"{__name__}.First"


# --- What other packages bring ---

CODE = """
from collections import OrderedDict as Elsewhere

class Brought: ...

number = 3
"""

ENTRIES = f"""
[{GROUP}]
brought = bringing_things:Brought
elsewhere = bringing_things:Elsewhere
number = bringing_things:number
lacking = bringing_things:Nobody
absent = no_such_module_of_things:Brought
"""


@pytest.fixture
def package(tmp_path: Path) -> Iterator[None]:
    """A package that brings two things that are fit and three that aren't."""
    with installed(tmp_path, "bringing_things", CODE, ENTRIES):
        yield


@pytest.mark.usefixtures("package")
def test_what_another_package_brings_is_imported_when_it_is_asked_for_and_no_sooner(
    registry: Registry[type],
) -> None:
    registry.add("first", First)
    assert "brought" in registry
    assert list(registry) == ["first", "absent", "brought", "elsewhere", "lacking", "number"]
    assert len(registry) == 6
    assert registry["first"] is First
    assert "bringing_things" not in sys.modules
    brought = registry["brought"]
    assert place_of(brought) == "bringing_things.Brought"
    assert registry["brought"] is brought
    assert len(registry) == 6


@pytest.mark.usefixtures("package")
def test_an_entry_point_may_name_what_its_module_imports_from_elsewhere(
    registry: Registry[type],
) -> None:
    assert place_of(registry["elsewhere"]) == "collections.OrderedDict"


@pytest.mark.usefixtures("package")
def test_a_name_that_another_package_brings_is_taken_before_it_is_imported(
    registry: Registry[type],
) -> None:
    rule = r"'brought' is bringing_things\.Brought already"
    with pytest.raises(ConfigurationError, match=rule):
        registry.add("brought", First)
    assert "bringing_things" not in sys.modules
    registry.add("brought", registry["brought"])


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (
            "lacking",
            "thing 'lacking' must be importable as 'bringing_things:Nobody', but isn't: .*",
        ),
        ("absent", "must be importable as 'no_such_module_of_things:Brought', .*Install its"),
        ("number", "must be a class, which 'number' isn't"),
    ],
)
def test_what_another_package_brings_wrongly_is_refused_by_its_name_alone(
    registry: Registry[type], name: str, rule: str
) -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=rule):
            registry[name]
    assert place_of(registry["brought"]) == "bringing_things.Brought"
    with pytest.raises(ConfigurationError):
        dict(registry)


def test_a_package_that_fails_while_it_is_imported_is_named(
    registry: Registry[type], tmp_path: Path
) -> None:
    entries = f"[{GROUP}]\nfailing = failing_things:Thing\n"
    rule = r"'failing' .* isn't: division by zero\. Install"
    with (
        installed(tmp_path, "failing_things", "1 / 0\n", entries),
        pytest.raises(ConfigurationError, match=rule),
    ):
        registry["failing"]


# --- In tests ---


def test_a_test_leaves_a_registry_as_it_was(registry: Registry[type], tmp_path: Path) -> None:
    registry.add("first", First)
    assert len(registry) == 1  # by now packages have been looked for
    with restored(registry), installed(tmp_path, "bringing_things", CODE, ENTRIES):
        registry.add("second", Second)
        assert {"second", "brought"} <= set(registry)
    assert dict(registry) == {"first": First}
