"""The documentation as a site: whole, without a dead link, and the tutorial as a notebook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from docs.notebook import NOTEBOOK, PAGE, text
from docs.snippets import ROOT
from langchain_amulet import errors


def test_the_site_builds_without_a_warning_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    config = config.replace('paths = ["."]', f"paths = ['{ROOT}']").replace("build/site", "site")
    (tmp_path / "zensical.toml").write_text(config, encoding="utf-8")
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "-f", "zensical.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    reference = (tmp_path / "site" / "reference" / "errors" / "index.html").read_text("utf-8")
    assert all(kind.__name__ in reference for kind in vars(errors).values() if _is_ours(kind))


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text("utf-8")))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert listed == pages


def test_the_notebook_is_the_tutorial_and_runs_from_top_to_bottom() -> None:
    """Its snippets are the page's, which run with those of all pages."""
    assert NOTEBOOK.read_text(encoding="utf-8") == text(PAGE.read_text(encoding="utf-8"))
    scope: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec", dont_inherit=True), scope)


def test_the_rows_for_the_list_of_integrations_say_what_the_model_can_do() -> None:
    rows = yaml.safe_load((ROOT / "docs" / "integrations.yml").read_text(encoding="utf-8"))
    (model,), (package,) = rows["chat_models"], rows["packages"]
    assert model["package"] == package["name"] == "langchain-amulet"
    assert (ROOT / "docs" / "chat-model.md").exists() and model["link"].endswith(
        "docs/chat-model.md"
    )


def _is_ours(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.AmuletError)
