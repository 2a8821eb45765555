"""Links lead somewhere: on the pages here, and in the README as a package index shows it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://github.com/langchain-amulet/langchain-amulet"
PAGES = sorted(
    path
    for path in (ROOT, ROOT / "docs", ROOT / "langchain_amulet" / "pocket")
    for path in path.glob("*.md")
)
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def links(page: Path) -> list[str]:
    """Where a page's links lead, its reference links included."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[.+\]: (\S+)$", text, re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings in an address."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_in_the_repository_is_there(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        if target.startswith(REPOSITORY):
            target = re.sub(rf"^{REPOSITORY}/(blob|raw|tree)/main/", "", target)
            path = ROOT / target
        elif ":" in target:
            continue
        else:
            path = page.parent / target if target else page
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path), link


def test_the_readme_s_links_hold_wherever_it_is_read() -> None:
    assert all(link.startswith("https://") for link in links(ROOT / "README.md"))
    text = CODE.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    named = set(re.findall(r"\]\[([^\]]+)\]", text))
    assert named <= set(re.findall(r"^\[(.+)\]: ", text, re.MULTILINE))
