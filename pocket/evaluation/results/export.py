"""Write what is asked for the results: ``python -m pocket.evaluation.results.export``.

Questions are in phrasings that training never saw; wishes are in words that it may have.
Knows nothing of answers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pocket.corpus.questions import ask, wish
from pocket.corpus.world import World, load_world

FOLDER = Path(__file__).parent
QUESTIONS, WISHES = FOLDER / "questions.jsonl", FOLDER / "styles.json"
PAPER_STYLES = ("creative", "verbose", "concise", "uplifting")
"""Those of the paper's table, in its order."""


def questions(world: World, count: int, seed: int) -> list[dict[str, str]]:
    """Questions with the topics that they are about; none is there twice."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        topic = rng.choice(world.topics)
        found.setdefault(ask(topic, rng, held_out=True), topic.id)
    return [
        {"id": str(at), "question": question, "topic": topic}
        for at, (question, topic) in enumerate(found.items(), 1)
    ]


def wishes(world: World, count: int, seed: int) -> dict[str, list[str]]:
    """For each style several wordings; none asks for two styles."""
    rng = random.Random(seed)
    found: dict[str, list[str]] = {style: [] for style in PAPER_STYLES}
    taken: set[str] = set()
    for style in PAPER_STYLES:
        while len(found[style]) < count:
            text = wish(frozenset({style}), world, rng)
            if text not in taken:
                taken.add(text)
                found[style].append(text)
    return found


def write(asked: Sequence[Mapping[str, str]], wordings: Mapping[str, Sequence[str]]) -> None:
    """Put both in their files."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in asked)
    QUESTIONS.write_text("".join(lines), encoding="utf-8")
    text = json.dumps(wordings, indent=2, ensure_ascii=False)
    WISHES.write_text(text + "\n", encoding="utf-8")


def main(
    count: Annotated[int, typer.Option(help="How many questions.")] = 200,
    wordings: Annotated[int, typer.Option(help="How many wishes per style.")] = 20,
    seed: int = 0,
) -> None:
    """Write both files."""
    world = load_world()
    write(questions(world, count, seed), wishes(world, wordings, seed))


if __name__ == "__main__":
    typer.run(main)
