"""What pictures are made of: means by place in an answer, and families of methods."""

import numpy as np

from amulet_evals.reporting.plots import bars, families, mean_by_place
from amulet_evals.reporting.results import Results, mean_of, tokens_per_second
from amulet_evals.run.grid import Grid, method_note
from langchain_amulet.methods import Amulet, Base, GuidedReranking, LinearAlignment
from support.evaluation import REWARD, answer, grid, results


def test_the_mean_at_a_place_is_over_the_answers_that_reach_it():
    found = mean_by_place([(1.0, 2.0, 3.0), (3.0,), (5.0, 4.0)])
    np.testing.assert_allclose(found, [3.0, 3.0, 3.0])


def test_a_mean_ends_where_too_few_answers_go_on():
    short, long = (1.0,) * 5, (1.0,) * 50
    assert len(mean_by_place([short] * 19 + [long])) == 5
    assert len(mean_by_place([short] * 18 + [long] * 2)) == 50


def test_there_is_no_mean_of_nothing():
    assert len(mean_by_place([])) == len(mean_by_place([(), ()])) == 0


def test_families_are_sorted_by_what_tells_their_methods_apart():
    methods = {
        "full": Amulet(),
        "Base": Base(),
        "subtle": Amulet(strength="subtle"),
        "LA 4": LinearAlignment(4.0),
        "cap": Amulet(kl_cap=1.0),
        "LA 1": LinearAlignment(1.0),
    }
    notes = {label: method_note(method) for label, method in methods.items()}
    asked = Grid(("m",), notes, ())
    assert families(Results(asked, {}, {}, (), "Base")) == [
        ("Base", ["Base"]),
        ("amulet", ["subtle", "full"]),
        ("cap", ["cap"]),
        ("linear_alignment", ["LA 1", "LA 4"]),
    ]


def test_methods_without_a_number_that_tells_them_apart_are_each_alone():
    methods = {"four": GuidedReranking(4), "sixteen": GuidedReranking(16)}
    asked = Grid(("m",), {label: method_note(method) for label, method in methods.items()}, ())
    found = families(Results(asked, {}, {}, (), "four"))
    assert found == [("four", ["four"]), ("sixteen", ["sixteen"])]


def test_speed_counts_the_time_that_anything_was_decoded_once():
    apart = [
        answer(started=0.0, seconds=2.0, tokens=10),
        answer(started=5.0, seconds=3.0, tokens=5),
    ]
    assert tokens_per_second(apart) == 15 / 5
    together = [answer(started=0.0, seconds=4.0, tokens=10) for _ in range(8)]
    assert tokens_per_second(together) == 80 / 4
    overlapping = [answer(started=0.0, seconds=4.0), answer(started=1.0, seconds=1.0)]
    assert tokens_per_second(overlapping) == 2 / 4
    assert np.isnan(tokens_per_second([]))


def test_means_leave_out_what_is_missing():
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert float(mean_of(values)) == 2.0
    np.testing.assert_array_equal(mean_of(values, axis=0), [2.0, np.nan])


def test_bars_are_drawn_of_numbers_that_are_all_alike_and_partly_missing():
    run = results(grid(one=40), lambda task: None if "1" in task.question else 0.3)
    assert bars(run, "m", "one", REWARD).title == "reward: one, m"
