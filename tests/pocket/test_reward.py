"""The reward model that PAD decodes with: what it is trained on, and that it learns that."""

import subprocess
import sys
from itertools import islice
from statistics import mean

import pytest

from langchain_amulet import ChatAmulet
from pocket.corpus.questions import HELD_OUT_ASK_FRAMES
from pocket.corpus.world import load_world
from pocket.evaluation.scorers import FactCheck
from pocket.training.reward import pairs

PAIRS = 64


@pytest.fixture(scope="module")
def world():
    return load_world()


def test_both_answers_of_a_pair_are_true_and_only_their_style_differs(world):
    is_true = FactCheck(world)
    for pair in islice(pairs(world, seed=1), 300):
        (chosen,), (rejected,) = pair["chosen"], pair["rejected"]
        topics = [t for t in world.topics if is_true(chosen["content"], t)]
        assert topics and all(is_true(rejected["content"], topic) for topic in topics)
        assert chosen["content"] != rejected["content"]


def test_the_questions_of_the_results_are_not_trained_on(world):
    asked = [pair["prompt"][1]["content"] for pair in islice(pairs(world, seed=1), 500)]
    held_out = tuple(frame.split("{}")[0] for frame in HELD_OUT_ASK_FRAMES)
    assert not any(question.startswith(held_out) for question in asked)


def test_the_same_seed_gives_the_same_pairs(world):
    first, again, other = (list(islice(pairs(world, seed), 50)) for seed in (1, 1, 2))
    assert first == again != other


# --- trained, in half a minute ---


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    """A reward model that has seen few pairs."""
    folder = tmp_path_factory.mktemp("reward")
    command = [
        sys.executable,
        "-m",
        "pocket.training.reward",
        "--out",
        str(folder),
        "--pairs",
        str(PAIRS),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return str(folder)


def likelihood(llm, pair, answer):
    """Log-probability of an answer of a pair, in nats, with the wish in the prompt."""
    wish, question = (message["content"] for message in pair["prompt"])
    return llm.score(question, pair[answer][0]["content"], preference=wish).pref_total


@pytest.mark.exhaustive
def test_even_a_little_training_has_answers_in_style_rewarded(reward, world):
    """A reward is the gain in log-probability over the model that training began with."""
    margins = []
    with ChatAmulet(model=reward, dtype="float32") as ours, ChatAmulet(dtype="float32") as theirs:
        for pair in islice(pairs(world, seed=2), 16):
            gained = [
                likelihood(ours, pair, answer) - likelihood(theirs, pair, answer)
                for answer in ("chosen", "rejected")
            ]
            margins.append(gained[0] - gained[1])
    assert mean(margins) > 0.5


@pytest.mark.exhaustive
def test_pad_answers_with_it(reward):
    with ChatAmulet(dtype="float32", temperature=0, preference="Be uplifting.") as llm:
        plain = llm.invoke("How do I sleep better?", method="base").text
        assert (
            llm.invoke("How do I sleep better?", method=f"pad:model={reward},weight=0").text
            == plain
        )
        assert llm.invoke("How do I sleep better?", method=f"pad:model={reward}").text != plain
