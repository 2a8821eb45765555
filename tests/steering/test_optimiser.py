"""The strength that the paper's optimisation comes to, and the optimisation itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.errors import ConfigurationError, GenerationError
from langchain_amulet.steering import Solver, iterate, strength

examples = settings(max_examples=50, deadline=None, derandomize=True, database=None)


def random_logprobs(seed: int, streams: int = 2, vocabulary: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2.0 * torch.randn(streams, vocabulary, generator=generator)).log_softmax(-1)


# --- The strength ---


def test_the_papers_settings_give_the_papers_strength() -> None:
    assert strength() == pytest.approx(4.6487, abs=5e-5)


@pytest.mark.parametrize(("updates", "scale"), [(0, 1.0), (1, 1.952), (59, 5.632), (60, 5.6487)])
def test_guidance_scale_by_number_of_updates(updates: int, scale: float) -> None:
    assert 1.0 + strength(updates=updates) == pytest.approx(scale, abs=5e-4)


@pytest.mark.parametrize(("alpha", "lam"), [(0.0, 1.0), (-1.0, 2.0), (1.0, 2.0), (1.0, 4.0)])
def test_many_updates_converge_where_alpha_is_below_lam(alpha: float, lam: float) -> None:
    scale = 1.0 + strength(alpha, lam, updates=200_000)
    assert scale == pytest.approx(lam / (lam - alpha), rel=5e-3)


def test_at_alpha_equal_to_lam_the_scale_grows_like_the_harmonic_numbers() -> None:
    harmonic = math.fsum(1.0 / n for n in range(1001, 10_001))
    grown = strength(updates=10_000) - strength(updates=1000)
    assert grown == pytest.approx(harmonic, rel=1e-3)


def test_above_lam_the_scale_grows_like_a_power_of_the_updates() -> None:
    alpha, lam = 3.0, 2.0
    doubled = (1.0 + strength(alpha, lam, updates=40_000)) / (
        1.0 + strength(alpha, lam, updates=20_000)
    )
    assert doubled == pytest.approx(2.0 ** (alpha / lam - 1.0), rel=5e-3)


@examples
@given(st.floats(-3.0, 5.0), st.floats(0.5, 5.0), st.floats(0.01, 50.0), st.integers(1, 80))
def test_the_recurrence_agrees_with_its_three_term_form(
    alpha: float, lam: float, eta: float, updates: int
) -> None:
    ratio, kappa = alpha / lam, 1.0 / (lam * eta)
    before, now = 1.0, 1.0
    for t in range(1, updates + 1):
        before, now = now, ((t - 1 + 2 * kappa + ratio) * now - kappa * before + 1) / (t + kappa)
    assert 1.0 + strength(alpha, lam, eta, updates) == pytest.approx(now, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lam": 0.0},
        {"lam": -1.0},
        {"lam": math.nan},
        {"lam": math.inf},
        {"eta": 0.0},
        {"eta": -10.0},
        {"eta": math.inf},
        {"alpha": math.nan},
        {"alpha": math.inf},
        {"updates": -1},
        {"updates": 1.5},
        {"alpha": 1e300, "updates": 60},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        strength(**wrong)  # type: ignore[arg-type]


# --- The optimisation ---


def test_iterating_accepts_batches_and_any_utility() -> None:
    pref, base = torch.stack([random_logprobs(seed) for seed in range(3)], dim=1)
    nothing = iterate(pref, base, utility=lambda policy, base: torch.zeros_like(policy))
    torch.testing.assert_close(nothing, pref.double(), rtol=0.0, atol=1e-6)
    rows = [iterate(pref[row], base[row]) for row in range(3)]
    torch.testing.assert_close(iterate(pref, base), torch.stack(rows))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_utility_that_is_no_number_for_a_possible_token_is_refused(value: float) -> None:
    pref, base = random_logprobs(0)

    def broken(policy: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        return policy.index_fill(-1, torch.tensor([3]), value)

    with pytest.raises(GenerationError, match="finite number"):
        iterate(pref, base, utility=broken)
    pref[3] = -math.inf  # of an impossible token nothing need be said
    assert iterate(pref, base, utility=broken)[3] == -math.inf


def test_a_utility_that_works_in_place_changes_nothing_but_its_own_copies() -> None:
    pref, base = random_logprobs(0), random_logprobs(1)
    given = pref.clone(), base.clone()
    found = iterate(pref, base, utility=lambda policy, base: policy.sub_(base).mul_(2.0))
    assert (pref.equal(given[0]), base.equal(given[1])) == (True, True)
    torch.testing.assert_close(found, iterate(pref, base), rtol=0.0, atol=1e-9)

    def broken(policy: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        return base.fill_(math.nan)

    with pytest.raises(GenerationError, match="finite number"):
        iterate(pref, base, utility=broken)


@pytest.mark.parametrize("updates", [-1, 2.5, True, 200_001, 100_000_000_000])
def test_updates_that_would_take_for_ever_are_refused(updates: Any) -> None:
    with pytest.raises(ConfigurationError, match="updates must be a whole number from 0 to 200000"):
        strength(updates=updates)
    with pytest.raises(ConfigurationError, match="updates must be a whole number from 0 to 10000"):
        Solver(1, updates=updates)
