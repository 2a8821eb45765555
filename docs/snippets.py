"""The snippets of the README and the pages here: run them, and show what they print.

``python -m docs.snippets`` writes what each prints below it, wherever a page shows an output. The
tests run the same snippets and compare. Those of one page share their names, as a reader's do.
"""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
SNIPPET = re.compile(r"```python\n(?P<code>.*?)```(?:\n+```\n(?P<shown>.*?)```)?", re.DOTALL)
WIDTH = 100


@dataclass(frozen=True)
class Outcome:
    """What a snippet printed, and what its page shows; None if the page shows nothing."""

    match: re.Match[str]
    printed: str

    @property
    def shown(self) -> str | None:
        """The output on the page."""
        return self.match["shown"]

    @property
    def is_as_shown(self) -> bool:
        """Whether a reader gets what the page shows, line breaks aside."""
        return self.shown is None or self.printed.split() == self.shown.split()


def run(page: Path) -> Iterator[Outcome]:
    """Run a page's snippets one after the other."""
    scope: dict[str, object] = {}
    for match in SNIPPET.finditer(page.read_text(encoding="utf-8")):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match["code"], page.name, "exec", dont_inherit=True), scope)
        yield Outcome(match, printed.getvalue())


def refreshed(page: Path) -> str:
    """The page's text with every shown output as it is now."""
    text = page.read_text(encoding="utf-8")
    for outcome in reversed(list(run(page))):
        if not outcome.is_as_shown:
            start, end = outcome.match.span("shown")
            text = f"{text[:start]}{_wrapped(outcome.printed)}\n{text[end:]}"
    return text


def _wrapped(text: str) -> str:
    lines = text.strip().splitlines()
    return "\n".join(textwrap.fill(line, WIDTH) if len(line) > WIDTH else line for line in lines)


def main() -> None:
    """Refresh every page in place."""
    for page in PAGES:
        page.write_text(refreshed(page), encoding="utf-8")


if __name__ == "__main__":
    main()
