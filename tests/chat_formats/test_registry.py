"""Chat formats by name: those of the package, registered ones, and those of other packages."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.delimited import Delimited
from langchain_amulet.chat_formats.hermes import Hermes
from langchain_amulet.chat_formats.llama import Llama
from langchain_amulet.chat_formats.mistral import Mistral
from langchain_amulet.chat_formats.registry import FormatRegistry, as_chat_format
from langchain_amulet.errors import ConfigurationError


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


@pytest.mark.parametrize("value", ["hermis", "", "langchain_amulet.chat_formats.hermes:Hermes"])
def test_an_unknown_name_is_refused_and_never_imported(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"must be one of delimited, hermes, .*[uU]se"):
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


def test_what_was_registered_last_is_asked_first() -> None:
    registry = FormatRegistry((Hermes, Llama))
    other = family("other")
    assert registry.register(Mine) is Mine
    registry.register(other)
    assert registry.families == (other, Mine, Hermes, Llama)
    assert registry.family("mine") is Mine


def test_a_class_that_is_defined_anew_takes_its_own_place() -> None:
    registry = FormatRegistry((Hermes,))
    registry.register(family("other"))
    again = registry.register(family("other"))
    assert registry.families == (again, Hermes)


@pytest.mark.parametrize("name", ["hermes", "mine"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    registry = FormatRegistry((Hermes,))
    registry.register(Mine)
    with pytest.raises(ConfigurationError, match=f"its own, but '{name}' is .*Family another one"):
        registry.register(family(name))


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
        FormatRegistry().register(family)


def test_an_instance_with_changeable_fields_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="fields that don't change"):
        as_chat_format(Changeable())


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A package whose entry point names a family in a module of this code."""
    info = folder / "lines-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lines\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[langchain_amulet.chat_formats]\nlines = lines_of_mine:Lines\n"
    )
    (folder / "lines_of_mine.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "lines_of_mine", raising=False)


def test_a_family_of_another_package_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from langchain_amulet.chat_formats.hermes import Hermes\n"
        "class Lines(Hermes):\n    name = 'lines'\n"
    )
    install(tmp_path, monkeypatch, code)
    registry = FormatRegistry((Hermes,))
    assert [family.name for family in registry.families] == ["lines", "hermes"]
    assert registry.family("lines") is registry.families[0]


def test_an_entry_point_has_the_name_of_its_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from langchain_amulet.chat_formats.hermes import Hermes as Lines\n"
    install(tmp_path, monkeypatch, code)
    with pytest.raises(ConfigurationError, match=r"'lines' must name .* but .* is 'hermes'"):
        FormatRegistry().family("lines")


def test_a_package_whose_family_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "import a_module_that_is_not_there\n")
    with pytest.raises(ConfigurationError, match=r"'lines', which is lines_of_mine:Lines, isn't"):
        FormatRegistry().family("lines")
