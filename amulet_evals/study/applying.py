"""Is a preference left out where it shouldn't apply? Of every way to say when it should.

Each rule of conditions.json is a preference, the topics for its ``when``, the same as a condition
in words, and questions to which it applies and to which it doesn't. A preference that is always
wished applies everywhere; one with its condition in words leaves it to the model; `when` leaves it
to a matcher, and a question that it doesn't match is answered plainly.

Knows effects, matchers and tables. Doesn't know how answers were decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from torch import Tensor

from amulet_evals.reporting.bootstrap import Floats
from amulet_evals.reporting.tables import Table, cell
from amulet_evals.scorers.nearness import encoder
from amulet_evals.scorers.trait_measures import MEASURES
from amulet_evals.study.asked import WORDINGS
from amulet_evals.study.said import Said, effect, plain, signs
from langchain_amulet.memory.conditions import Matcher, Resembles, mentions

THRESHOLDS = (0.2, 0.3, 0.4, 0.5)
"""Least likenesses at which a question is about a topic."""

KINDS = ("applies", "not")
"""Whether a preference applies to a question."""


@dataclass(frozen=True)
class Rule:
    """A preference that applies to some questions.

    Attributes:
        name: Its name.
        trait: The trait by whose measure it is seen.
        when: Topics of its condition.
        cases: Questions by whether it applies to them, see `KINDS`.
    """

    name: str
    trait: str
    when: tuple[str, ...]
    cases: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Rule:
        """A rule as conditions.json has it."""
        cases = {kind: tuple(row[kind]) for kind in KINDS}
        return cls(row["name"], row["trait"], tuple(row["when"]), cases)

    def numbered(self, kind: str) -> Iterator[tuple[str, str]]:
        """Questions of a kind by the names of their scripts."""
        before = len(self.cases["applies"]) if kind == "not" else 0
        for at, text in enumerate(self.cases[kind], before):
            yield f"{self.name} {at}", text


@dataclass(frozen=True)
class _Encoder(Embeddings):
    """A text encoder as LangChain has them."""

    embed: Callable[[str], Tensor]

    def embed_query(self, text: str) -> list[float]:
        return self.embed(text).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(each) for each in texts]


def matchers(encoder_model: str | None) -> Mapping[str, Matcher]:
    """What `when` may ask: words, and with an encoder meanings, at several thresholds."""
    named: dict[str, Matcher] = {"words": mentions}
    if encoder_model is not None:
        meaning = _Encoder(cache(encoder(encoder_model)))
        named |= {f"meaning, {each:g}": Resembles(meaning, each) for each in THRESHOLDS}
    return named


def matching(rules: Sequence[Rule], matchers: Mapping[str, Matcher]) -> Table:
    """How often each matcher has a preference apply where it should, and where it shouldn't."""

    def matched(matcher: Matcher, kind: str) -> Floats:
        found = [matcher(rule.when, text) for rule in rules for _, text in rule.numbered(kind)]
        return np.array(found, dtype=np.float64)

    rows = {
        name: tuple(cell(matched(matcher, kind)) for kind in KINDS)
        for name, matcher in matchers.items()
    }
    return Table("matched", ("where it applies", "where it doesn't"), rows, ("higher", "lower"))


def applying(
    model: str, said: Sequence[Said], rules: Sequence[Rule], matchers: Mapping[str, Matcher]
) -> Table:
    """Effects of preferences where they apply and where they don't, of every way to say when.

    Args:
        model: The model's name.
        said: Its answers.
        rules: What was asked.
        matchers: By their names, what `when` may ask.
    """
    base = plain(said)
    methods = tuple(dict.fromkeys(each.method for each in said if each.style))
    rows = {}
    for method in methods:
        for way, style, matcher in _ways(matchers):
            of_method = [each for each in said if (each.method, each.style) == (method, style)]
            rows[f"{method}, {way}"] = tuple(
                effect(
                    sign
                    for rule in rules
                    for sign in _signs(rule, kind, of_method, base, model, matcher)
                )
                for kind in KINDS
            )
    return Table(f"in style: {model}", ("where it applies", "where it doesn't"), rows, (None, None))


def _ways(matchers: Mapping[str, Matcher]) -> Iterator[tuple[str, str, Matcher | None]]:
    wished, worded = WORDINGS
    yield "always", wished, None
    yield "in words", worded, None
    for name, matcher in matchers.items():
        yield f"when, {name}", wished, matcher


def _signs(
    rule: Rule,
    kind: str,
    said: Sequence[Said],
    base: Mapping[tuple[str, str, int], Said],
    model: str,
    matcher: Matcher | None,
) -> Iterator[float]:
    seen = signs(said, base, MEASURES[rule.trait])
    for script, text in rule.numbered(kind):
        place = model, script, 1
        if matcher is not None and not matcher(rule.when, text):
            yield 0.0 if place in base else math.nan  # it is answered plainly
        else:
            yield seen.get(place, math.nan)
