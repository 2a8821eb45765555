"""Intervals by resampling, against all resamples there are."""

from itertools import product

import numpy as np
import pytest

from amulet_evals.reporting.bootstrap import interval, resampled_means


def every_mean(values):
    """The mean of each of the ``n ** n`` ways to draw ``n`` with replacement."""
    return np.array([np.mean(draw) for draw in product(values, repeat=len(values))])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_the_interval_is_that_of_all_resamples(seed, level):
    values = np.random.default_rng(seed).normal(1.0, 2.0, 5)
    found = interval(values, level, resamples=40_000, seed=seed)
    low, high = np.quantile(every_mean(values), [(1 - level) / 2, (1 + level) / 2])
    assert found is not None
    assert found.ends == (pytest.approx(low, abs=0.06), pytest.approx(high, abs=0.06))


def test_resampled_means_have_the_moments_of_all_resamples():
    values = np.array([0.0, 1.0, 5.0, -2.0])
    every, drawn = every_mean(values), resampled_means(values, 200_000, seed=1)
    assert drawn.mean() == pytest.approx(every.mean(), abs=0.01)
    assert drawn.std() == pytest.approx(every.std(), abs=0.01)


def test_a_paired_difference_doesn_t_feel_what_both_have_in_common():
    noise = np.random.default_rng(0).normal(0.0, 100.0, 200)
    found = interval((noise + 1.0) - noise)
    assert found is not None
    assert found.ends == (pytest.approx(1.0), pytest.approx(1.0))


def test_about_95_of_100_intervals_hold_the_true_mean():
    draws = np.random.default_rng(0)
    found = [interval(draws.normal(3.0, 1.0, 60), resamples=500) for _ in range(300)]
    held = np.mean([each is not None and each.low <= 3.0 <= each.high for each in found])
    assert 0.90 <= held <= 0.98


def test_what_is_missing_counts_for_nothing():
    values = np.array([1.0, np.nan, 2.0, 4.0, np.nan])
    assert interval(values) == interval(values[~np.isnan(values)])


def test_one_number_has_no_interval():
    assert interval(np.array([1.0])) is None
    assert interval(np.array([1.0, np.nan])) is None
    assert interval(np.array([])) is None


def test_the_same_seed_gives_the_same_interval_however_it_is_computed(monkeypatch):
    values = np.random.default_rng(0).normal(size=37)
    whole = interval(values, seed=7)
    assert whole == interval(values, seed=7) != interval(values, seed=8)
    monkeypatch.setattr("amulet_evals.reporting.bootstrap.BLOCK", 1000)
    assert interval(values, seed=7) == whole
