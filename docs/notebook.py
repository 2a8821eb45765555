"""The tutorial as a notebook, cell by cell: ``python -m docs.notebook`` writes it anew."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docs.snippets import SNIPPET

HERE = Path(__file__).parent
PAGE, NOTEBOOK = HERE / "tutorial.md", HERE / "tutorial.ipynb"
SENTENCE = re.compile(r" The same steps are a notebook,\s+\[[^\]]*\]\([^)]*\)\.")
"""What the page says of the notebook."""


def notebook(page: str) -> dict[str, Any]:
    """A page as a notebook without outputs: texts between snippets, and the snippets."""
    cells, end = list[dict[str, Any]](), 0
    for match in SNIPPET.finditer(page):
        cells += [
            _text(page[end : match.start()], len(cells)),
            _code(match["code"], len(cells) + 1),
        ]
        end = match.end()
    cells.append(_text(page[end:], len(cells)))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _text(source: str, number: int) -> dict[str, Any]:
    plain = SENTENCE.sub("", source).strip()
    return {"cell_type": "markdown", "id": f"cell-{number}", "metadata": {}, **_lines(plain)}


def _code(source: str, number: int) -> dict[str, Any]:
    unrun = {"execution_count": None, "outputs": list[Any]()}
    return {"cell_type": "code", "id": f"cell-{number}", "metadata": {}, **unrun, **_lines(source)}


def _lines(source: str) -> dict[str, list[str]]:
    return {"source": source.strip().splitlines(keepends=True)}


def text(page: str) -> str:
    """The notebook as it lies in its file."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
