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
    told = [(each.names, each.table) for each in tables]
    text = "\n".join([_note(results), *(markdown(each.table) for each in tables)])
    (place / "tables.md").write_text(text, encoding="utf-8")
    (place / "tables.tex").write_text("\n".join(latex(each.table) for each in tables), "utf-8")
    (place / "tables.csv").write_text(
        in_csv(told, ("model", "questions", "scorer", "metric")), "utf-8"
    )


def _note(results: Results) -> str:
    """What a reader of the tables has to know."""
    failed = {"answers": len(results.failures()), "scores": results.failed_scores}
    missing = "".join(f" {count} {what} failed." for what, count in failed.items() if count)
    return (
        f"In brackets: where the difference from {results.baseline} lies, and of a win rate that "
        f"from a half (paired bootstrap over questions, 95 %).{missing}\n"
    )
