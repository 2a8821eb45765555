"""What README and docs/ show really runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
SNIPPET = re.compile(r"```python\n(.*?)```(?:\n+```\n(.*?)```)?", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_snippets_of_a_page_run_and_print_what_it_shows(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scope: dict[str, object] = {}
    for code, shown in SNIPPET.findall(page.read_text(encoding="utf-8")):
        capsys.readouterr()
        exec(compile(code, page.name, "exec"), scope)
        if shown:
            assert capsys.readouterr().out.split() == shown.split()
