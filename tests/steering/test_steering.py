"""The maths of steering: scores against an oracle, and what masks and caps leave of them."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.steering import (
    Contrast,
    Plan,
    PlanBatch,
    Plausibility,
    Steered,
    Stream,
    agreement,
    amulet_utility,
    combine,
    iterate,
    kl,
    levelled,
    steer,
    strength,
)

examples = settings(max_examples=50, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31)
weights = st.floats(-3.0, 20.0)
plausibilities = st.floats(0.0, 1.0)


def random_logprobs(seed: int, streams: int = 2, vocabulary: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2.0 * torch.randn(streams, vocabulary, generator=generator)).log_softmax(-1)


def divergence(steered: Steered) -> float:
    return float(kl(steered.scores, steered.reference))


def guidance(weight: float, plausibility: float = 0.0, kl_cap: float | None = None) -> Plan:
    return Plan(
        streams=(Stream((0,)), Stream()),
        anchor=0,
        contrasts=(Contrast(weight, 0, 1),),
        reference=((0, 1.0),),
        mask=Plausibility(plausibility) if plausibility else None,
        kl_cap=kl_cap,
    )


def context_steering(forces: list[float], plausibility: float = 0.0, cap: float = 1.0) -> Plan:
    base = len(forces)
    return Plan(
        streams=(*(Stream((k,)) for k in range(base)), Stream()),
        anchor=base,
        contrasts=tuple(Contrast(force, k, base) for k, force in enumerate(forces)),
        reference=tuple((k, 1.0 / base) for k in range(base)),
        mask=Plausibility(plausibility) if plausibility else None,
        kl_cap=cap,
    )


def assert_same_distribution(scores: Tensor, expected: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(
        scores.double().softmax(-1), expected.double().softmax(-1), rtol=0.0, atol=atol
    )


# Scores


@examples
@given(seeds, st.floats(-2.0, 3.0), st.floats(2.0, 4.0), st.floats(0.05, 20.0), st.integers(0, 40))
def test_guidance_agrees_with_the_iterated_optimisation(
    seed: int, alpha: float, lam: float, eta: float, updates: int
) -> None:
    pref, base = random_logprobs(seed).double()
    utility = partial(amulet_utility, alpha=alpha)
    optimised = iterate(pref, base, utility, lam, eta, updates)
    d = strength(alpha, lam, eta, updates)
    assert_same_distribution(pref + d * (pref - base), optimised, atol=1e-9)
    float32 = steer(torch.stack([pref, base]).float(), guidance(d)).scores
    assert_same_distribution(float32, optimised, atol=1e-4)


@examples
@given(seeds)
def test_zero_strength_equals_the_plain_prompt(seed: int) -> None:
    logprobs = random_logprobs(seed)
    steered = steer(logprobs, guidance(0.0))
    assert torch.equal(steered.scores, logprobs[0])
    assert torch.equal(steered.reference, logprobs[0])
    assert divergence(steered) == 0.0


@examples
@given(seeds)
def test_strength_minus_one_equals_the_base_prompt(seed: int) -> None:
    logprobs = random_logprobs(seed)
    torch.testing.assert_close(steer(logprobs, guidance(-1.0)).scores, logprobs[1])


def test_a_plain_plan_leaves_the_only_stream_alone() -> None:
    plan = Plan.plain((0, 1))
    logprobs = random_logprobs(0, streams=1)
    assert plan.is_plain and plan.streams == (Stream((0, 1)),)
    assert torch.equal(steer(logprobs, plan).scores, logprobs[0])


@examples
@given(seeds, weights)
def test_identical_streams_change_nothing(seed: int, weight: float) -> None:
    row = random_logprobs(seed)[0]
    assert torch.equal(steer(torch.stack([row, row]), guidance(weight)).scores, row)


@examples
@given(seeds, weights, plausibilities, st.floats(-20.0, 20.0), st.floats(-20.0, 20.0))
def test_adding_a_constant_to_a_streams_logits_changes_nothing(
    seed: int, weight: float, plausibility: float, to_pref: float, to_base: float
) -> None:
    logits = random_logprobs(seed).double()
    shifted = logits + torch.tensor([[to_pref], [to_base]])
    plan = guidance(weight, plausibility)
    expected = steer(logits.log_softmax(-1), plan).scores
    assert_same_distribution(steer(shifted.log_softmax(-1), plan).scores, expected, atol=1e-9)


def test_a_hand_sized_table() -> None:
    pref = torch.tensor([0.5, 0.25, 0.25]).log()
    base = torch.tensor([0.25, 0.25, 0.5]).log()
    steered = steer(torch.stack([pref, base]), guidance(1.0)).scores
    # 0.5 * 2, 0.25 * 1 and 0.25 / 2, over their sum 1.375
    expected = torch.tensor([1.0, 0.25, 0.125]) / 1.375
    torch.testing.assert_close(steered.softmax(0), expected)


def test_several_contrasts_add_up_on_the_anchor() -> None:
    one, two, base = random_logprobs(3, streams=3)
    steered = steer(torch.stack([one, two, base]), context_steering([1.5, -0.5], cap=1e9))
    expected = base + 1.5 * (one - base) - 0.5 * (two - base)
    assert_same_distribution(steered.scores, expected)
    mixture = (one.exp() + two.exp()).log() - math.log(2.0)
    torch.testing.assert_close(steered.reference, mixture)


# Impossible tokens


masks = st.lists(st.booleans(), min_size=8, max_size=8)


@examples
@given(seeds, weights, plausibilities, masks, masks, st.none() | st.floats(0.0, 2.0))
def test_minus_infinity_in_any_stream_never_gives_nan(
    seed: int,
    weight: float,
    plausibility: float,
    no_pref: list[bool],
    no_base: list[bool],
    cap: float | None,
) -> None:
    logprobs = random_logprobs(seed, vocabulary=9)
    impossible = torch.tensor([[*no_pref, False], [*no_base, False]])
    logprobs = logprobs.masked_fill(impossible, -math.inf).log_softmax(-1)
    steered = steer(logprobs, guidance(weight, plausibility, cap))
    probabilities = steered.scores.softmax(0)
    assert not probabilities.isnan().any()
    assert not probabilities[impossible[0]].any()
    assert math.isfinite(divergence(steered))
    both = torch.stack([logprobs[0], logprobs[1], logprobs[1]])
    assert not steer(both, context_steering([weight, 1.0])).scores.softmax(0).isnan().any()
    assert not iterate(*logprobs).isnan().any()


def test_what_the_base_prompt_alone_excludes_is_not_amplified() -> None:
    pref = torch.tensor([0.5, 0.25, 0.25]).log()
    base = torch.tensor([0.5, 0.5, 0.0]).log()
    scores = steer(torch.stack([pref, base]), guidance(4.0)).scores
    assert scores[2] == pref[2]


def test_what_a_stream_excludes_is_out_where_steering_moves_towards_that_stream() -> None:
    pref = torch.tensor([0.5, 0.25, 0.25]).log()
    base = torch.tensor([0.5, 0.5, 0.0]).log()
    assert steer(torch.stack([pref, base]), guidance(-0.5)).scores[2] == -math.inf
    assert steer(torch.stack([base, pref]), guidance(4.0)).scores[2] == -math.inf


def test_the_reference_decides_where_steering_leaves_no_token() -> None:
    pref = torch.tensor([1.0, 0.0]).log()
    base = torch.tensor([0.0, 1.0]).log()
    scores = steer(torch.stack([pref, base]), guidance(-0.5)).scores
    assert scores.tolist() == [0.0, -math.inf]


def test_what_the_reference_excludes_is_out_even_where_the_anchor_has_it() -> None:
    pref = torch.tensor([0.5, 0.5, 0.0]).log()
    base = torch.tensor([0.5, 0.25, 0.25]).log()
    plan = Plan(streams=(Stream((0,)), Stream()), anchor=1, reference=((0, 1.0),), kl_cap=0.01)
    assert steer(torch.stack([pref, base]), plan).scores.isinf().tolist() == [False, False, True]


# The mask


@examples
@given(seeds, weights, plausibilities)
def test_the_mask_keeps_the_references_argmax_and_whatever_is_close_to_it(
    seed: int, weight: float, plausibility: float
) -> None:
    steered = steer(random_logprobs(seed), guidance(weight, plausibility))
    shares = (steered.reference - steered.reference.max()).exp()
    kept = steered.scores > -math.inf
    assert kept[steered.reference.argmax()]
    assert kept[shares > plausibility + 1e-6].all()
    assert not kept[shares < plausibility - 1e-6].any()


def test_a_plausibility_of_one_leaves_only_the_references_best() -> None:
    steered = steer(random_logprobs(0), guidance(5.0, plausibility=1.0))
    kept = (steered.scores > -math.inf).nonzero().flatten()
    assert kept.tolist() == [int(steered.reference.argmax())]


@examples
@given(seeds, weights, st.floats(0.01, 1.0), st.none() | st.floats(0.01, 2.0))
def test_a_subset_with_the_plausible_tokens_gives_the_same_answer(
    seed: int, weight: float, plausibility: float, cap: float | None
) -> None:
    logprobs = random_logprobs(seed)
    plan = guidance(weight, plausibility, cap)
    whole = steer(logprobs, plan)
    candidates = logprobs[0].argsort(descending=True)[: int((whole.scores > -math.inf).sum()) + 2]
    part = steer(logprobs[:, candidates], plan)
    assert torch.equal(part.scores, whole.scores[candidates])
    assert divergence(part) == pytest.approx(divergence(whole))


# Divergence and its cap


def test_divergence_of_a_hand_sized_table() -> None:
    q = torch.tensor([0.75, 0.25, 0.0]).log()
    reference = torch.tensor([0.25, 0.25, 0.5]).log()
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(kl(q + 3.0, reference)) == pytest.approx(expected)


@examples
@given(seeds, plausibilities)
def test_divergence_grows_with_strength_in_either_direction(seed: int, plausibility: float) -> None:
    logprobs = random_logprobs(seed)

    def moved(weight: float) -> float:
        return divergence(steer(logprobs, guidance(weight, plausibility)))

    up = [moved(weight) for weight in (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)]
    down = [moved(weight) for weight in (0.0, -0.25, -0.5, -0.75, -1.0)]
    for rising in (up, down):
        assert all(more >= less - 1e-6 for less, more in pairwise(rising))
    assert up[0] == 0.0 and (plausibility > 0.0 or up[-1] > 0.1)


@examples
@given(seeds, weights, plausibilities, st.floats(0.0, 3.0))
def test_the_cap_is_met_and_used(seed: int, weight: float, plausibility: float, cap: float) -> None:
    logprobs = random_logprobs(seed)
    free = steer(logprobs, guidance(weight, plausibility))
    capped = steer(logprobs, guidance(weight, plausibility, cap))
    spent = divergence(capped)
    wanted = divergence(free)
    assert spent <= cap + 1e-5
    assert spent == pytest.approx(min(cap, wanted), abs=2e-3)
    if wanted <= cap:
        assert torch.equal(capped.scores, free.scores)


def test_the_cap_weakens_the_contrast_and_nothing_else() -> None:
    logprobs = random_logprobs(5)
    pref, base = logprobs
    capped = steer(logprobs, guidance(8.0, kl_cap=0.5)).scores.log_softmax(0)
    factors = ((capped - pref) - (capped - pref).mean()) / ((pref - base) - (pref - base).mean())
    assert 0.1 < float(factors.median()) < 8.0
    weaker = steer(logprobs, guidance(float(factors.median())))
    assert_same_distribution(capped, weaker.scores)


@examples
@given(seeds, weights, st.floats(0.0, 1.0))
def test_the_cap_is_met_where_the_anchor_is_not_the_reference(
    seed: int, weight: float, cap: float
) -> None:
    steered = steer(random_logprobs(seed, streams=3), context_steering([weight, 2.0], 0.1, cap))
    assert divergence(steered) <= cap + 1e-5


def test_a_cap_of_zero_is_the_plain_prompt() -> None:
    logprobs = random_logprobs(1)
    assert_same_distribution(steer(logprobs, guidance(5.0, kl_cap=0.0)).scores, logprobs[0])


# Agreement


def agreed(rows: Tensor, plan: Plan) -> float | None:
    """How far a plan's contrasts agree; None if that can't be said."""
    batch = PlanBatch.of([plan], [range(len(rows))])
    found = float(agreement(rows, batch, combine(rows, batch)))
    return None if math.isnan(found) else found


def two_wishes(first: Tensor, second: Tensor, base: Tensor, **more: float) -> float | None:
    """How far two wishes agree, each written as what it adds to ``base``."""
    rows = torch.stack([base + first, base + second, base]).log_softmax(-1)
    plan = context_steering([1.0, 1.0], **more)
    return agreed(rows, plan)


@examples
@given(seeds)
def test_agreement_is_the_correlation_of_what_two_contrasts_add_under_the_reference(
    seed: int,
) -> None:
    rows = random_logprobs(seed, streams=3)
    plan = context_steering([2.0, 0.5], plausibility=0.05)
    steered = steer(rows, plan)
    kept = steered.scores > -math.inf
    one, two, base = rows[:, kept].double()
    share = steered.reference[kept].double().softmax(0)

    def covariance(a: Tensor, b: Tensor) -> Tensor:
        return share @ ((a - share @ a) * (b - share @ b))

    first, second = one - base, two - base
    variances = covariance(first, first) * covariance(second, second)
    found = agreed(rows, plan)
    if kept.sum() == 1:
        assert found is None
    else:
        expected = covariance(first, second) / variances.sqrt()
        assert found == pytest.approx(float(expected), abs=1e-4)


@examples
@given(seeds, st.floats(0.1, 3.0))
def test_wishes_for_the_same_agree_and_for_the_opposite_disagree(seed: int, factor: float) -> None:
    base, wish = random_logprobs(seed)
    assert two_wishes(wish, factor * wish, base) == pytest.approx(1.0, abs=1e-4)
    assert two_wishes(wish, -factor * wish, base) == pytest.approx(-1.0, abs=1e-4)


def test_three_wishes_agree_as_their_pairs_do_on_average() -> None:
    base, wish, other = random_logprobs(2, streams=3)
    rows = torch.stack([base + wish, base - wish, base + other, base]).log_softmax(-1)
    plan = context_steering([1.0, 1.0, 1.0])
    reference = replace(plan, reference=((3, 1.0),))
    pairs = [
        agreed(rows, replace(reference, contrasts=pair)) for pair in combinations(plan.contrasts, 2)
    ]
    mean = agreed(rows, reference)
    assert mean == pytest.approx(sum(pair or math.nan for pair in pairs) / 3)
    assert pairs[0] == pytest.approx(-1.0, abs=1e-4)


@examples
@given(seeds, st.floats(-0.9, 3.0))
def test_a_wish_on_top_of_another_agrees_as_far_as_the_other_is_still_heard(
    seed: int, left: float
) -> None:
    base, wish = random_logprobs(seed)
    rows = torch.stack([base + wish, base + left * wish, base]).log_softmax(-1)
    plan = replace(
        context_steering([1.0, 1.0]),
        anchor=1,
        contrasts=(Contrast(1.0, 0, 2), Contrast(1.0, 1, 0)),
        reference=((1, 1.0),),
    )
    assume(abs(left) > 1e-2)
    found = agreed(rows, plan)
    assert found == pytest.approx(math.copysign(1.0, left), abs=1e-4)


def test_no_agreement_where_there_is_nothing_to_compare() -> None:
    base, wish = random_logprobs(0)
    assert two_wishes(wish, 0.0 * wish, base) is None
    assert two_wishes(wish, wish, base, plausibility=1.0) is None
    rows = random_logprobs(0)
    assert agreed(rows, guidance(2.0)) is None


def test_agreement_looks_past_what_a_stream_finds_impossible() -> None:
    base, wish = random_logprobs(0)
    rows = torch.stack([base + wish, base + 2.0 * wish, base])
    rows[:, 3] = torch.tensor([-math.inf, 0.0, -math.inf])
    plan = context_steering([1.0, 1.0])
    rows = rows.log_softmax(-1)
    assert agreed(rows, plan) == pytest.approx(1.0, abs=1e-4)


# Plans that can't be


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"anchor": 2}, "indices"),
        ({"anchor": -1}, "indices"),
        ({"contrasts": (Contrast(1.0, 0, 2),)}, "indices"),
        ({"reference": ((5, 1.0),)}, "indices"),
        ({"reference": ((0, 0.5),)}, "sum to 1"),
        ({"reference": ()}, "sum to 1"),
        ({"reference": ((0, 0.0), (1, 1.0))}, "above 0"),
        ({"kl_cap": -0.1}, "kl_cap"),
        ({"kl_cap": math.inf}, "kl_cap"),
    ],
    ids=str,
)
def test_plans_that_do_not_fit_together_are_refused(change: dict[str, object], rule: str) -> None:
    fields = {"streams": (Stream((0,)), Stream()), "anchor": 0, "reference": ((0, 1.0),)}
    assert not Plan(**fields).is_plain  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=rule):
        Plan(**{**fields, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, 1e7])
def test_weights_that_float32_cannot_carry_are_refused(weight: float) -> None:
    with pytest.raises(ConfigurationError, match="weight must be at most"):
        Contrast(weight, 0, 1)


# Tokens that are held back


@examples
@given(seeds, st.sets(st.integers(0, 39), max_size=39))
def test_levelled_streams_are_distributions_that_agree_on_what_is_held(
    seed: int, held: set[int]
) -> None:
    logprobs = random_logprobs(seed, streams=3).double()
    mask = torch.tensor([token in held for token in range(40)])
    level = levelled(logprobs, mask)
    torch.testing.assert_close(level.exp().sum(-1), torch.ones(3, dtype=torch.float64))
    assert torch.equal(level[:, mask], logprobs.amin(0)[mask].expand(3, -1))
    among_others = logprobs[:, ~mask].log_softmax(-1)
    torch.testing.assert_close(level[:, ~mask].log_softmax(-1), among_others)


@examples
@given(seeds, st.floats(0.0, 20.0))
def test_what_is_held_is_no_reason_to_steer(seed: int, weight: float) -> None:
    """Where the streams differ in held tokens alone, steering does nothing."""
    base = random_logprobs(seed)[0].double()
    pref = base.index_fill(0, torch.tensor([4, 7]), 3.0).log_softmax(0)
    mask = torch.zeros(40, dtype=torch.bool).index_fill(0, torch.tensor([4, 7]), True)
    steered = steer(levelled(torch.stack([pref, base]), mask), guidance(weight)).scores
    assert_same_distribution(steered, base)


def test_a_stream_that_knows_nothing_but_what_is_held_stays_as_it_is() -> None:
    sure = torch.tensor([0.0, -math.inf, -math.inf])
    logprobs = torch.stack([sure, torch.tensor([0.2, 0.3, 0.5]).log()])
    level = levelled(logprobs, torch.tensor([True, False, False]))
    assert torch.equal(level[0], sure) and not bool(level.isnan().any())
