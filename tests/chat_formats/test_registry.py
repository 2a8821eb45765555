"""Chat formats by name: those of the package, registered ones, and those of other packages."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.families.delimited import Delimited
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.families.mistral import Mistral
from langchain_amulet.chat_formats.registry import (
    FORMATS,
    SHIPPED,
    as_chat_format,
    families,
    family_of,
    register,
)
from langchain_amulet.errors import ConfigurationError
from support.registries import installed, restored


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The chat formats of this process are the same after each test."""
    with restored(FORMATS):
        yield


@dataclass(frozen=True)
class Mine(Hermes):
    name = "mine"


def test_each_family_of_the_package_has_a_name() -> None:
    names = {"hermes": Hermes, "llama": Llama, "mistral": Mistral, "delimited": Delimited}
    for name, family in names.items():
        assert as_chat_format(name) == name == family.name
        assert family()


def test_a_format_or_none_stands_for_itself() -> None:
    mine = Mine()
    assert as_chat_format(mine) is mine
    assert as_chat_format(None) is None


@pytest.mark.parametrize(
    "value", ["hermis", "", "langchain_amulet.chat_formats.families.hermes:Hermes"]
)
def test_an_unknown_name_is_refused_and_never_imported(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"must be one of apertus, .* hermes, .*[uU]se"):
        as_chat_format(value)


@pytest.mark.parametrize("value", [Hermes, 3, {"name": "hermes"}])
def test_what_is_no_format_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a ChatFormat, the name of one or None"):
        as_chat_format(value)


def family(name: str) -> type[ChatFormat]:
    """A class that is defined anew each time."""

    @dataclass(frozen=True)
    class Family(Hermes):
        pass

    Family.name = name
    return Family


def test_what_was_registered_last_is_asked_first_and_the_package_s_own_last() -> None:
    other = family("other")
    assert register(Mine) is Mine  # so that it is a decorator, too
    register(other)
    assert families()[:2] == (other, Mine)
    assert families()[-len(SHIPPED) :] == SHIPPED
    assert family_of("mine") is Mine


def test_a_class_that_is_defined_anew_is_asked_in_its_former_self_s_place() -> None:
    register(family("other"))
    register(Mine)
    again = register(family("other"))
    assert families()[:2] == (Mine, again)


def test_the_names_of_the_package_s_own_families_are_taken() -> None:
    with pytest.raises(ConfigurationError, match=r"its own, but 'hermes' is .*Family another one"):
        register(family("hermes"))


@dataclass(frozen=True)
class Nameless(Hermes):
    name = ""


@dataclass(frozen=True)
class Changeable(Hermes):
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unfinished(ChatFormat):
    name = "unfinished"


@dataclass(frozen=True)
class Demanding(Hermes):
    word: str = field(kw_only=True)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        (Nameless, "must have a name"),
        (Changeable, "fields that don't change"),
        (Unfinished, "all that ChatFormat asks for"),
        (Demanding, "defaults for its fields"),
        (Hermes(), "must be a subclass"),
        (dict, "must be a subclass"),
    ],
)
def test_what_lacks_something_is_refused_where_it_is_registered(family: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        register(family)


def test_an_instance_with_changeable_fields_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="fields that don't change"):
        as_chat_format(Changeable())


HERMES = "from langchain_amulet.chat_formats.families.hermes import Hermes\n"
LINES = f"{HERMES}class Lines(Hermes):\n    name = 'brought'\n"
ENTRIES = "[langchain_amulet.chat_formats]\nbrought = lines_of_mine:Lines\n"


def test_a_family_of_another_package_is_known_by_its_name_and_asked_before_the_package_s_own(
    tmp_path: Path,
) -> None:
    with installed(tmp_path, "lines_of_mine", LINES, ENTRIES):
        assert as_chat_format("brought") == "brought"
        assert family_of("brought") is families()[0]


def test_an_entry_point_has_the_name_of_its_family(tmp_path: Path) -> None:
    with (
        installed(tmp_path, "lines_of_mine", f"{HERMES}Lines = Hermes\n", ENTRIES),
        pytest.raises(ConfigurationError, match="'hermes', is brought as 'brought'"),
    ):
        family_of("brought")


def test_a_package_whose_family_cannot_be_imported_is_named_when_all_are_asked(
    tmp_path: Path,
) -> None:
    with (
        installed(tmp_path, "lines_of_mine", "import a_module_that_is_not_there\n", ENTRIES),
        pytest.raises(ConfigurationError, match="'brought' must be importable as 'lines_of_mine:"),
    ):
        families()
