"""One page with everything: tables, pictures, and answers side by side, their tokens coloured.

The page stands alone: no scripts, nothing from elsewhere, and what users and models wrote is text.

This module knows results, tables and Jinja: nothing of files.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from jinja2 import Environment, PackageLoader, StrictUndefined

from amulet_evals.reporting.comparison import NamedTable, footnote
from amulet_evals.reporting.results import Results
from amulet_evals.reporting.tables import number
from amulet_evals.run.grid import Case
from amulet_evals.run.manifest import Manifest
from amulet_evals.run.records import AnswerRecord, Failure, TracedToken
from langchain_amulet.trace import SHADES, as_factor, level

LEVELS = tuple(least for least, _ in SHADES[1:])
"""By what factor steering changed a token's probability, from which on it has the next colour."""


@dataclass(frozen=True)
class ShadedToken:
    """A stretch of text of one colour.

    Attributes:
        text: The text.
        level: How far it was moved: an index into `LEVELS` plus 1; 0 for hardly.
        tooltip: Its probabilities, shown to who points at it.
    """

    text: str
    level: int = 0
    tooltip: str = ""


@dataclass(frozen=True)
class Card:
    """One answer beside others, or why there is none.

    Attributes:
        method: Label of the method.
        tokens: Its text.
        summary: Its length, its divergence and its scores in a line.
    """

    method: str
    tokens: Sequence[ShadedToken]
    summary: str


@dataclass(frozen=True)
class Exhibit:
    """Answers of all methods to one question in one style."""

    model: str
    case: Case
    cards: Sequence[Card]


def page(
    results: Results,
    manifest: Manifest,
    tables: Sequence[NamedTable],
    pictures: Mapping[str, bytes],
    traces: Mapping[str, Sequence[TracedToken]],
) -> str:
    """The page.

    Args:
        results: The run.
        manifest: What it was made with.
        tables: Its tables.
        pictures: SVG files by their titles.
        traces: Tokens of answers by the answers' keys.
    """
    environment = Environment(
        loader=PackageLoader("amulet_evals", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        manifest=manifest,
        tables=tables,
        pictures={title: base64.b64encode(svg).decode() for title, svg in pictures.items()},
        exhibits=list(exhibits(results, traces)),
        levels=LEVELS,
        number=number,
        footnote=footnote(results),
    )


def exhibits(results: Results, traces: Mapping[str, Sequence[TracedToken]]) -> Iterator[Exhibit]:
    """The questions of which tokens were kept, in every style."""
    for model, case in product(results.grid.models, results.grid.cases):
        found = {
            method: results.answers.get(results.grid.task(model, method, case).key)
            for method in results.grid.methods
        }
        known = {label: each for label, each in found.items() if each is not None}
        if any(each.task.key in traces for each in known.values()):
            cards = [_card(results, case, label, each, traces) for label, each in known.items()]
            yield Exhibit(model, case, cards)


def shaded(tokens: Sequence[TracedToken]) -> list[ShadedToken]:
    """An answer's tokens; those that were hardly moved are joined with their neighbours."""
    found: list[ShadedToken] = []
    for token in tokens:
        far = level(token.ratio)
        if found and not far and not found[-1].level:
            found[-1] = ShadedToken(found[-1].text + token.text)
        else:
            found.append(ShadedToken(token.text, far, _tooltip(token) if far else ""))
    return found


def _tooltip(token: TracedToken) -> str:
    base = "" if token.base is None else f"base {token.base:.1%}, "
    factor = as_factor(token.ratio)
    return f"{base}prompted {token.pref:.1%}, steered {token.steered:.1%} ({factor})"


def _card(
    results: Results,
    case: Case,
    method: str,
    answer: AnswerRecord | Failure,
    traces: Mapping[str, Sequence[TracedToken]],
) -> Card:
    if isinstance(answer, Failure):
        return Card(method, (), f"no answer, {answer.kind}: {answer.message}")
    traced = traces.get(answer.task.key)
    tokens = shaded(traced) if traced else [ShadedToken(answer.text)]
    summary = [f"{answer.tokens} tokens", f"{answer.mean_kl:.2f} nats per token"]
    for metric in results.main_metrics:
        value = results.value(answer.task.model, method, case, metric)
        summary.append(f"{metric.title} {number(value)}")
    return Card(method, tokens, ", ".join(summary))
