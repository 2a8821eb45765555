"""The table of docs/backends.md: what works with which backend, as trials find.

``python -m docs.backends`` tries every feature with the backends that run in this process and
``python -m docs.backends URL`` with the vLLM server there, which must serve ``pocket``; the table
says what came of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from langchain_amulet import ChatAmulet
from langchain_amulet.engine.remote.model import VLLM
from support.backends import HERE, chat_model, served_model
from support.features import TRIALS, outcome

PAGE = Path(__file__).parent / "backends.md"
BLOCK = re.compile(r"\| feature \|.*?\n(?=\n)", re.DOTALL)
COLUMNS = (*HERE, VLLM)

Cells = Mapping[str, Mapping[str, str]]
"""What came of each feature, by backend."""


def shown() -> Cells:
    """What the page says."""
    (block,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    rows = [re.split(r" *(?<!\\)\| *", line)[1:-1] for line in block.splitlines()]
    columns = [head.strip("`") for head in rows[0][1:]]
    return {
        column: {row[0]: row[place] for row in rows[2:]}
        for place, column in enumerate(columns, start=1)
    }


def table(cells: Cells) -> str:
    """The table in Markdown; a cell that nobody tried has a question mark."""
    head = ["feature", *(f"`{column}`" for column in COLUMNS)]
    marks = ["---", *[":---:"] * len(COLUMNS)]
    rows = [[name, *(cells[column].get(name, "?") for column in COLUMNS)] for name in TRIALS]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, marks, *rows])


def tried(llm: ChatAmulet) -> Mapping[str, str]:
    """What comes of each feature with a model."""
    return {name: outcome(trial, llm) for name, trial in TRIALS.items()}


def main(urls: list[str]) -> None:
    """Try what there is, and write it into the page."""
    cells = dict(shown())
    if urls:
        with served_model(urls[0]) as llm:
            cells[VLLM] = tried(llm)
    else:
        for backend in HERE:
            with TemporaryDirectory() as folder, chat_model(backend, Path(folder)) as llm:
                cells[backend] = tried(llm)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: table(cells), text), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
