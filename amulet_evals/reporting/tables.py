"""Tables in the paper's layout: methods down, styles across, the best in bold.

This module knows numbers and text: nothing of where they come from.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from amulet_evals.reporting.bootstrap import Floats, Interval, interval
from amulet_evals.reporting.results import mean_of


@dataclass(frozen=True)
class Cell:
    """One number, and how it differs from the baseline's.

    Attributes:
        mean: The number; NaN where there is none.
        count: Over how many questions.
        difference: Where its paired difference from the baseline lies; None for the baseline.
    """

    mean: float
    count: int
    difference: Interval | None = None

    @property
    def bounds(self) -> str:
        """The interval as it is printed, with as many digits as the number; empty for none."""
        if self.difference is None:
            return ""
        low, high = (f"{end:+.{_decimals(self.mean)}f}" for end in self.difference.ends)
        return f"[{low}, {high}]"


@dataclass(frozen=True)
class Table:
    """Cells by rows and columns.

    Attributes:
        title: What it shows.
        columns: Names of the columns.
        rows: Labels with a cell per column.
        better: For each column, which end is wanted; None for neither.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    better: tuple[Literal["higher", "lower"] | None, ...]

    def is_best(self, column: int, cell: Cell) -> bool:
        """Whether no number of a column is printed better, and one is printed worse."""
        shown = (printed(cells[column].mean) for cells in self.rows.values())
        known = {value for value in shown if not math.isnan(value)}
        if self.better[column] is None or len(known) < 2:
            return False
        return printed(cell.mean) == (max if self.better[column] == "higher" else min)(known)

    def beside(self, column: int, cell: Cell) -> str:
        """What is printed beside a number: its interval, and if it is over fewer than others."""
        most = max(cells[column].count for cells in self.rows.values())
        fewer = f"n={cell.count}" if 0 < cell.count < most else ""
        return " ".join(filter(None, (cell.bounds, fewer)))


def cell(values: Floats, differences: Floats | None = None) -> Cell:
    """A cell from a number per question, and how they differ from the baseline's."""
    difference = None if differences is None else interval(differences)
    return Cell(float(mean_of(values)), int(np.count_nonzero(~np.isnan(values))), difference)


def compared(numbers: Mapping[str, Sequence[Floats]], baseline: str) -> dict[str, tuple[Cell, ...]]:
    """Rows of cells, each with its paired difference from the baseline's in the same column.

    Args:
        numbers: By method, for each column a number per question; the questions are the same.
        baseline: The method that the others are held against; where it isn't among them, none has
            a difference.
    """
    against = numbers.get(baseline)

    def row(method: str, own: Sequence[Floats]) -> tuple[Cell, ...]:
        if against is None or method == baseline:
            return tuple(map(cell, own))
        pairs = zip(own, against, strict=True)
        return tuple(cell(each, each - other) for each, other in pairs)

    return {method: row(method, own) for method, own in numbers.items()}


def markdown(table: Table) -> str:
    """As Markdown: the best in bold, intervals of the difference from the baseline in brackets.

    A number over fewer questions than others of its column says so.
    """
    lines = [["method", *map(_in_markdown, table.columns)], ["---", *["---:"] * len(table.columns)]]
    for label, cells in table.rows.items():
        lines.append([_in_markdown(label), *_shown(table, cells, "**{}**", "{}")])
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"**{_in_markdown(table.title)}**\n\n{rows}"


def latex(table: Table) -> str:
    """As LaTeX, for the package ``booktabs`` and no other."""
    lines = [["method", *map(_in_latex, table.columns)]]
    for label, cells in table.rows.items():
        lines.append([_in_latex(label), *_shown(table, cells, r"\textbf{{{}}}", r"{{\tiny {}}}")])
    head, *body = (" & ".join(line) + r" \\" for line in lines)
    columns = "l" + "r" * len(table.columns)
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    title = f"% {' '.join(table.title.split())}"
    ruled = [r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([title, begin, *ruled, end, ""])


def in_csv(tables: Iterable[tuple[Sequence[str], Table]], names: Sequence[str]) -> str:
    """As CSV, a line per cell.

    Args:
        tables: Tables, each with what tells it from the others.
        names: What these are called in the header.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    bounds = ("difference_low", "difference_high")
    writer.writerow([*names, "method", "column", "mean", "n", *bounds])
    for values, table in tables:
        for label, cells in table.rows.items():
            for column, each in zip(table.columns, cells, strict=True):
                mean = "" if math.isnan(each.mean) else each.mean
                ends = each.difference.ends if each.difference else ("", "")
                writer.writerow([*values, label, column, mean, each.count, *ends])
    return text.getvalue()


def _shown(table: Table, cells: Sequence[Cell], bold: str, small: str) -> list[str]:
    """The texts of a row; ``bold`` and ``small`` have a place for what they mark."""
    texts = []
    for column, each in enumerate(cells):
        text = number(each.mean)
        text = bold.format(text) if table.is_best(column, each) else text
        beside = table.beside(column, each)
        texts.append(f"{text} {small.format(beside)}" if beside else text)
    return texts


def number(value: float) -> str:
    """A number as it is printed, with three digits or so; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{_decimals(value)}f}"


def printed(value: float) -> float:
    """The number that is read where ``value`` is printed."""
    return value if math.isnan(value) else float(number(value))


def _decimals(value: float) -> int:
    return next((count for count, end in ((3, 1), (2, 10), (1, 1000)) if abs(value) < end), 0)


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _in_latex(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "[": "{[}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }  # fmt: skip
    return "".join(special.get(character, character) for character in " ".join(text.split()))
