"""What is learned is what was planted, as sure as it says, and never more than the examples say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.fitting.likelihood import (
    TOKENS_WEIGHED,
    Choices,
    Evidence,
    Forces,
    Prior,
    Text,
    choices,
    fit,
    mean_contrast,
    text,
)

VOCABULARY = 12


def prior(*mean: float, deviation: float = 10.0) -> Prior:
    return Prior(torch.tensor(mean, dtype=torch.float64), deviation)


def strengths(count: int) -> Forces:
    """Parameters that are the forces themselves."""
    return Forces(torch.zeros(count, dtype=torch.float64), torch.ones(count, dtype=torch.float64))


def streams(places: int, count: int, seed: int) -> Tensor:
    """Log-probabilities of ``count`` preferences' streams and the base, ``[K + 1, T, V]``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count + 1, places, VOCABULARY, generator=generator).log_softmax(-1)


def written(logprobs: Tensor, theta: Tensor, seed: int) -> list[int]:
    """A text steered by these forces."""
    generator = torch.Generator().manual_seed(seed)
    contrasts = logprobs[:-1] - logprobs[-1]
    scores = logprobs[-1] + torch.einsum("k,ktv->tv", theta.to(contrasts.dtype), contrasts)
    drawn: list[int] = torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0].tolist()
    return drawn


def liked(theta: Tensor, places: int, seed: int) -> Text:
    logprobs = streams(places, len(theta), seed)
    tokens = written(logprobs, theta, seed)
    every = torch.ones(places, VOCABULARY, dtype=torch.bool)
    return text(logprobs, tokens, every, len(theta), strengths(len(theta)))


def preferred(theta: Tensor, count: int, seed: int) -> Choices:
    """Choices by a user whose odds are those of the model."""
    generator = torch.Generator().manual_seed(seed)
    first, second = 0.2 * torch.randn(2, count, len(theta), generator=generator).double()
    odds = torch.sigmoid(TOKENS_WEIGHED * (first - second) @ theta)
    swaps = (torch.rand(count, generator=generator) > odds)[:, None]
    return choices(
        torch.where(swaps, second, first), torch.where(swaps, first, second), strengths(len(theta))
    )


def planted(*theta: float) -> Tensor:
    return torch.tensor(theta, dtype=torch.float64)


PIECES: list[Evidence] = [
    liked(planted(1.0, 0.5), 20, 0),
    preferred(planted(1.0, 0.5), 20, 0),
    prior(1.0, -1.0, deviation=0.7),
]


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: type(piece).__name__)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=2))
@settings(max_examples=20, deadline=None)
def test_gradients_and_curvatures_are_those_of_the_value(
    piece: Evidence, theta: list[float]
) -> None:
    point = planted(*theta).requires_grad_()
    curve = piece.at(point)
    (gradient,) = torch.autograd.grad(curve.value, point, create_graph=True)
    hessian = torch.stack(
        [torch.autograd.grad(part, point, retain_graph=True)[0] for part in gradient]
    )
    torch.testing.assert_close(curve.gradient, gradient)
    torch.testing.assert_close(curve.hessian, hessian)
    assert float(torch.linalg.eigvalsh(curve.hessian.detach()).max()) < 1e-9


@pytest.mark.parametrize("theta", [(0.0,), (0.5,), (4.65,), (-1.0,), (1.0, 0.3), (0.0, 2.0)])
def test_planted_forces_are_found_in_texts(theta: tuple[float, ...]) -> None:
    found = fit(
        [liked(planted(*theta), 400, seed) for seed in range(3)], prior(*[1.0] * len(theta))
    )
    for value, error, true in zip(found.values, found.errors, theta, strict=True):
        assert abs(value - true) < 3 * error < 1.0


@pytest.mark.parametrize("theta", [(0.0,), (2.0,), (1.0, 0.3), (0.5, -1.0)])
def test_planted_forces_are_found_in_choices(theta: tuple[float, ...]) -> None:
    found = fit([preferred(planted(*theta), 600, 0)], prior(*[1.0] * len(theta)))
    for value, error, true in zip(found.values, found.errors, theta, strict=True):
        assert abs(value - true) < 3 * error < 1.0


def test_errors_are_as_large_as_the_estimates_scatter() -> None:
    true = planted(1.5)
    fits = [fit([liked(true, 40, seed)], prior(1.0)) for seed in range(60)]
    scatter = torch.tensor([(found.values[0] - 1.5) / found.errors[0] for found in fits])
    assert abs(float(scatter.mean())) < 0.4
    assert 0.75 < float(scatter.std()) < 1.25


def test_without_evidence_the_prior_is_what_is_known() -> None:
    found = fit([], prior(4.65, 1.0, deviation=0.5))
    assert found.values == pytest.approx((4.65, 1.0))
    assert found.errors == pytest.approx((0.5, 0.5))


def test_three_examples_that_all_agree_do_not_run_away() -> None:
    slopes = torch.full((3, 1), 0.5 * TOKENS_WEIGHED, dtype=torch.float64)
    found = fit([Choices(torch.zeros(3, dtype=torch.float64), slopes)], prior(1.0, deviation=1.0))
    assert 1.0 < found.values[0] < 2.0
    best = [0] * 3  # the token that the contrast likes best, three times
    contrast = torch.tensor([1.0, -1.0], dtype=torch.float64).expand(3, 1, 2)
    likes = Text(torch.zeros(3, 2, dtype=torch.float64), contrast, torch.tensor(best))
    assert 1.0 < fit([likes], prior(1.0, deviation=1.0)).values[0] < 2.0


@given(st.integers(0, 100))
@settings(max_examples=5, deadline=None)
def test_more_examples_are_surer_and_the_same_twice_count_twice(seed: int) -> None:
    piece, more = liked(planted(1.0), 30, seed), liked(planted(1.0), 30, seed + 1000)
    once, twice = fit([piece], prior(1.0)), fit([piece, more], prior(1.0))
    assert twice.errors[0] < once.errors[0]
    doubled = Text(
        piece.anchor.repeat(2, 1), piece.contrasts.repeat(2, 1, 1), piece.chosen.repeat(2)
    )
    assert fit([doubled], prior(1.0)).values == pytest.approx(fit([piece] * 2, prior(1.0)).values)


def test_texts_and_choices_add_up() -> None:
    true = planted(2.0)
    texts, chosen = liked(true, 40, 1), preferred(true, 40, 1)
    both = fit([texts, chosen], prior(1.0))
    apart = [fit([piece], prior(1.0)) for piece in (texts, chosen)]
    assert both.errors[0] < min(found.errors[0] for found in apart)
    assert min(f.values[0] for f in apart) <= both.values[0] <= max(f.values[0] for f in apart)


def test_what_would_be_below_the_floor_is_at_it_and_the_others_are_fitted_without_it() -> None:
    piece = liked(planted(1.0, -0.8), 400, 3)
    found = fit([piece], prior(1.0, 1.0), floor=0.0)
    alone = fit([Text(piece.anchor, piece.contrasts[:, :1], piece.chosen)], prior(1.0))
    assert found.values[1] == 0.0
    assert found.values[0] == pytest.approx(alone.values[0])


# --- What a text says --------------------------------------------------------


def test_what_a_mask_forbids_says_nothing_and_neither_does_a_token_without_rivals() -> None:
    logprobs = streams(4, 1, 0)
    tokens = written(logprobs, planted(1.0), 0)
    kept = torch.ones(4, VOCABULARY, dtype=torch.bool)
    kept[1, tokens[1]] = False
    kept[2] = torch.arange(VOCABULARY) == tokens[2]
    whole = text(logprobs, tokens, kept, 1, strengths(1))
    short = text(logprobs[:, [0, 3]], [tokens[0], tokens[3]], kept[[0, 3]], 1, strengths(1))
    assert len(whole.chosen) == 2
    point = planted(0.7)
    torch.testing.assert_close(whole.at(point).value, short.at(point).value)


def test_a_text_s_likelihood_is_that_of_the_masked_and_steered_distribution() -> None:
    logprobs = streams(5, 1, 2)
    pref, base = logprobs
    kept = pref >= pref.amax(-1, keepdim=True) + math.log(0.1)
    tokens = [int(row.nonzero()[0]) for row in kept]
    steered = (pref + 2.0 * (pref - base)).where(kept, -math.inf).log_softmax(-1)
    expected = sum(float(row[token]) for row, token in zip(steered, tokens, strict=True))
    found = text(logprobs, tokens, kept, 1, Forces(planted(1.0), planted(1.0)))
    assert float(found.at(planted(2.0)).value) == pytest.approx(expected, abs=1e-5)


def test_constants_in_the_streams_change_nothing() -> None:
    logprobs, point = streams(6, 2, 0).double(), planted(0.5, 2.0)
    tokens = written(logprobs, planted(1.0, 1.0), 0)
    kept = torch.rand(6, VOCABULARY, generator=torch.Generator().manual_seed(1)) > 0.3
    moved = logprobs + torch.randn(3, 6, 1, generator=torch.Generator().manual_seed(2))
    plain, shifted = (text(each, tokens, kept, 2, strengths(2)) for each in (logprobs, moved))
    torch.testing.assert_close(plain.at(point).value, shifted.at(point).value)
    torch.testing.assert_close(plain.at(point).gradient, shifted.at(point).gradient)


def test_impossible_tokens_are_left_out_and_a_text_of_them_says_nothing() -> None:
    logprobs = streams(3, 1, 0)
    logprobs[0, :, 4] = -math.inf
    every = torch.ones(3, VOCABULARY, dtype=torch.bool)
    found = text(logprobs, [4, 5, 6], every, 1, strengths(1))
    assert len(found.chosen) == 2
    assert bool(found.contrasts.isfinite().all())
    nothing = text(logprobs[:, :1], [4], every[:1], 1, strengths(1))
    assert fit([nothing], prior(1.0)).values == pytest.approx((1.0,))


def test_a_text_is_worth_its_mean_contrast_whatever_its_length() -> None:
    logprobs = streams(6, 2, 0)
    tokens = written(logprobs, planted(1.0, 1.0), 0)
    once = mean_contrast(logprobs, tokens, 2)
    twice = mean_contrast(torch.cat([logprobs, logprobs], 1), tokens * 2, 2)
    torch.testing.assert_close(once, twice)
    taken = logprobs[:, torch.arange(6), torch.tensor(tokens)]
    torch.testing.assert_close(once.float(), (taken[:2] - taken[2]).mean(1))


def test_equal_answers_teach_nothing() -> None:
    same = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double()
    found = fit([choices(same, same, strengths(2))], prior(1.0, 2.0, deviation=0.5))
    assert found.values == pytest.approx((1.0, 2.0)) and found.errors == pytest.approx((0.5, 0.5))
