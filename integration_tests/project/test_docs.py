"""What README and docs/ show really runs, and what they list is all there is."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

from amulet_evals import Evaluation
from docs.snippets import PAGES, ROOT, run
from langchain_amulet import ChatAmulet

SETTINGS = re.compile(r"^\| (?P<names>`\w+`(?:, `\w+`)*) \| `(?P<default>.+?)` \| \S", re.MULTILINE)
"""A row of a table of settings, which may share a default and a meaning."""

KEYS = re.compile(
    r"^\| `(?P<key>[\w.\[\]]+)` \| [^|]+ \| (?:needed|`(?P<default>.+?)`) \|", re.MULTILINE
)
"""A row of the table of a config file's keys."""


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


def test_the_keys_of_an_evaluation_s_config_file_are_all_listed_with_their_defaults() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert Evaluation(**json.loads(example)).baseline == "Prompt"
    least = {"questions": ["q.csv"], "scoring": {"reward_models": ["rm"]}}
    unset = Evaluation(**least).model_dump(mode="json")
    unset["methods"] = list(unset["methods"])
    defaults = dict(_flat(unset)) | {"scoring.reward_models": []}
    listed = {row["key"]: row["default"] for row in KEYS.finditer(page)}
    assert listed.keys() == defaults.keys()
    for key, default in listed.items():
        if default is not None:
            assert json.loads(default) == defaults[key], key
    needed = {key for key, default in listed.items() if default is None}
    assert needed == {"questions", "questions[].source", "scoring.reward_models[].model"}


def test_fleets_are_sized_by_the_steps_that_were_measured() -> None:
    row = re.compile(r"^\| engine, (?:Amulet|steered), (\d+) users? \| ([\d.]+) \|", re.MULTILINE)
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    tables = [row.findall(table) for table in text.split("\n\n")]
    measured = [{int(users): float(step) for users, step in rows} for rows in tables if rows]
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert [ast.literal_eval(steps) for steps in re.findall(r"steps=(\{.*?\})", page)] == measured


def _flat(settings: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by where they are in a config file, without those that only hold others."""
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{place}{name}.")
            continue
        yield f"{place}{name}", value
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from _flat(value[0], f"{place}{name}[].")
