"""What a style costs: answers that one can count, held against those to the same question."""

from dataclasses import replace

import numpy as np
import pytest

from amulet_evals.data.questions import Question, QuestionSet
from amulet_evals.data.styles import Style
from amulet_evals.reporting.results import DECODED_METRICS, Results
from amulet_evals.run.grid import Grid, cases, method_note
from amulet_evals.study.asked import PLAIN
from amulet_evals.study.trade_off import trade_off_plot, trade_off_table, trade_offs
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import Amulet, Base, Pref
from support.evaluation import answer

SHORTER, SAME, LONGER = "Rest.", "Rest a little.", "Rest a little every day."
SAID = {"Pref": (SHORTER, SAME, LONGER), "Amulet": (SHORTER, SHORTER), PLAIN: (SAME,) * 3}
"""What is answered to each question; the last one is still missing of one method."""


def run(samples: int = 1) -> Results:
    """Three questions in one style by each method, or fewer so many times each."""
    asked = tuple(Question(str(at), f"{at}?") for at in range(3 // samples))
    questions = QuestionSet("few", asked)
    methods = {PLAIN: Base(), "Pref": Pref(), "Amulet": Amulet()}
    found = cases([questions], (Style("concise", ("Be concise.",)),), seed=0)
    grid = Grid(
        ("m",), {label: method_note(each) for label, each in methods.items()}, found, samples
    )
    places = [(case, sample) for case in found for sample in range(samples)]
    tasks = (
        (grid.task("m", method, *place), text)
        for method, texts in SAID.items()
        for place, text in zip(places, texts, strict=False)
    )
    answers = {task.key: answer(text, task, mean_kl=0.5) for task, text in tasks}
    return Results(grid, answers, {}, DECODED_METRICS, "Pref")


def test_an_effect_is_who_has_more_than_the_plain_answer_less_who_has_less() -> None:
    (found,) = trade_offs(run())
    np.testing.assert_array_equal(found.effects("Pref"), [1.0, 0.0, -1.0])
    np.testing.assert_array_equal(found.effects(PLAIN), [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(found.effects("Amulet"), [1.0, 1.0, np.nan])


def test_of_several_samples_an_effect_is_their_mean() -> None:
    (found,) = trade_offs(run(samples=2))
    np.testing.assert_array_equal(found.effects("Pref"), [0.5])
    (found,) = trade_offs(run(samples=3))
    np.testing.assert_array_equal(found.effects("Pref"), [0.0])


def test_a_table_has_what_a_run_was_scored_by_beside_it() -> None:
    (found,) = trade_offs(run())
    table = trade_off_table(found)
    assert table.columns == ("in style", "surprise, nats per token", "KL per token")
    style, _, moved = table.rows["Amulet"]
    assert (style.mean, style.count) == (1.0, 2)
    assert moved.mean == 0.5


def test_methods_are_held_against_the_baseline_which_is_one_of_them() -> None:
    (found,) = trade_offs(replace(run(), baseline="Amulet"))
    rows = {method: cells[0].difference for method, cells in trade_off_table(found).rows.items()}
    assert rows["Amulet"] is None
    assert rows["Pref"] is not None and rows["Pref"].ends == (-1.0, 0.0)
    with pytest.raises(ConfigurationError, match="'odd' is none: name one of 'Base', 'Pref'"):
        tuple(trade_offs(replace(run(), baseline="odd")))


def test_a_picture_has_a_point_for_every_method_but_the_plain_one() -> None:
    (found,) = trade_offs(run())
    (panel,) = trade_off_plot(found).figure.axes
    assert [each.get_label() for each in panel.collections] == ["Pref", "Amulet"]
