"""Whether strengths and weights that were planted are found again.

The bundled model writes answers at known strengths, and with two preferences at known weights;
simulated users choose between answers by known weights. Each is fitted, and the fit drawn beside
what was planted.

    python -m benchmarks.recovery docs/recovery.svg   # needs the extra "evaluate"
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.harness import console
from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.fitting.examples import Examples, FittedPreferences
from langchain_amulet.fitting.likelihood import TOKENS_WEIGHED
from langchain_amulet.methods import Amulet

STRENGTHS = (0.0, 0.5, 1.0, 2.0, 4.6487)
WISHES = ("Be cheerful.", "Keep it short.")
WEIGHTS = ((1.0, 1.0), (1.0, 0.3), (0.2, 1.0), (0.0, 1.2))
ROUNDS, CHOICES = 4, 200
FAR = 3.0
SIZES = (3, 8, 16, 32, 64)
QUESTIONS = (
    "How do I sleep better?",
    "How do I learn to cook?",
    "How can I save money?",
    "How do I stay focused?",
    "How do I get fit?",
    "How do I make friends?",
    "How do I write better?",
    "How do I grow tomatoes?",
    "How do I learn a language?",
    "How do I give a good speech?",
    "How can I read more?",
    "How do I care for a dog?",
    "How do I keep my house tidy?",
    "How do I prepare for an interview?",
    "How do I drink more water?",
    "How do I take better photos?",
)

Answer = tuple[str, str]


@dataclass(frozen=True)
class Recovery:
    """A fit, with what should be found."""

    planted: tuple[float, ...]
    fitted: FittedPreferences[Preference]

    @property
    def bars(self) -> list[tuple[float, float, float]]:
        """Planted, found and standard error of each number."""
        fitted = self.fitted
        return list(zip(self.planted, fitted.estimates, fitted.errors, strict=True))


def answers(llm: ChatAmulet, preference: Any, rounds: int, first_seed: int) -> list[Answer]:
    """Answers to all questions, each with a seed of its own; unfinished ones are left out."""

    async def ask() -> list[Any]:
        asked = enumerate(QUESTIONS * rounds, first_seed)
        return await asyncio.gather(
            *(llm.ainvoke(q, preference=preference, seed=seed) for seed, q in asked)
        )

    pairs = zip(QUESTIONS * rounds, asyncio.run(ask()), strict=True)
    return [(q, a.text) for q, a in pairs if a.response_metadata["finish_reason"] == "stop"]


def strengths(llm: ChatAmulet) -> dict[str, list[Recovery]]:
    """What is found where one wish was followed at a known strength."""
    found: dict[str, list[Recovery]] = {}
    for wish in WISHES:
        for place, strength in enumerate(STRENGTHS):
            texts = answers(llm, Preference(wish, strength=strength), ROUNDS, 1000 * place)
            fitted = llm.fit([Preference(wish)], Examples(liked=texts), deviation=3.0)
            found.setdefault(wish, []).append(Recovery((strength,), fitted))
    return found


def growing(llm: ChatAmulet) -> list[Recovery]:
    """What is found in more and more texts, by the usual prior, which expects 1."""
    texts = answers(llm, Preference(WISHES[0], strength=FAR), ROUNDS + 1, 9000)
    random.Random(0).shuffle(texts)
    wish = [Preference(WISHES[0])]
    return [Recovery((FAR,), llm.fit(wish, Examples(liked=texts[:size]))) for size in SIZES]


def weights(llm: ChatAmulet) -> tuple[list[Recovery], list[Recovery]]:
    """What is found where two wishes had known weights: in texts, and in choices."""
    wishes = [Preference(wish) for wish in WISHES]
    pool = {a for each in (None, *wishes, wishes) for a in answers(llm, each, 2, 5000)}
    worths = {answer: contrasts(llm, answer) for answer in sorted(pool)}
    texts, choices = [], []
    for place, planted in enumerate(WEIGHTS):
        weighted = [Preference(w, weight=x) for w, x in zip(WISHES, planted, strict=True)]
        liked = Examples(liked=answers(llm, weighted, ROUNDS, 2000 * place))
        chosen = simulated(worths, planted, random.Random(place))
        texts.append(Recovery(planted, llm.fit(wishes, liked)))
        choices.append(Recovery(planted, llm.fit(wishes, chosen)))
    return texts, choices


def contrasts(llm: ChatAmulet, answer: Answer) -> list[float]:
    """How much each wish raises an answer's log-probability, in nats per token."""
    scores = [llm.score(*answer, preference=wish, method="pref") for wish in WISHES]
    return [(score.pref_total - score.base_total) / len(score.token_ids) for score in scores]


def simulated(
    worths: dict[Answer, list[float]], planted: Sequence[float], draw: random.Random
) -> Examples:
    """Choices between two answers to the same question, at the balanced strength."""

    def worth(answer: Answer) -> float:
        forces = (2.0 * weight * c for weight, c in zip(planted, worths[answer], strict=True))
        return TOKENS_WEIGHED * math.fsum(forces)

    chosen, rejected = [], []
    for _ in range(CHOICES):
        question = draw.choice(QUESTIONS)
        one, other = draw.sample([answer for answer in worths if answer[0] == question], 2)
        if draw.random() > 1.0 / (1.0 + math.exp(worth(other) - worth(one))):
            one, other = other, one
        chosen.append(one)
        rejected.append(other)
    return Examples(chosen=chosen, rejected=rejected)


def draw(
    followed: dict[str, list[Recovery]],
    more: list[Recovery],
    texts: list[Recovery],
    choices: list[Recovery],
    path: Path,
) -> None:
    """Three panels, estimates with bars of two standard errors."""
    matplotlib.rcParams["svg.hashsalt"] = "recovery"  # the same figure is the same file
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for wish, found in followed.items():
        _bars(left, [bar for each in found for bar in each.bars], wish)
    sizes = zip(SIZES, more, strict=True)
    _bars(middle, [(size, *each.bars[0][1:]) for size, each in sizes], "found")
    for found, name in ((texts, "in liked texts"), (choices, f"in {CHOICES} choices")):
        _bars(right, [bar for each in found for bar in each.bars], name)
    for axes, most in ((left, 5.0), (right, 1.25)):
        axes.plot([0, most], [0, most], color="0.6", linewidth=1, zorder=0)
    middle.axhline(FAR, color="0.6", linewidth=1, zorder=0, label="planted")
    middle.axhline(1.0, color="0.6", linewidth=1, linestyle=":", zorder=0, label="expected")
    middle.set_xscale("log", base=2)
    middle.set_xticks(SIZES, [str(size) for size in SIZES])
    left.set(title="Strength of one preference", xlabel="planted", ylabel="found")
    middle.set(title="The same as examples come in", xlabel="liked texts", ylabel="strength")
    right.set(title="Weights of two preferences", xlabel="planted", ylabel="found")
    for axes in (left, middle, right):
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def table(
    followed: dict[str, list[Recovery]],
    more: list[Recovery],
    texts: list[Recovery],
    choices: list[Recovery],
) -> Table:
    """The same as numbers."""
    shown = Table("", "planted", "found", "standard error", "examples")
    named = [(wish, each) for wish, found in followed.items() for each in found]
    named += [("more and more texts", each) for each in more]
    named += [("weights, in texts", each) for each in texts]
    named += [("weights, in choices", each) for each in choices]
    for name, each in named:
        columns = zip(*each.bars, strict=True)
        numbers = (", ".join(f"{number:.2f}" for number in column) for column in columns)
        shown.add_row(name, *numbers, str(each.fitted.examples))
    return shown


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figure", type=Path, help="where to draw it, such as docs/recovery.svg")
    path = parser.parse_args().figure
    method = Amulet(strength="balanced")
    with ChatAmulet(dtype="float32", temperature=1.0, max_tokens=300, method=method) as llm:
        found = (strengths(llm), growing(llm), *weights(llm))
    console().print(table(*found))
    draw(*found, path)


def _bars(axes: Axes, bars: Sequence[tuple[float, float, float]], name: str) -> None:
    places, values, errors = zip(*bars, strict=True)
    axes.errorbar(
        places, values, [2 * error for error in errors],
        fmt="o", markersize=4, capsize=3, linewidth=1, label=name,
    )  # fmt: skip


if __name__ == "__main__":
    main()
