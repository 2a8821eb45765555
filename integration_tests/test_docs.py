"""What README and docs/ show really runs, and what they list is all there is."""

import ast
import re
from pathlib import Path

import pytest
from langchain_core.language_models import BaseChatModel

from docs.snippets import PAGES, ROOT, run
from langchain_amulet import ChatAmulet

SETTINGS = re.compile(r"^\| (?P<names>`\w+`(?:, `\w+`)*) \| `(?P<default>.+?)` \| \S", re.MULTILINE)
"""A row of a table of settings, which may share a default and a meaning."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run_and_print_what_it_shows(page: Path) -> None:
    for outcome in run(page):
        assert outcome.is_as_shown, f"{outcome.match['code']}\nprinted:\n{outcome.printed}"


def test_the_reference_lists_all_settings_once_with_their_defaults() -> None:
    page = (ROOT / "docs" / "chat-model.md").read_text(encoding="utf-8")
    _, reference = page.split("\n## API reference\n")
    listed = [
        (name, ast.literal_eval(row["default"]))
        for row in SETTINGS.finditer(reference)
        for name in re.findall(r"\w+", row["names"])
    ]
    own = ChatAmulet.model_fields.keys() - BaseChatModel.model_fields.keys()
    assert sorted(name for name, _ in listed) == sorted(own)
    unset = ChatAmulet()
    for name, default in listed:
        assert getattr(ChatAmulet(**{name: default}), name) == getattr(unset, name), name
