"""Every method of the family against its paper's formula, written out in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from zlib import crc32

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import (
    PAD,
    Amulet,
    ContextSteering,
    DeRa,
    Drift,
    Guidance,
    Iterated,
    LinearAlignment,
    Method,
    ProxyTuning,
)
from langchain_amulet.steering import Plan, Stream, amulet_utility, kl, steer, strength

examples = settings(max_examples=50, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31)
strengths = st.floats(-3.0, 8.0)
VOCABULARY = 40


class Prompts:
    """The same log-probabilities wherever the same model reads the same preferences."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, *preferences: int, model: str | None = None) -> Tensor:
        """``[V]``, float64."""
        source = torch.Generator().manual_seed(
            crc32(repr((self.seed, preferences, model)).encode())
        )
        logits = 2.0 * torch.randn(VOCABULARY, generator=source, dtype=torch.float64)
        return logits.log_softmax(-1)

    def rows(self, plan: Plan) -> Tensor:
        """``[S, V]``, float32, as the engine gives them."""
        return torch.stack([self(*s.preferences, model=s.model) for s in plan.streams]).float()


def assert_follows(
    method: Method, guidance: list[Guidance], expected: Callable[[Prompts], Tensor]
) -> None:
    """Steering by ``method`` is the distribution of the ``expected`` scores."""
    plan = method.plan(guidance)
    for seed in range(5):
        prompts = Prompts(seed)
        scores = steer(prompts.rows(plan), plan).scores.double()
        oracle = expected(prompts)
        assert torch.equal(scores > -math.inf, oracle > -math.inf)
        torch.testing.assert_close(scores.softmax(0), oracle.softmax(0), rtol=1e-3, atol=1e-5)


def only(scores: Tensor, kept: Tensor) -> Tensor:
    return scores.where(kept, -math.inf)


# One model


@pytest.mark.parametrize("ratio", [2.0, 3.0, 5.0])
def test_linear_alignment(ratio: float) -> None:
    assert_follows(LinearAlignment(ratio), [Guidance()], lambda p: p(0) + ratio * (p(0) - p()))


@pytest.mark.parametrize("ratio", [3.0, 5.0])
def test_linear_alignment_as_its_authors_run_it(ratio: float) -> None:
    def oracle(p: Prompts) -> Tensor:
        probabilities, order = p(0).exp().sort(descending=True)
        before = probabilities.cumsum(0) - probabilities
        nucleus = torch.zeros(VOCABULARY, dtype=torch.bool)
        nucleus[order[before < 0.8]] = True
        return only(p(0) + ratio * (p(0) - p()), nucleus)

    assert_follows(LinearAlignment.original(ratio), [Guidance()], oracle)


def test_linear_alignment_falls_back_to_the_prompt_where_its_mask_leaves_nothing() -> None:
    plan = LinearAlignment.original().plan([Guidance(strength=-0.5)])
    pref, base = torch.tensor([0.9, 0.1, 0.0]).log(), torch.tensor([0.0, 0.5, 0.5]).log()
    scores = steer(torch.stack([pref, base]), plan).scores
    assert scores.softmax(0).tolist() == [1.0, 0.0, 0.0]


def test_amulet_at_the_paper_s_settings() -> None:
    d = strength()
    assert_follows(Amulet.paper(), [Guidance()], lambda p: p(0) + d * (p(0) - p()))


def test_amulet_with_its_mask() -> None:
    def oracle(p: Prompts) -> Tensor:
        plausible = p(0).exp() >= 0.1 * p(0).exp().max()
        return only(p(0) + 2.0 * (p(0) - p()), plausible)

    assert_follows(Amulet(strength="strong"), [Guidance()], oracle)


@examples
@given(st.floats(-2.0, 3.0), st.floats(1.0, 4.0), st.floats(0.05, 20.0), st.integers(0, 40))
def test_amulet_equals_the_solver_with_its_own_utility(
    alpha: float, lam: float, eta: float, updates: int
) -> None:
    utility = partial(amulet_utility, alpha=alpha)
    for plausibility in (0.0, 0.1):
        closed = Amulet(alpha, lam, eta, updates, plausibility).plan([Guidance()])
        solved = Iterated(utility, lam, eta, updates, plausibility=plausibility).plan([Guidance()])
        if closed.is_plain:
            continue
        assert closed.streams == solved.streams
        rows = Prompts(0).rows(closed)
        expected, found = (steer(rows, plan).scores.softmax(0) for plan in (closed, solved))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_utility_of_one_s_own_is_optimised_among_the_plausible_tokens() -> None:
    def squashed(log_policy: Tensor, log_base: Tensor) -> Tensor:
        return 3.0 * torch.tanh(log_policy - log_base)

    def oracle(p: Prompts) -> Tensor:
        kept = p(0).exp() >= 0.1 * p(0).exp().max()
        first, base = p(0)[kept].log_softmax(0), p()[kept].log_softmax(0)
        policy, worth = first, torch.zeros_like(first)
        for t in range(1, 8):
            worth = worth + squashed(policy, base)
            step = (10.0 * worth + 2.0 * 10.0 * t * first + policy) / (t * 2.0 * 10.0 + 1.0)
            policy = step.log_softmax(0)
        scores = torch.full_like(p(0), -math.inf)
        scores[kept] = policy
        return scores

    assert_follows(Iterated(squashed, updates=7), [Guidance()], oracle)


def test_a_utility_that_finds_all_tokens_alike_leaves_the_prompt() -> None:
    method = Iterated(lambda policy, base: torch.zeros_like(policy), plausibility=0.0)
    assert_follows(method, [Guidance(), Guidance()], lambda p: p(0, 1))


def test_the_solver_respects_the_cap() -> None:
    plan = Iterated(amulet_utility, plausibility=0.0, kl_cap=0.2).plan([Guidance()])
    steered = steer(Prompts(0).rows(plan), plan)
    assert float(kl(steered.scores, steered.reference)) == pytest.approx(0.2, abs=2e-3)


def test_context_steering() -> None:
    guidance = [Guidance(weight=0.5), Guidance(strength=3.0), Guidance(weight=2.0, layer=1)]
    assert_follows(
        ContextSteering(1.5),
        guidance,
        lambda p: p() + 0.5 * 2.5 * (p(0) - p()) + 4.0 * (p(1) - p()) + 2.0 * 2.5 * (p(2) - p()),
    )


def test_drift() -> None:
    method = Drift((0.8, -0.3, 0.5), beta=0.5)
    guidance = [Guidance(), Guidance(), Guidance(strength=0.1, weight=2.0)]
    assert_follows(
        method,
        guidance,
        lambda p: p() + (0.8 * (p(0) - p()) - 0.3 * (p(1) - p()) + 0.2 * (p(2) - p())) / 0.5,
    )


@examples
@given(st.floats(0.05, 5.0), st.floats(0.2, 3.0))
def test_drift_with_one_weight_is_context_steering(weight: float, beta: float) -> None:
    g = weight / beta
    drift, steering = Drift((weight,), beta), ContextSteering(g - 1.0)
    plans = [method.plan([Guidance()]) for method in (drift, steering)]
    one, other = (steer(Prompts(0).rows(plan), plan).scores.softmax(0) for plan in plans)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_drift_needs_as_many_weights_as_preferences_or_none() -> None:
    with pytest.raises(ConfigurationError, match="2 weights for 1 preferences"):
        Drift((1.0, 2.0)).plan([Guidance()])
    assert Drift((1.0, 2.0)).plan([]) == Plan.plain()
    assert len(Drift().plan([Guidance(), Guidance()]).contrasts) == 2


# Several models


@pytest.mark.parametrize("weight", [0.5, 1.0, 1.5])
def test_pad_renormalises_both_on_the_base_s_top_k(weight: float) -> None:
    def oracle(p: Prompts) -> Tensor:
        top = p().topk(10).indices
        base, reward = p()[top].log_softmax(0), p(0, model="rm")[top].log_softmax(0)
        scores = torch.full_like(p(), -math.inf)
        scores[top] = base + weight * (reward - base)
        return scores

    assert_follows(PAD("rm", weight), [Guidance()], oracle)


def test_pad_holds_all_preferences_in_one_prompt_or_each_in_its_own() -> None:
    guidance = [Guidance(weight=0.5), Guidance(strength=1.5, weight=2.0)]

    def on_top_k(p: Prompts, scores: Tensor) -> Tensor:
        return only(scores, p() >= p().topk(10).values[-1])

    mean = (0.5 * 1.0 + 2.0 * 1.5) / 2.5
    assert_follows(
        PAD("rm"), guidance, lambda p: on_top_k(p, p() + mean * (p(0, 1, model="rm") - p()))
    )
    assert_follows(
        PAD("rm", per_dimension=True),
        guidance,
        lambda p: on_top_k(
            p, p() + 0.5 * (p(0, model="rm") - p()) + 3.0 * (p(1, model="rm") - p())
        ),
    )


def test_pad_without_weight_is_the_base_prompt_s_top_k() -> None:
    plan = PAD("rm", 0.0, k=3).plan([Guidance()])
    assert plan.models == ()
    assert_follows(
        PAD("rm", 0.0, k=3), [Guidance()], lambda p: only(p(), p() >= p().topk(3).values[2])
    )


@pytest.mark.parametrize("lam", [-0.5, 0.25, 0.5, 2.0])
def test_dera(lam: float) -> None:
    assert_follows(
        DeRa("sft", lam), [Guidance()], lambda p: (1.0 - lam) * p(0, model="sft") + lam * p(0)
    )


def test_dera_at_0_and_1_is_one_of_its_models() -> None:
    assert DeRa("sft", 1.0).plan([Guidance()]) == Plan.plain((0,))
    assert_follows(DeRa("sft", 0.0), [Guidance()], lambda p: p(0, model="sft"))
    plan = DeRa("sft", 0.0).plan([Guidance()])
    assert Prompts(0).rows(plan)[plan.anchor].equal(Prompts(0)(0, model="sft").float())


@examples
@given(strengths)
def test_proxy_tuning(strength: float) -> None:
    assert_follows(
        ProxyTuning("tuned", "untuned", strength),
        [Guidance()],
        lambda p: p(0) + strength * (p(0, model="tuned") - p(0, model="untuned")),
    )


def test_proxy_tuning_by_what_preferences_change_for_one_small_model() -> None:
    assert_follows(
        ProxyTuning("small", strength=2.0),
        [Guidance()],
        lambda p: p(0) + 2.0 * (p(0, model="small") - p(model="small")),
    )


@pytest.mark.parametrize(
    "method",
    [ProxyTuning("small", "other", 0.0), ProxyTuning("small", "small", 3.0)],
    ids=["no strength", "expert is antiexpert"],
)
def test_proxy_tuning_that_changes_nothing_is_the_large_model(method: Method) -> None:
    assert method.plan([Guidance()]) == Plan.plain((0,))


def test_proxy_tuning_with_one_small_model_and_no_preference_is_the_large_model() -> None:
    assert ProxyTuning("small").plan([]) == Plan.plain()
    assert ProxyTuning("small", "other").plan([]).models == ("small", "other")


def test_drift_can_measure_attributes_with_another_model() -> None:
    assert_follows(
        Drift((2.0,), model="small"),
        [Guidance()],
        lambda p: p() + 2.0 * (p(0, model="small") - p(model="small")),
    )


def test_models_of_a_plan_are_named_once() -> None:
    plan = ProxyTuning("tuned", "untuned").plan([Guidance()])
    assert plan.models == ("tuned", "untuned")
    assert plan.streams[plan.anchor] == Stream((0,))
    assert Amulet().plan([Guidance()]).models == ()


# The cap


@pytest.mark.parametrize(
    "method",
    [
        LinearAlignment(kl_cap=0.3),
        Amulet(kl_cap=0.3),
        Amulet.within(0.3),
        ContextSteering(4.0, kl_cap=0.3),
        Drift((4.0, 3.0), kl_cap=0.3),
        PAD("rm", 5.0, kl_cap=0.3),
        DeRa("sft", 6.0, kl_cap=0.3),
        DeRa("sft", 0.0, kl_cap=0.3),
        ProxyTuning("tuned", "untuned", 5.0, kl_cap=0.3),
    ],
    ids=str,
)
def test_a_cap_in_nats_bounds_every_guided_method(method: Method) -> None:
    plan = method.plan([Guidance(), Guidance()])
    spent = []
    for seed in range(5):
        steered = steer(Prompts(seed).rows(plan), plan)
        spent.append(float(kl(steered.scores, steered.reference)))
    assert max(spent) == pytest.approx(0.3, abs=5e-3)


def test_a_budget_alone_is_spent_whatever_the_preference_changes() -> None:
    plan = Amulet.within(0.5, plausibility=0.0).plan([Guidance()])
    for scale in (0.3, 1.0, 3.0):
        pref = Prompts(0)(0)
        rows = torch.stack([pref, pref + scale * (Prompts(0)() - pref)]).log_softmax(-1).float()
        steered = steer(rows, plan)
        assert float(kl(steered.scores, steered.reference)) == pytest.approx(0.5, abs=5e-3)


# Settings


@pytest.mark.parametrize(
    ("method", "is_prompted"),
    [
        (Amulet(), True),
        (LinearAlignment(), True),
        (ContextSteering(), True),
        (Iterated(amulet_utility), True),
        (DeRa("sft"), True),
        (ProxyTuning("small"), True),
        (PAD("rm"), False),
        (Drift(), False),
    ],
)
def test_divergence_is_measured_from_the_answering_model_s_prompt(
    method: Method, is_prompted: bool
) -> None:
    plan = method.plan([Guidance()])
    assert [plan.streams[row] for row, _ in plan.reference] == [Stream((0,) if is_prompted else ())]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (lambda: PAD(""), "model"),
        (lambda: PAD("rm", math.nan), "weight"),
        (lambda: PAD("rm", k=0), "top-k"),
        (lambda: DeRa("sft", math.inf), "lam"),
        (lambda: DeRa("sft", plausibility=2.0), "plausibility"),
        (lambda: ProxyTuning(None), "expert"),
        (lambda: ProxyTuning("small", ""), "antiexpert"),
        (lambda: ProxyTuning("small", strength=math.nan), "strength"),
        (lambda: ProxyTuning("small", strength=1e9), "weight"),
        (lambda: Drift((math.nan,)), "weight"),
        (lambda: Drift(beta=0.0), "beta"),
        (lambda: ContextSteering(math.nan), "strength"),
        (lambda: ContextSteering(kl_cap=-1.0), "kl_cap"),
        (lambda: LinearAlignment(top_p=1.5), "top-p"),
        (lambda: Iterated(3.0), "utility"),
        (lambda: Iterated(amulet_utility, lam=0.0), "lam"),
        (lambda: Iterated(amulet_utility, plausibility=-0.1), "plausibility"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_made(wrong: object, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        wrong()  # type: ignore[operator]
