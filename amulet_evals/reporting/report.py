"""What people look at: a run's tables, pictures and page, made anew from its folder.

=========================  ==========================================
tables.md, .csv, .tex      the same tables for three readers
plots/                     the same pictures as SVG and PNG
index.html                 one page with everything, and the answers
=========================  ==========================================

This module knows a run's folder and where its report goes: nothing of what is in a table.
"""

from __future__ import annotations

from pathlib import Path

from amulet_evals.reporting import comparison
from amulet_evals.reporting.comparison import NamedTable, compare, footnote
from amulet_evals.reporting.page import page
from amulet_evals.reporting.plots import plots, style
from amulet_evals.reporting.results import Results, read_results
from amulet_evals.reporting.tables import in_csv, latex, markdown
from amulet_evals.run.folder import RunFolder
from amulet_evals.run.journal import rows
from amulet_evals.run.records import read_traces
from langchain_amulet.validation.checks import check_type


def report(folder: Path | str) -> Path:
    """Make the report of a run; returns the folder that it is in.

    Raises:
        ConfigurationError: There is no run in ``folder``.
    """
    check_type("folder", folder, Path, str)
    run = RunFolder(Path(folder))
    results = read_results(run)
    run.report.mkdir(exist_ok=True)
    tables = list(compare(results))
    _write_tables(run.report, results, tables)
    pictures = _write_plots(run.report / "plots", results)
    traces = read_traces(rows(run.traces))
    text = page(results, run.manifest, tables, pictures, traces)
    (run.report / "index.html").write_text(text, encoding="utf-8", errors="surrogatepass")
    return run.report


def failures(folder: Path | str) -> list[str]:
    """What failed in a run and why, in a line for its answers and one for each scorer.

    Raises:
        ConfigurationError: There is no run in ``folder``.
    """
    return list(comparison.failures(read_results(RunFolder(Path(folder)))))


def _write_tables(place: Path, results: Results, tables: list[NamedTable]) -> None:
    named = [(each.names, each.table) for each in tables]
    text = "\n".join([f"{footnote(results)}\n", *(markdown(each.table) for each in tables)])
    (place / "tables.md").write_text(text, encoding="utf-8")
    (place / "tables.tex").write_text("\n".join(latex(each.table) for each in tables), "utf-8")
    (place / "tables.csv").write_text(
        in_csv(named, ("model", "questions", "scorer", "metric")), "utf-8"
    )


def _write_plots(place: Path, results: Results) -> dict[str, bytes]:
    """Write the pictures in the place of those before; returns them as SVG by their titles."""
    place.mkdir(exist_ok=True)
    for old in (*place.glob("*.svg"), *place.glob("*.png")):
        old.unlink()
    pictures = {}
    with style():
        for at, plot in enumerate(plots(results), 1):
            name, svg = f"{at:02}-{plot.file_name[:80]}", plot.svg()
            plot.figure.savefig(place / f"{name}.png", dpi=150, bbox_inches="tight")
            (place / f"{name}.svg").write_bytes(svg)
            pictures[plot.title] = svg
    return pictures
