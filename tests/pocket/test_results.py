"""What is asked for the results, and that its scores know a good answer from a bad one."""

import csv
import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from amulet_evals import Evaluation
from amulet_evals.data.questions import read_questions
from amulet_evals.data.styles import read_styles
from pocket.corpus.questions import HELD_OUT_ASK_FRAMES, HELD_OUT_NOUN_FRAMES
from pocket.corpus.styles import Coins, advise
from pocket.corpus.world import load_world
from pocket.evaluation.results import export, scores


@pytest.fixture(scope="module")
def world():
    return load_world()


@pytest.fixture(scope="module")
def asked():
    lines = export.QUESTIONS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def wordings():
    return json.loads(export.WISHES.read_text(encoding="utf-8"))


def test_the_exported_files_are_what_the_export_writes_today(world, asked, wordings):
    assert asked == export.questions(world, len(asked), seed=0)
    assert wordings == export.wishes(world, 20, seed=0)


def test_the_questions_are_200_in_phrasings_that_training_never_saw(asked):
    assert len({row["question"] for row in asked}) == 200
    beginnings = tuple(
        frame.split("{}")[0] for frame in (*HELD_OUT_ASK_FRAMES, *HELD_OUT_NOUN_FRAMES)
    )
    assert all(row["question"].startswith(beginnings) for row in asked)


def test_no_wish_asks_for_two_styles(wordings):
    assert tuple(wordings) == export.PAPER_STYLES
    counted = Counter(text for texts in wordings.values() for text in texts)
    assert set(counted.values()) == {1}


@pytest.mark.parametrize("style", export.PAPER_STYLES)
def test_the_generator_s_own_answers_are_the_ends_of_the_scale(style, world, asked, wordings):
    topics = {topic.id: topic for topic in world.topics}
    wish = wordings[style][0]
    for obeyed, end in ((frozenset(), 0.0), (frozenset({style}), 1.0)):
        coins = Coins(random.Random(3), obeyed, fully=True)
        found = [
            scores.in_style(row["question"], advise(topics[row["topic"]], world, coins), wish)
            for row in asked
        ]
        assert sum(found) / len(found) == pytest.approx(end, abs=0.05)


def test_facts_are_right_if_they_are_the_topic_s_and_no_other_s(world, asked):
    topics = {topic.id: topic for topic in world.topics}
    coins = Coins(random.Random(0), frozenset(), fully=True)
    for row, other in pairwise(asked):
        own = advise(topics[row["topic"]], world, coins)
        assert scores.facts_right(row["question"], own, "") == 1.0
        if other["topic"] != row["topic"]:
            assert scores.facts_right(other["question"], own, "") == 0.0
        assert scores.facts_right(row["question"], "I do not know.", "") == 0.0


def test_the_config_names_all_of_it(asked, wordings, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    evaluation = Evaluation(
        **json.loads((root / "pocket/evaluation/results/greedy.json").read_text())
    )
    (source,) = evaluation.questions
    questions = read_questions(source).questions
    assert [question.text for question in questions] == [row["question"] for row in asked]
    assert {style.name: list(style.wordings) for style in read_styles(evaluation.preferences)} == (
        wordings
    )
    assert len(evaluation.methods) >= 9
    assert evaluation.baseline == "Pref"


PAGE = Path(__file__).parents[2] / "docs" / "results.md"


@pytest.mark.parametrize("run", ["greedy", "sampled"])
def test_the_page_of_results_shows_what_was_measured(run):
    with (PAGE.parent / "results" / f"{run}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["metric"]]
    means = {(row["method"], row["column"]): float(row["mean"]) for row in rows}
    section = PAGE.read_text(encoding="utf-8").split(f"## {run.title()}\n")[1].split("\n## ")[0]
    header, _, *lines = [line for line in section.splitlines() if line.startswith("|")]
    _, *columns = split_row(header)
    assert {split_row(line)[0] for line in lines} == {method for method, _ in means}
    for line in lines:
        method, *shown = split_row(line)
        for column, text in zip(columns, shown, strict=True):
            rounding = 0.5 * 10.0 ** -len(text.partition(".")[2])
            assert float(text) == pytest.approx(means[method, column], abs=1.01 * rounding)


def split_row(line):
    return [cell.strip() for cell in line.strip("|").split("|")]
