"""Pictures of a run: how well each method does per style, at what price, and where it steers.

This module knows results and matplotlib: nothing of files.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product

import numpy as np

from amulet_evals.reporting.bootstrap import Floats, interval
from amulet_evals.reporting.results import Results, mean_of
from amulet_evals.run.manifest import Metric
from langchain_amulet.validation.packages import needing

with needing("evaluate", "A report"):
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEGENERATION = "repetition"
"""The attribute that tells how far an answer has fallen apart."""

FEWEST = 0.1
"""Share of a method's answers that must still be going for their mean to be shown."""

PALETTE = mpl.colormaps["tab20"].resampled(20)
"""Ten strong colours, each followed by its pale one."""


@dataclass(frozen=True)
class Plot:
    """A picture of a run.

    Attributes:
        title: What it shows.
        figure: The picture.
    """

    title: str
    figure: Figure

    @property
    def file_name(self) -> str:
        """The title, as a file can be called; without an ending."""
        return re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def svg(self) -> bytes:
        """The picture as SVG, within `style` the same bytes whenever it is made."""
        written = io.BytesIO()
        self.figure.savefig(written, format="svg", bbox_inches="tight", metadata={"Date": None})
        return written.getvalue()


def style() -> AbstractContextManager[None]:
    """How pictures are drawn and written: names are shown as they are, files are repeatable."""
    return mpl.rc_context(
        {
            "text.parse_math": False,
            "svg.hashsalt": "amulet",
            "svg.fonttype": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "font.size": 9,
        }
    )


def plots(results: Results) -> Iterator[Plot]:
    """All pictures of a run; draw and write them within `style`."""
    varied = any(len(methods) > 1 for _, methods in families(results))
    degeneration = [each for each in results.metrics if each.name == DEGENERATION and varied]
    for model, questions in product(results.grid.models, results.grid.sets):
        for metric in results.main_metrics:
            yield bars(results, model, questions, metric)
            for price in degeneration:
                if metric != price:
                    yield tradeoff(results, model, questions, metric, price)
        yield kl_per_token(results, model, questions)


def bars(results: Results, model: str, questions: str, metric: Metric) -> Plot:
    """A group of bars per style, a bar per method, with where its mean lies."""
    methods, styles = list(results.grid.methods), results.grid.styles
    figure = Figure(figsize=(max(5.0, 0.25 * len(methods) * len(styles) + 1), 3.4))
    axes = figure.add_subplot()
    width = 0.8 / len(methods)
    for at, method in enumerate(methods):
        found = [results.values(model, questions, method, each, metric) for each in styles]
        heights = [float(mean_of(values)) for values in found]
        places = np.arange(len(styles)) + (at - (len(methods) - 1) / 2) * width
        errors = np.array([_errors(values) for values in found]).T
        axes.bar(places, heights, width * 0.92, color=nth_colour(at), label=_label(method))
        axes.errorbar(places, heights, errors, fmt="none", ecolor="0.25", elinewidth=0.8)
    axes.set_xticks(range(len(styles)), styles)
    axes.set_ylabel(metric.title)
    axes.grid(axis="y", alpha=0.3)
    return finished(figure, f"{metric.title}: {questions}, {model}")


def tradeoff(
    results: Results, model: str, questions: str, metric: Metric, degeneration: Metric
) -> Plot:
    """A metric against degeneration, a panel per style.

    Methods of one family are joined, in the colour that the strongest has elsewhere, and their
    points grow with their strength.
    """
    styles, order = results.grid.styles, list(results.grid.methods)
    columns = min(4, len(styles))
    lines = math.ceil(len(styles) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.4 * lines + 1.2))
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel, name in zip(panels, styles, strict=False):
        for family, methods in families(results):
            across, up = (
                [results.mean(model, questions, method, name, each) for method in methods]
                for each in (degeneration, metric)
            )
            colour = nth_colour(order.index(methods[-1]))
            panel.plot(across, up, "-", color=colour, linewidth=1)
            sizes = np.linspace(12, 60, len(methods)) if len(methods) > 1 else 30
            panel.scatter(across, up, sizes, color=colour, label=_label(family), zorder=3)
        panel.set_title(name, fontsize=9)
        panel.grid(alpha=0.3)
    for panel in panels[len(styles) :]:
        panel.remove()
    figure.supxlabel(degeneration.title, fontsize=9)
    figure.supylabel(metric.title, fontsize=9)
    return finished(
        figure, f"{metric.title} against {degeneration.title}: {questions}, {model}", panels[0]
    )


def kl_per_token(results: Results, model: str, questions: str) -> Plot:
    """How far a method moves each token, on average over the answers that are still going."""
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.add_subplot()
    for at, method in enumerate(results.grid.methods):
        series = [each.kl for each in results.answers_by(model, questions, method)]
        means = mean_by_place(series)
        if means.any():
            places = np.arange(1, len(means) + 1)
            axes.plot(places, means, color=nth_colour(at), label=_label(method))
    axes.set_xlabel("token")
    axes.set_ylabel("nats from the prompted distribution")
    axes.grid(alpha=0.3)
    return finished(figure, f"KL per token: {questions}, {model}")


def families(results: Results) -> list[tuple[str, list[str]]]:
    """Methods that differ from each other in one number, in its order, under a common name.

    A method that is alone in its family keeps its own name, and one without such a number is
    alone.
    """
    notes = results.grid.methods
    groups: dict[tuple[str, str], list[str]] = {}
    for label in sorted(notes, key=lambda label: notes[label].parameter or 0.0):
        own = label if notes[label].parameter is None else ""
        groups.setdefault((notes[label].family, own), []).append(label)
    return [
        (family if len(labels) > 1 else labels[0], labels) for (family, _), labels in groups.items()
    ]


def mean_by_place(series: Sequence[Sequence[float]]) -> Floats:
    """Means over series of several lengths, as far as `FEWEST` of them go."""
    lengths = sorted(map(len, series), reverse=True)
    needed = max(1, math.ceil(FEWEST * len(series)))
    width = lengths[needed - 1] if len(lengths) >= needed else 0
    padded = [[*each[:width], *[math.nan] * (width - len(each))] for each in series]
    return mean_of(np.array(padded), axis=0) if width else np.zeros(0)


def _errors(values: Floats) -> tuple[float, float]:
    """How far below and above its mean the interval ends, never less than nothing by rounding."""
    found, mean = interval(values), float(mean_of(values))
    return (max(0.0, mean - found.low), max(0.0, found.high - mean)) if found else (0.0, 0.0)


def finished(figure: Figure, title: str, labelled: Axes | None = None) -> Plot:
    """A picture with its legend below it, of what a panel has labels for, else of the first."""
    handles, labels = (labelled or figure.axes[0]).get_legend_handles_labels()
    columns = min(4, max(1, len(labels)))
    figure.tight_layout()
    if labels:
        figure.legend(handles, labels, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    return Plot(title, figure)


def nth_colour(at: int) -> tuple[float, float, float, float]:
    """The colour of what is the n-th of its kind: the strong ones first, then the pale ones."""
    return PALETTE((2 * at + at // 10) % 20)


def _label(name: str) -> str:
    return f" {name}" if name.startswith("_") else name  # matplotlib hides those with a stroke
