"""Measure the bundled model: ``python -m pocket.evaluation.evaluate``.

Held-out questions (phrasings that training never saw) are asked with a wish for a style and decoded
greedily by five methods. Per style the table says how far from Base to fully in style each method
gets; "fully in style" is the generator's own answer with every slot obeyed. With
``--unheard-wishes`` the wishes too are in wordings that training never saw. A second table has what
else the model can do, see `skills`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from amulet_evals.scorers.attributes import repetition
from langchain_amulet import ChatAmulet
from langchain_amulet.engine import acquire
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.methods import Amulet, Base, LinearAlignment, Method, Pref
from pocket.corpus.questions import ask, wish
from pocket.corpus.styles import Coins, advise
from pocket.corpus.world import STYLES, Topic, World, load_world
from pocket.evaluation.scorers import SCORERS, FactCheck
from pocket.evaluation.skills import SKILLS, share_right

METHODS: Mapping[str, Method] = {
    "Base": Base(),
    "Pref": Pref(),
    "Linear Alignment": LinearAlignment(),
    "Amulet balanced": Amulet(strength="balanced"),
    "Amulet": Amulet(),
}


@dataclass(frozen=True)
class Case:
    """A held-out question, the topic it is about and a wish for a style."""

    topic: Topic
    question: str
    wish: str


@dataclass(frozen=True)
class Row:
    """One method on one style: mean score, share of true answers, repeated 4-grams."""

    score: float
    true: float
    repeated: float


def cases(world: World, style: str, count: int, unheard: bool, seed: int) -> list[Case]:
    """Questions whose frames are never trained on; of the wishes that holds if ``unheard``."""
    rng = random.Random(seed)
    topics = [rng.choice(world.topics) for _ in range(count)]
    questions = [ask(topic, rng, held_out=True) for topic in topics]
    wishes = [wish(frozenset({style}), world, rng, held_out=unheard) for _ in topics]
    return [Case(*case) for case in zip(topics, questions, wishes, strict=True)]


def measure(answers: Sequence[str], asked: Sequence[Case], style: str, true: FactCheck) -> Row:
    """The three figures of a list of answers."""
    return Row(
        score=mean(map(SCORERS[style], answers)),
        true=mean(true(answer, case.topic) for answer, case in zip(answers, asked, strict=True)),
        repeated=mean(map(repetition, answers)),
    )


def decode(llm: ChatAmulet, method: Method, asked: Sequence[Case], temperature: float) -> list[str]:
    """The answers of one method, all questions in flight at once."""
    answers = llm.batch(
        [case.question for case in asked],
        [{"configurable": {"preference": case.wish}, "max_concurrency": 32} for case in asked],
        method=method,
        temperature=temperature,
        seed=0,
    )
    return [str(answer.content) for answer in answers]


def fully_styled(asked: Sequence[Case], style: str, world: World) -> list[str]:
    """What the generator writes when every slot obeys."""
    rng = random.Random(0)
    coins = Coins(rng, frozenset({style}), fully=True)
    return [advise(case.topic, world, coins) for case in asked]


Rows = Mapping[str, Mapping[str, Row]]
"""Of each method, a row per style."""


def styled(rows: Rows, full: Mapping[str, Row]) -> Table:
    """The way from Base to fully in style, per method and style, and the mean repetition."""
    table = Table("in style", *STYLES, "repetition")
    for method, own in rows.items():
        ways = []
        for style in STYLES:
            base, top = rows["Base"][style].score, full[style].score
            ways.append(f"{(own[style].score - base) / (top - base):.0%}")
        table.add_row(method, *ways, f"{mean(row.repeated for row in own.values()):.2%}")
    return table


def truthful(rows: Rows) -> Table:
    """The share of answers that are true to their topic, per method and style."""
    table = Table("facts right", *STYLES, "mean")
    for method, own in rows.items():
        shares = [own[style].true for style in STYLES]
        table.add_row(method, *(f"{share:.1%}" for share in (*shares, mean(shares))))
    return table


def skilled(model: str, llm: ChatAmulet, world: World, count: int, seed: int) -> Table:
    """What else the model can do, without a preference."""
    table = Table("skill", "right")
    runtime = acquire(resolve_model(model), llm.load_options)
    for name, task in SKILLS.items():
        rng = random.Random(seed)
        share = share_right(runtime, [task(world, rng) for _ in range(count)])
        table.add_row(name, f"{share:.1%}")
    return table


def main(
    model: Annotated[str, typer.Option(help="The bundled model, or a folder.")] = "pocket",
    questions: Annotated[int, typer.Option(help="Held-out questions per style.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    seed: int = 0,
    unheard_wishes: Annotated[bool, typer.Option(help="Wishes in words never seen.")] = False,
    show: Annotated[bool, typer.Option(help="Print one answer per style and method.")] = False,
) -> None:
    """Print the table of the model card."""
    world, console = load_world(), Console(width=None if Console().is_terminal else 110)
    true = FactCheck(world)
    rows: dict[str, dict[str, Row]] = {name: {} for name in METHODS}
    full: dict[str, Row] = {}
    with ChatAmulet(model=model, max_tokens=160) as llm:
        for style in STYLES:
            asked = cases(world, style, questions, unheard_wishes, seed)
            full[style] = measure(fully_styled(asked, style, world), asked, style, true)
            for name, method in METHODS.items():
                answers = decode(llm, method, asked, temperature)
                rows[name][style] = measure(answers, asked, style, true)
                if show:
                    console.print(f"[b]{style} {name}[/b] {asked[0].question} | {asked[0].wish}")
                    console.print(answers[0], markup=False)
        skills = skilled(model, llm, world, questions, seed)
    console.print(styled(rows, full), truthful(rows), skills)


if __name__ == "__main__":
    typer.run(main)
