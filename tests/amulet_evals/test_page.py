"""Answers side by side: their tokens, and what is known of them."""

import pytest

from amulet_evals.reporting.page import ShadedToken, exhibits, shaded
from amulet_evals.run.records import TracedToken
from support.evaluation import grid, results


def traced(text, pref, steered):
    return TracedToken(text, None, pref, steered)


def test_tokens_that_were_hardly_moved_are_one_stretch_of_text():
    found = shaded([traced("Be ", 0.5, 0.51), traced("kind", 0.2, 0.2), traced("!", 0.1, 0.9)])
    assert found[0] == ShadedToken("Be kind")
    assert found[1].text == "!"
    assert found[1].level == 3
    assert "10.0%" in found[1].tooltip
    assert "(x9.00)" in found[1].tooltip


@pytest.mark.parametrize(("pref", "level"), [(0.99, 0), (0.85, 1), (0.4, 2), (0.1, 3), (0.0, 3)])
def test_a_token_s_colour_tells_how_far_it_was_moved(pref, level):
    (token,) = shaded([traced("x", pref, 1.0)])
    assert token.level == level


def test_an_answer_that_failed_is_shown_as_such_beside_the_others():
    run = results(grid(one=2), lambda task: None if task.method == "amulet" else 1.0)
    (case, *_) = run.grid.cases
    traces = {run.grid.task("m", "pref", case).key: (traced("Fine.", 0.5, 0.5),)}
    (exhibit,) = exhibits(run, traces)
    given, failed = exhibit.cards
    assert [token.text for token in given.tokens] == ["Fine."]
    assert (failed.method, failed.tokens) == ("amulet", ())
    assert failed.summary == "no answer, ContextLengthError: It is too long."
