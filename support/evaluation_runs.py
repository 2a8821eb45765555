"""Small evaluations, from Python and from the command line, and what they leave on disk."""

import csv
import json
from pathlib import Path
from typing import Any

from click.testing import Result

from amulet_evals import Evaluation
from amulet_evals.run.answering import Answering
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.journal import rows
from support import terminal

STYLES = {"kind": "Be kind.", "short": ["Be short.", "Few words."]}
METHODS = {"Base": "base", "Pref": "pref", "Amulet": "amulet", "Capped": "amulet:kl_cap=0.5"}


def asked(folder: Path, count: int) -> Path:
    path = folder / "asked.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"What is {at}?"}) + "\n" for at in range(count))
    )
    return path


def small(model: str, folder: Path, count: int = 5, **fields: Any) -> Evaluation:
    made = {
        "models": (model,),
        "load": {"dtype": "float32"},
        "questions": (str(asked(folder, count)),),
        "preferences": STYLES,
        "methods": METHODS,
        "decoding": {"max_tokens": 12},
        "traced": 2,
    }
    return Evaluation(**{**made, **fields})


def decoded(model: str, folder: Path, **fields: Any) -> Path:
    """A run's folder with answers and without scores."""
    work = Answering(small(model, folder, **fields), RunFolder(folder / "run"), lambda *at: None)
    with work.run.locked():
        work.decode()
    return folder / "run"


def answers(run: Path) -> list[dict[str, Any]]:
    return list(rows(run / "answers.jsonl"))


def cells(place: Path, metric: str) -> list[dict[str, str]]:
    """What a report's CSV says of a metric."""
    with (place / "tables.csv").open(newline="") as lines:
        return [line for line in csv.DictReader(lines) if line["metric"] == metric]


def run(*arguments: str | Path) -> Result:
    return terminal.run(*map(str, arguments))
