"""What people look at: a run's tables, made anew from its folder.

This module knows a run's folder and where its report goes: nothing of what is in a table.
"""

from __future__ import annotations

from pathlib import Path

from langchain_amulet.evaluation.comparison import Told, compare
from langchain_amulet.evaluation.folder import RunFolder
from langchain_amulet.evaluation.results import Results, read_results
from langchain_amulet.evaluation.tables import in_csv, latex, markdown


def report(folder: Path | str) -> Path:
    """Make the report of a run; returns the folder that it is in.

    Raises:
        ConfigurationError: There is no run in ``folder``.
    """
    run = RunFolder(Path(folder))
    results = read_results(run)
    run.report.mkdir(exist_ok=True)
    tables = list(compare(results))
    _write_tables(run.report, results, tables)
    return run.report


def _write_tables(place: Path, results: Results, tables: list[Told]) -> None:
    told = [((each.model, each.questions, each.metric), each.table) for each in tables]
    text = "\n".join([_note(results), *(markdown(each.table) for each in tables)])
    (place / "tables.md").write_text(text, encoding="utf-8")
    (place / "tables.tex").write_text("\n".join(latex(each.table) for each in tables), "utf-8")
    (place / "tables.csv").write_text(in_csv(told, ("model", "questions", "metric")), "utf-8")


def _note(results: Results) -> str:
    """What a reader of the tables has to know."""
    failed = len(results.failures())
    missing = f" {failed} answers failed and are left out." if failed else ""
    return (
        "In brackets: where the difference from "
        f"{results.baseline} lies (paired bootstrap over questions, 95 %).{missing}\n"
    )
