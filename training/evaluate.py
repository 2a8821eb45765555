"""Measure the bundled model: ``python -m training.evaluate``.

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

from langchain_amulet import ChatAmulet
from langchain_amulet.engine import acquire
from langchain_amulet.handle import resolve_model
from langchain_amulet.methods import Amulet, Base, LinearAlignment, Method, Pref
from training.questions import ask, wish
from training.scorers import SCORERS, FactCheck, repetition
from training.skills import SKILLS, share_right
from training.styles import Coins, advise
from training.world import STYLES, Topic, World, load_world

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


def report(rows: Mapping[str, Mapping[str, Row]], full: Mapping[str, Row]) -> Table:
    """Way from Base to fully in style per method and style; facts and repetition as means."""
    table = Table("method", *STYLES, "facts", "repetition")
    for method in METHODS:
        ways = []
        for style in STYLES:
            base, top = rows["Base"][style].score, full[style].score
            ways.append(f"{(rows[method][style].score - base) / (top - base):.0%}")
        true = mean(row.true for row in rows[method].values())
        repeated = mean(row.repeated for row in rows[method].values())
        table.add_row(method, *ways, f"{true:.1%}", f"{repeated:.2%}")
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
    world, console = load_world(), Console()
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
        skills = Table("skill", "right")
        runtime = acquire(resolve_model(model), llm.load_options)
        for name, trial in SKILLS.items():
            rng = random.Random(seed)
            share = share_right(runtime, [trial(world, rng) for _ in range(questions)])
            skills.add_row(name, f"{share:.1%}")
    console.print(report(rows, full))
    console.print(skills)


if __name__ == "__main__":
    typer.run(main)
