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
class HeldOutQuestion:
    """A held-out question, the topic it is about and a wish for a style."""

    topic: Topic
    question: str
    wish: str


@dataclass(frozen=True)
class StyleScores:
    """One method on one style: mean score, share of true answers, repeated 4-grams."""

    score: float
    true: float
    repeated: float


def held_out_questions(
    world: World, style: str, count: int, unheard: bool, seed: int
) -> list[HeldOutQuestion]:
    """Questions whose frames are never trained on; of the wishes that holds if ``unheard``."""
    rng = random.Random(seed)
    topics = [rng.choice(world.topics) for _ in range(count)]
    questions = [ask(topic, rng, held_out=True) for topic in topics]
    wishes = [wish(frozenset({style}), world, rng, held_out=unheard) for _ in topics]
    return [HeldOutQuestion(*each) for each in zip(topics, questions, wishes, strict=True)]


def measure(
    answers: Sequence[str], held_out: Sequence[HeldOutQuestion], style: str, true: FactCheck
) -> StyleScores:
    """The three figures of a list of answers."""
    return StyleScores(
        score=mean(map(SCORERS[style], answers)),
        true=mean(true(answer, each.topic) for answer, each in zip(answers, held_out, strict=True)),
        repeated=mean(map(repetition, answers)),
    )


def decode(
    llm: ChatAmulet, method: Method, held_out: Sequence[HeldOutQuestion], temperature: float
) -> list[str]:
    """The answers of one method, all questions in flight at once."""
    answers = llm.batch(
        [each.question for each in held_out],
        [{"configurable": {"preference": each.wish}, "max_concurrency": 32} for each in held_out],
        method=method,
        temperature=temperature,
        seed=0,
    )
    return [str(answer.content) for answer in answers]


def fully_styled(held_out: Sequence[HeldOutQuestion], style: str, world: World) -> list[str]:
    """What the generator writes when every slot obeys."""
    rng = random.Random(0)
    coins = Coins(rng, frozenset({style}), fully=True)
    return [advise(each.topic, world, coins) for each in held_out]


ScoresByMethod = Mapping[str, Mapping[str, StyleScores]]
"""Of each method, a row per style."""


def styled(scores: ScoresByMethod, full: Mapping[str, StyleScores]) -> Table:
    """The way from Base to fully in style, per method and style, and the mean repetition."""
    table = Table("in style", *STYLES, "repetition")
    for method, own in scores.items():
        ways = []
        for style in STYLES:
            base, top = scores["Base"][style].score, full[style].score
            ways.append(f"{(own[style].score - base) / (top - base):.0%}")
        table.add_row(method, *ways, f"{mean(row.repeated for row in own.values()):.2%}")
    return table


def truthful(scores: ScoresByMethod) -> Table:
    """The share of answers that are true to their topic, per method and style."""
    table = Table("facts right", *STYLES, "mean")
    for method, own in scores.items():
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
    scores: dict[str, dict[str, StyleScores]] = {name: {} for name in METHODS}
    full: dict[str, StyleScores] = {}
    with ChatAmulet(model=model, max_tokens=160) as llm:
        for style in STYLES:
            held_out = held_out_questions(world, style, questions, unheard_wishes, seed)
            full[style] = measure(fully_styled(held_out, style, world), held_out, style, true)
            for name, method in METHODS.items():
                answers = decode(llm, method, held_out, temperature)
                scores[name][style] = measure(answers, held_out, style, true)
                if show:
                    first = held_out[0]
                    console.print(f"[b]{style} {name}[/b] {first.question} | {first.wish}")
                    console.print(answers[0], markup=False)
        skills = skilled(model, llm, world, questions, seed)
    console.print(styled(scores, full), truthful(scores), skills)


if __name__ == "__main__":
    typer.run(main)
