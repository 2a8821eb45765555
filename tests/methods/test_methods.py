"""Methods as data: which streams, which weights, which mask, for which preferences."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet import steering
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import (
    PAD,
    STRENGTHS,
    Amulet,
    Auto,
    Base,
    ContextSteering,
    Drift,
    Guidance,
    Iterated,
    LinearAlignment,
    Method,
    Pref,
    resolve_strength,
)
from langchain_amulet.steering import Contrast, Plan, Plausibility, Stream, steer

examples = settings(max_examples=50, deadline=None, derandomize=True, database=None)
strengths = st.floats(-4.0, 10.0)
shares = st.floats(0.0, 3.0)

GUIDED = [
    LinearAlignment(),
    LinearAlignment.original(),
    Amulet(),
    Amulet.paper(),
    Amulet.within(0.5),
    Auto(),
]
EVERY_METHOD = [
    Base(),
    Pref(),
    *GUIDED,
    Iterated(steering.amulet_utility),
    ContextSteering(),
    Drift(),
    PAD("rm"),
    PAD("rm", per_dimension=True),
]
NAMES = [method.name for method in EVERY_METHOD]


def prompt_logprobs(plan: Plan, vocabulary: int = 30) -> Tensor:
    """A row per stream: the same one wherever the same preferences are in the prompt."""

    def row(stream: Stream) -> Tensor:
        seed = sum(2**k for k in stream.preferences)
        return torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed))

    rows = [row(stream) for stream in plan.streams]
    return torch.stack(rows).log_softmax(-1)


def steered_scores(method: Method, *guidance: Guidance) -> Tensor:
    plan = method.plan(guidance)
    return steer(prompt_logprobs(plan), plan).scores


# Settings


def test_amulets_strength_is_derived_from_the_papers_settings() -> None:
    assert Amulet().strength == steering.strength()
    assert Amulet(alpha=1.0, lam=3.0, eta=5.0, updates=7).strength == steering.strength(
        1.0, 3.0, 5.0, 7
    )


@pytest.mark.parametrize(
    ("name", "number"), [("subtle", 0.5), ("balanced", 1.0), ("strong", 2.0), ("amulet", 4.6487)]
)
def test_strengths_have_names(name: str, number: float) -> None:
    assert Amulet(strength=name).strength == pytest.approx(number, abs=5e-5)
    assert Amulet.with_strength(name) == Amulet(strength=name)
    assert STRENGTHS[name] == resolve_strength(name)


def test_the_table_of_names_is_read_only() -> None:
    with pytest.raises(TypeError):
        STRENGTHS["huge"] = 99.0  # type: ignore[index]


def test_amulet_says_its_strength_and_not_where_it_came_from() -> None:
    assert repr(Amulet(strength="balanced")) == (
        "Amulet(strength=1.0, plausibility=0.1, kl_cap=None)"
    )
    assert Amulet(strength="amulet") == Amulet()
    assert Amulet(alpha=1.0) == Amulet(strength=steering.strength(alpha=1.0))
    assert Amulet.with_strength(1.5, plausibility=0.2, kl_cap=0.7) == Amulet(
        strength=1.5, plausibility=0.2, kl_cap=0.7
    )


def test_a_strength_that_is_given_and_derived_otherwise_is_refused() -> None:
    for both in ({"alpha": 1.0}, {"lam": 3.0}, {"eta": 5.0}, {"updates": 7}):
        with pytest.raises(ConfigurationError, match=r"either given or derived from alpha, lam"):
            Amulet(**both, strength=3.0)


def test_replacing_keeps_amulet_s_strength_unless_a_strength_is_given() -> None:
    amulet = Amulet(alpha=1.0)
    assert dataclasses.replace(amulet, kl_cap=0.5).strength == amulet.strength
    assert dataclasses.replace(amulet, strength="balanced") == Amulet(strength=1.0)
    with pytest.raises(ConfigurationError, match="leave either out"):
        dataclasses.replace(amulet, alpha=3.0)


def test_the_papers_amulet_is_amulet_without_a_mask() -> None:
    assert Amulet.paper() == dataclasses.replace(Amulet(), plausibility=0.0)
    assert Amulet().plausibility == 0.1


BOUNDED, FREE = Amulet(kl_cap=0.05), Amulet()
TOLD, UNTOLD, UNHEARD = Guidance(strength=3.0), Guidance(), Guidance(weight=0.0)


@pytest.mark.parametrize(
    ("preferences", "same_as"),
    [
        ([], BOUNDED),
        ([UNTOLD], BOUNDED),
        ([TOLD, UNTOLD], BOUNDED),
        ([TOLD], FREE),
        ([TOLD, UNHEARD, TOLD], FREE),
    ],
)
def test_auto_bounds_what_steers_as_far_as_nobody_said(
    preferences: list[Guidance], same_as: Amulet
) -> None:
    assert Auto().plan(preferences) == same_as.plan(preferences)


@pytest.mark.parametrize("method", EVERY_METHOD, ids=NAMES)
def test_methods_are_values(method: Method) -> None:
    assert dataclasses.is_dataclass(method)
    assert dataclasses.replace(method) == method
    assert hash(dataclasses.replace(method)) == hash(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.strength = 1.0


def test_methods_have_names() -> None:
    assert set(NAMES) == {
        "base",
        "pref",
        "linear_alignment",
        "amulet",
        "auto",
        "iterated",
        "context_steering",
        "drift",
        "pad",
    }


def test_an_unknown_strength_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'subtle', 'balanced', 'strong', 'amulet'.*'big'"
    ):
        Amulet(strength="big")


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (lambda: Amulet(lam=0.0), "lam"),
        (lambda: Amulet(lam=0.0, strength=1.0), "lam"),
        (lambda: Amulet(eta=-1.0), "eta"),
        (lambda: Amulet(updates=-1), "updates"),
        (lambda: Amulet(plausibility=1.1), "plausibility"),
        (lambda: Amulet(plausibility=-0.1, strength=0.0), "plausibility"),
        (lambda: Amulet(kl_cap=-1.0, strength=-1.0), "kl_cap"),
        (lambda: Amulet(strength=math.nan), "strength"),
        (lambda: Amulet(strength=1e9), "weight"),
        (lambda: Amulet(strength=True), "strength"),
        (lambda: LinearAlignment(math.inf), "ratio"),
        (lambda: LinearAlignment(1e9), "weight"),
        (lambda: Guidance(strength=math.inf), "strength"),
        (lambda: Guidance(weight=-1.0), "weight"),
        (lambda: Guidance(weight=math.nan), "weight"),
        (lambda: Guidance(layer=-1), "layer"),
        (lambda: Guidance(layer=True), "layer"),
    ],
)
def test_wrong_settings_are_refused_when_they_are_made(wrong: object, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=rule):
        wrong()  # type: ignore[operator]


# No preference, or one


@pytest.mark.parametrize("method", EVERY_METHOD, ids=NAMES)
@pytest.mark.parametrize("guidance", [[Guidance(weight=0.0)] * count for count in (0, 1, 3)])
def test_without_preferences_every_method_is_the_base_prompt(
    method: Method, guidance: list[Guidance]
) -> None:
    assert method.plan(guidance) == Plan.plain()


def test_base_and_pref_are_one_prompt_each() -> None:
    guidance = [Guidance(), Guidance(weight=0.0), Guidance(strength=3.0)]
    assert Base().plan(guidance) == Plan.plain()
    assert Pref().plan(guidance) == Plan.plain((0, 2))


def test_amulet_contrasts_the_preference_with_the_base_prompt() -> None:
    assert Amulet(strength=2.0, plausibility=0.2, kl_cap=0.5).plan([Guidance()]) == Plan(
        streams=(Stream((0,)), Stream()),
        anchor=0,
        contrasts=(Contrast(2.0, 0, 1),),
        reference=((0, 1.0),),
        mask=Plausibility(0.2),
        kl_cap=0.5,
    )


def test_linear_alignment_is_guidance_at_its_ratio_without_a_mask() -> None:
    assert LinearAlignment(3.0).plan([Guidance()]) == Amulet(strength=3.0, plausibility=0.0).plan(
        [Guidance()]
    )


@pytest.mark.parametrize("method", GUIDED, ids=lambda method: method.name)
def test_strength_zero_is_the_plain_prompt_and_minus_one_the_base_prompt(method: Method) -> None:
    assert method.plan([Guidance(strength=0.0)]) == Plan.plain((0,))
    assert method.plan([Guidance(strength=-1.0)]) == Plan.plain()


def test_weight_scales_what_is_added_to_the_base_prompt() -> None:
    (contrast,) = Amulet(strength=2.0).plan([Guidance(weight=0.5)]).contrasts
    assert contrast.weight == 0.5 * (1.0 + 2.0) - 1.0
    assert Amulet(strength=1.0).plan([Guidance(weight=0.5)]) == Plan.plain((0,))


@pytest.mark.parametrize("method", GUIDED, ids=lambda method: method.name)
def test_a_preferences_own_strength_wins_over_the_methods(method: Method) -> None:
    (contrast,) = method.plan([Guidance(strength=7.0)]).contrasts
    assert contrast.weight == 7.0


@examples
@given(strengths, shares)
def test_one_preference_is_guidance_by_the_formula(strength: float, weight: float) -> None:
    method = Amulet.with_strength(strength, plausibility=0.0)
    pref, base = prompt_logprobs(Amulet().plan([Guidance()]))
    expected = base + weight * (1.0 + strength) * (pref - base)
    torch.testing.assert_close(
        steered_scores(method, Guidance(weight=weight)), expected, rtol=1e-4, atol=1e-4
    )


def test_what_is_pushed_away_from_is_judged_from_the_base_prompt() -> None:
    plan = Amulet(strength=-3.0).plan([Guidance()])
    assert plan.anchor == 1 and plan.reference == ((1, 1.0),)
    assert plan.contrasts == (Contrast(-2.0, 0, 1),)


# Several preferences


def test_several_preferences_steer_from_the_base_prompt() -> None:
    guidance = [Guidance(), Guidance(strength=1.0, weight=3.0)]
    assert Amulet(strength=2.0).plan(guidance) == Plan(
        streams=(Stream((0,)), Stream((1,)), Stream()),
        anchor=2,
        contrasts=(Contrast(3.0, 0, 2), Contrast(6.0, 1, 2)),
        reference=((0, 0.25), (1, 0.75)),
        mask=Plausibility(0.1),
    )


@examples
@given(st.lists(st.tuples(strengths, shares), min_size=1, max_size=4), st.booleans())
def test_several_preferences_follow_context_steering(
    guidance: list[tuple[float, float]], masked: bool
) -> None:
    method = Amulet.with_strength("balanced", plausibility=0.1 if masked else 0.0)
    scores = steered_scores(method, *(Guidance(strength, weight) for strength, weight in guidance))
    *prefs, base = prompt_logprobs(
        Plan(
            streams=(*(Stream((k,)) for k in range(len(guidance))), Stream()),
            anchor=0,
            reference=((0, 1.0),),
        )
    )
    expected = base.clone()
    for pref, (strength, weight) in zip(prefs, guidance, strict=True):
        expected += weight * (1.0 + strength) * (pref - base)
    kept = scores > -math.inf
    assert kept.all() or masked
    torch.testing.assert_close(scores[kept], expected[kept], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", EVERY_METHOD, ids=NAMES)
@pytest.mark.parametrize(
    "absent", [Guidance(weight=0.0), Guidance(strength=2.0, weight=0.0)], ids=str
)
def test_a_preference_of_weight_zero_is_as_if_it_were_not_there(
    method: Method, absent: Guidance
) -> None:
    present = [Guidance(weight=2.0), Guidance(strength=1.0)]
    without = steered_scores(method, *present)
    assert torch.equal(steered_scores(method, *present, absent), without)
    plan = method.plan([present[0], absent])
    assert plan == method.plan([present[0]])


@examples
@given(st.lists(st.tuples(strengths, shares), max_size=4))
def test_a_plan_reads_only_streams_that_it_needs(guidance: list[tuple[float, float]]) -> None:
    plan = Amulet().plan([Guidance(*each) for each in guidance])
    needed = {plan.anchor} | {index for index, _ in plan.reference}
    needed |= {index for each in plan.contrasts for index in (each.plus, each.minus)}
    assert needed == set(range(len(plan.streams)))
    assert len(set(plan.streams)) == len(plan.streams)


def test_only_what_is_steered_towards_is_the_reference() -> None:
    plan = Amulet().plan([Guidance(), Guidance(strength=-2.0), Guidance(weight=3.0)])
    assert plan.reference == ((0, 0.25), (2, 0.75))
    away = Amulet().plan([Guidance(strength=-2.0), Guidance(strength=-3.0)])
    assert away.reference == ((2, 1.0),)


def test_a_weight_too_small_for_a_share_is_no_error() -> None:
    plan = Amulet().plan([Guidance(weight=2.0), Guidance(weight=5e-324)])
    assert plan.reference == ((0, 1.0),)


# Preferences on top of others


STORED, CALLS = 0, 1


def prompts_of(*preferences: tuple[int, ...]) -> Tensor:
    streams = tuple(Stream(indices) for indices in preferences)
    return prompt_logprobs(Plan(streams=streams, anchor=0, reference=((0, 1.0),)))


@pytest.mark.parametrize("method", GUIDED, ids=lambda method: method.name)
def test_the_call_s_preference_is_steered_on_top_of_the_stored_one(method: Method) -> None:
    plan = method.plan([Guidance(strength=1.5, layer=STORED), Guidance(strength=3.0, layer=CALLS)])
    assert plan.streams == (Stream((0,)), Stream((0, 1)), Stream())
    assert plan.anchor == 1 and plan.reference == ((1, 1.0),)
    assert plan.contrasts == (Contrast(1.5, 0, 2), Contrast(3.0, 1, 0))


@examples
@given(st.floats(-0.9, 10.0), st.floats(-0.9, 10.0))
def test_nested_preferences_follow_the_formula(stored: float, calls: float) -> None:
    guidance = Guidance(stored, layer=STORED), Guidance(calls, layer=CALLS)
    both, below, base = prompts_of((0, 1), (0,), ())
    expected = both + calls * (both - below) + stored * (below - base)
    scores = steered_scores(Amulet.paper(), *guidance)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_a_layer_s_strength_is_its_preferences_weighted_mean_or_the_method_s() -> None:
    guidance = [
        Guidance(1.0, 3.0),
        Guidance(weight=1.0),
        Guidance(0.5, layer=CALLS),
        Guidance(9.0, 0.0, CALLS),
    ]
    plan = Amulet(strength=5.0).plan(guidance)
    assert plan.streams == (Stream((0, 1)), Stream((0, 1, 2)), Stream())
    assert [each.weight for each in plan.contrasts] == pytest.approx([2.0, 0.5])


def test_layers_are_stacked_in_their_order_whatever_the_preferences() -> None:
    guidance = [Guidance(2.0, layer=CALLS), Guidance(3.0, layer=STORED)]
    plan = Amulet().plan(guidance)
    assert plan.streams == (Stream((1,)), Stream((1, 0)), Stream())
    assert Pref().plan(guidance) == Plan.plain((1, 0))


@examples
@given(strengths, st.integers(0, 3))
def test_one_layer_alone_is_as_if_there_were_none(strength: float, layer: int) -> None:
    for guidance in ([Guidance(strength)], [Guidance(strength), Guidance(weight=2.0)]):
        in_layer = [dataclasses.replace(each, layer=layer) for each in guidance]
        assert Amulet().plan(in_layer) == Amulet().plan(guidance)


def test_nested_preferences_of_strength_zero_are_only_prompted() -> None:
    guidance = Guidance(0.0, layer=STORED), Guidance(0.0, layer=CALLS)
    assert Amulet().plan(guidance) == Plan.plain((0, 1))
    plan = Amulet().plan([Guidance(0.0, layer=STORED), Guidance(2.0, layer=CALLS)])
    assert plan.streams == (Stream((0, 1)), Stream((0,)))
    assert plan.contrasts == (Contrast(2.0, 0, 1),)


def test_a_layer_of_strength_minus_one_is_left_out() -> None:
    stored, calls = Guidance(2.0, layer=STORED), Guidance(3.0, layer=CALLS)
    off = Guidance(-1.0, layer=CALLS)
    assert Amulet().plan([stored, off]) == Amulet().plan([stored])
    assert Amulet().plan([dataclasses.replace(off, layer=STORED), calls]).streams == (
        Stream((1,)),
        Stream(),
    )


def test_what_one_layer_pushes_away_from_is_not_in_the_prompts_above_it() -> None:
    plan = Amulet().plan([Guidance(-3.0, layer=STORED), Guidance(2.0, layer=CALLS)])
    assert plan.streams == (Stream((0,)), Stream((1,)), Stream())
    assert plan.contrasts == (Contrast(-2.0, 0, 2), Contrast(2.0, 1, 2))
    assert plan.anchor == 1 and plan.reference == ((1, 1.0),)


def test_nested_prompts_that_say_the_same_collapse_to_that_prompt() -> None:
    plan = Amulet.paper().plan([Guidance(layer=STORED), Guidance(layer=CALLS)])
    row = prompts_of(())
    steered = steer(row.expand(3, -1), plan)
    torch.testing.assert_close(steered.scores, row[0])
