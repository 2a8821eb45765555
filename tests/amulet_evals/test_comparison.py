"""A run's tables: what is paired with what, and which answers count for which."""

import math

import numpy as np
import pytest

from amulet_evals.reporting.comparison import by_style, footnote, overview
from support.evaluation import REWARD, STYLES, grid, results


def test_a_style_that_one_side_lacks_for_a_question_doesn_t_move_the_mean_s_difference():
    """Both rewards are the same everywhere, and much higher in one style than in the other."""

    def reward(task):
        lost = task.method == "amulet" and task.preference == "Be hard." and "1" in task.question
        return None if lost else 10.0 * (task.preference == "Be easy.")

    table = by_style(results(grid(one=12), reward), "m", "one", REWARD)
    mean = table.rows["amulet"][-1]
    assert mean.mean > 5.0  # of the style that is left
    assert mean.difference is not None
    assert mean.difference.ends == (0.0, 0.0)


def test_every_cell_s_difference_is_the_mean_s_from_the_baseline():
    rewards = np.random.default_rng(0)
    run = results(grid(one=40), lambda task: rewards.normal(task.method == "amulet"))
    table = by_style(run, "m", "one", REWARD)
    assert table.columns == ("easy", "hard", "mean")
    for plain, steered in zip(table.rows["pref"], table.rows["amulet"], strict=True):
        assert plain.difference is None
        assert steered.difference is not None
        low, high = steered.difference.ends
        assert low < steered.mean - plain.mean < high
    whole, *parts = (table.rows["amulet"][at].mean for at in (2, 0, 1))
    assert whole == pytest.approx(np.mean(parts))


def test_an_overview_is_of_its_own_set_of_questions_alone():
    run = results(grid(one=3, two=5), lambda task: 1.0, tokens=4, seconds=2.0)
    for questions, count in (("one", 3), ("two", 5)):
        speed = overview(run, "m", questions).rows["amulet"][-1]
        assert speed.count == count
        assert speed.mean == count * len(STYLES) * 4 / 2.0


def test_a_method_without_answers_is_there_with_dashes():
    run = results(grid(one=3), lambda task: None if task.method == "amulet" else 1.0)
    cells = by_style(run, "m", "one", REWARD).rows["amulet"]
    assert all(math.isnan(cell.mean) and cell.difference is None for cell in cells)
    assert "6 answers failed" in footnote(run)
