"""Commands that pages show are there, with the options that they are shown with."""

import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from amulet_evals.study.__main__ import app as study
from docs.snippets import PAGES, ROOT
from langchain_amulet.cli import app as langchain_amulet

SHOWN = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "langchain_amulet" / "pocket" / "README.md")
FENCED = re.compile(r"^ *```(?:bash)?\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
SETTING = r"(?: [A-Z]+=\S+)*"
COMMAND = re.compile(
    r"(?:\S*/)?(?:python -m|langchain-amulet) .*"
    rf"|make{SETTING} [\w./-]+{SETTING}(?: #.*)?"
)

APPS = {"langchain-amulet": langchain_amulet, "amulet_evals.study": study}
"""Those whose options are looked up; of other modules it is that they are there."""

ELSEWHERE = ("build", "pytest", "my_package")
"""Modules that aren't ours."""


def commands(page: Path) -> Iterator[list[str]]:
    """What a page has its reader type, word by word."""
    text = page.read_text(encoding="utf-8")
    blocks = [block.replace("\\\n", " ") for block in FENCED.findall(text)]
    spans = INLINE.findall(re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE))
    for line in (*(line for block in blocks for line in block.splitlines()), *spans):
        if COMMAND.fullmatch(words := " ".join(line.split())):
            yield shlex.split(words, comments=True)


def unknown(app: typer.Typer, words: Sequence[str]) -> list[str]:
    """What of a command there isn't."""
    group: Any = typer.main.get_command(app)
    names = list(words)
    while names and hasattr(group, "commands") and not names[0].startswith("-"):
        if names[0] not in group.commands:
            return [names[0]]
        group = group.commands[names.pop(0)]
    known = {name for each in group.params for name in each.opts} | {"--help"}
    return [each for each in names if re.match("--?[a-z]", each) and each not in known]


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_there(page: Path) -> None:
    targets = re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for program, *rest in commands(page):
        match Path(program).name, rest:
            case "make", words:
                (target,) = (each for each in words if "=" not in each)
                assert target in targets, target
            case "langchain-amulet", words:
                assert unknown(APPS["langchain-amulet"], words) == [], words
            case "python", ["-m", module, *words] if module.partition(".")[0] not in ELSEWHERE:
                assert find_spec(module), module
                assert module not in APPS or unknown(APPS[module], words) == [], words


def test_what_is_not_there_is_found() -> None:
    assert unknown(study, ["lasting", "--answers", "a", "--report", "r"]) == []
    assert unknown(study, ["lasting", "--answer", "a"]) == ["--answer"]
    assert unknown(study, ["last"]) == ["last"]
    assert unknown(langchain_amulet, ["preferences", "set", "Short.", "--user", "ada"]) == []
    assert unknown(langchain_amulet, ["preferences", "set", "--name", "ada"]) == ["--name"]
    assert any(words[3:4] == ["lasting"] for words in commands(ROOT / "docs" / "results.md"))
