"""The sampler against a plain full-sort reference, hand-sized tables and its own frequencies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.sampling import HEAD, Drawn, SamplingBatch, SamplingParams, draw, penalize

examples = settings(max_examples=100, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31)
uniforms = st.floats(0.0, 1.0, exclude_max=True)
drawing = st.builds(
    SamplingParams,
    temperature=st.floats(0.05, 5.0),
    top_k=st.none() | st.integers(1, 3000),
    top_p=st.just(1.0) | st.floats(0.01, 1.0),
    min_p=st.just(0.0) | st.floats(0.0, 1.0),
)
GREEDY = SamplingParams(temperature=0.0)


def random_scores(seed: int, size: int, spread: float = 2.0, ties: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(size, generator=generator)
    return scores.round() if ties else scores


def log(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities).log()


def drawn(scores: Tensor, params: SamplingParams, uniform: float, width: int) -> Drawn:
    batch = SamplingBatch.of([params])
    return draw(scores[None], batch, torch.tensor([uniform], dtype=torch.float64), width)


def sample(scores: Tensor, params: SamplingParams, uniform: float) -> int:
    """What is drawn from as many of the best as it takes."""
    for width in (HEAD, 16 * HEAD, len(scores)):
        found = drawn(scores, params, uniform, width)
        if found.is_settled:
            return int(found.index)
    raise AssertionError("all scores together settle nothing")


def penalized_by(
    scores: Tensor, ids: Tensor, seen: Collection[int], params: SamplingParams, *size: int
) -> Tensor:
    repeated = torch.isin(ids, torch.tensor(sorted(seen), dtype=torch.int64))
    return penalize(scores[None], repeated[None], SamplingBatch.of([params]), *size)[0]


def sample_by_sorting_everything(scores: Tensor, params: SamplingParams, uniform: float) -> int:
    """The definition, word for word, with Python's own stable sort and sums."""
    values = scores.tolist()
    order = sorted(
        (i for i, value in enumerate(values) if value > -math.inf), key=lambda i: -values[i]
    )
    order = order[: params.top_k]
    weights = [math.exp((values[i] - values[order[0]]) / params.temperature) for i in order]
    kept = len(order)
    if params.top_p < 1.0:
        nucleus = params.top_p * math.fsum(weights)
        kept = 1 + sum(mass < nucleus for mass in accumulate(weights))
    kept = sum(weight >= params.min_p for weight in weights[:kept])
    left = uniform * math.fsum(weights[:kept])
    for i, weight in zip(order[:kept], weights[:kept], strict=True):
        left -= weight
        if left < 0.0:
            return i
    return order[kept - 1]


def reachable(scores: Tensor, **settings: Any) -> list[int]:
    """Every token that some uniform number draws, likeliest first."""
    draws = [sample(scores, SamplingParams(**settings), step / 1000) for step in range(1000)]
    return list(dict.fromkeys(draws))


# Agreement with the definition


@examples
@given(seeds, st.sampled_from([1, 2, HEAD, 5 * HEAD, 40 * HEAD]), st.booleans(), drawing, uniforms)
def test_sampling_agrees_with_sorting_everything(
    seed: int, size: int, ties: bool, params: SamplingParams, uniform: float
) -> None:
    scores = random_scores(seed, size, ties=ties)
    assert sample(scores, params, uniform) == sample_by_sorting_everything(scores, params, uniform)


@pytest.mark.parametrize("uniform", [0.0, 0.01, 0.5, 0.99, 0.99999, math.nextafter(1.0, 0.0)])
@pytest.mark.parametrize("spread", [0.0, 0.1, 3.0])
def test_draws_far_down_the_tail_are_exact(uniform: float, spread: float) -> None:
    scores = random_scores(0, 20_000, spread)
    params = SamplingParams()
    assert sample(scores, params, uniform) == sample_by_sorting_everything(scores, params, uniform)


@examples
@given(seeds, drawing, uniforms, st.integers(1, 3000))
def test_the_same_uniform_draws_the_same_token_whatever_impossible_ones_follow(
    seed: int, params: SamplingParams, uniform: float, tail: int
) -> None:
    scores = random_scores(seed, 150)
    longer = torch.cat([scores, torch.full((tail,), -math.inf)])
    assert sample(longer, params, uniform) == sample(scores, params, uniform)


@examples
@given(seeds, drawing, uniforms, st.integers(-20, 20))
def test_adding_a_constant_to_the_scores_changes_nothing(
    seed: int, params: SamplingParams, uniform: float, constant: int
) -> None:
    scores = random_scores(seed, 300).double()
    assert sample(scores + constant, params, uniform) == sample(scores, params, uniform)


@examples
@given(seeds, uniforms)
def test_greedy_is_argmax_and_ties_go_to_the_lower_index(seed: int, uniform: float) -> None:
    scores = random_scores(seed, 500, ties=True)
    best = scores.tolist().index(float(scores.max()))
    assert sample(scores, GREEDY, uniform) == best
    assert sample(scores, SamplingParams(top_k=1), uniform) == best
    assert sample(scores, SamplingParams(temperature=1e-12, top_k=1), uniform) == best


def test_a_uniform_of_zero_draws_the_best_token() -> None:
    assert sample(log(0.2, 0.5, 0.3), SamplingParams(), 0.0) == 1


@examples
@given(seeds, drawing, uniforms)
def test_impossible_tokens_are_never_drawn(
    seed: int, params: SamplingParams, uniform: float
) -> None:
    scores = random_scores(seed, 400)
    scores[random_scores(seed + 1, 400) < 1.0] = -math.inf
    assert scores[sample(scores, params, uniform)] > -math.inf


@pytest.mark.parametrize("top_k", [None, 50])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_frequencies_of_draws_follow_the_softmax(temperature: float, top_k: int | None) -> None:
    scores = random_scores(11, 12)
    params = SamplingParams(temperature=temperature, top_k=top_k)
    generator = torch.Generator().manual_seed(12)
    uniforms = torch.rand(4000, generator=generator, dtype=torch.float64).tolist()
    counts = Counter(sample(scores, params, uniform) for uniform in uniforms)
    expected = (4000 * (scores.double() / temperature).softmax(0)).tolist()
    chi_square = sum((counts[i] - wanted) ** 2 / wanted for i, wanted in enumerate(expected))
    assert chi_square < 31.26  # 11 degrees of freedom, one in a thousand


# Hand-sized tables


def test_the_draw_walks_down_the_sorted_probabilities() -> None:
    scores = log(0.2, 0.5, 0.3)
    table = {0.0: 1, 0.49: 1, 0.51: 2, 0.79: 2, 0.81: 0, 0.99: 0}
    assert {uniform: sample(scores, SamplingParams(), uniform) for uniform in table} == table


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 9}, [1, 2, 0, 3]),
        ({"top_p": 0.39}, [1]),
        ({"top_p": 0.41}, [1, 2]),
        ({"top_p": 0.69}, [1, 2]),
        ({"top_p": 0.71}, [1, 2, 0]),
        ({"top_p": 1.0}, [1, 2, 0, 3]),
        ({"min_p": 1.0}, [1]),
        ({"min_p": 0.8}, [1]),
        ({"min_p": 0.7}, [1, 2]),
        ({"min_p": 0.4}, [1, 2, 0]),
        ({"min_p": 0.2}, [1, 2, 0, 3]),
        # top-p counts in what top-k left: 0.4 is more than half of 0.4 + 0.3
        ({"top_k": 2, "top_p": 0.55}, [1]),
        # and min-p in what the temperature made: (0.3 / 0.4) squared is 0.5625
        ({"temperature": 0.5, "min_p": 0.57}, [1]),
        ({"temperature": 0.5, "min_p": 0.55}, [1, 2]),
        ({"temperature": 0.5, "top_p": 0.5}, [1]),
        ({"top_p": 0.71, "min_p": 0.7}, [1, 2]),
    ],
    ids=str,
)
def test_what_truncation_keeps(wanted: dict[str, float], kept: list[int]) -> None:
    assert reachable(log(0.2, 0.4, 0.3, 0.1), **wanted) == kept


def test_top_k_breaks_ties_by_index() -> None:
    assert reachable(torch.zeros(100), top_k=3) == [0, 1, 2]


@pytest.mark.parametrize("bad", [[-math.inf, -math.inf], [0.0, math.nan], [0.0, math.inf]])
@pytest.mark.parametrize("params", [GREEDY, SamplingParams()], ids=["greedy", "drawing"])
def test_scores_that_give_no_distribution_are_known(
    bad: list[float], params: SamplingParams
) -> None:
    assert not drawn(torch.tensor(bad), params, 0.5, HEAD).is_possible
    assert drawn(torch.tensor([0.0, -math.inf]), params, 0.5, HEAD).is_possible


# Penalties

IDS = torch.tensor([10, 11, 12, 13])


def test_what_repeats_nothing_is_left_as_it_is() -> None:
    scores = random_scores(0, 4)
    params = SamplingParams(presence_penalty=1.0, repetition_penalty=2.0)
    assert torch.equal(penalized_by(scores, IDS, {99}, params), scores)


def test_the_presence_penalty_is_subtracted_from_what_was_seen() -> None:
    params = SamplingParams(presence_penalty=1.5)
    scores = random_scores(0, 4)
    change = penalized_by(scores, IDS, [11, 13, 13, 99], params) - scores
    expected = torch.tensor([0.0, 1.5, 0.0, 1.5])
    torch.testing.assert_close(change[0] - change, expected)


def test_the_repetition_penalty_divides_above_the_uniform_probability_and_multiplies_below() -> (
    None
):
    penalized = penalized_by(
        log(0.5, 0.125, 0.25, 0.125), IDS, {10, 11}, SamplingParams(repetition_penalty=2.0)
    )
    expected = [math.log(2.0) / 2.0, -math.log(2.0) * 2.0, 0.0, -math.log(2.0)]
    assert penalized.tolist() == pytest.approx(expected, abs=1e-6)


@examples
@given(seeds, st.floats(1.0, 5.0), st.floats(0.0, 5.0), st.floats(-30.0, 30.0))
def test_penalties_make_what_was_seen_less_likely_whatever_the_scores_constant(
    seed: int, repetition: float, presence: float, constant: float
) -> None:
    params = SamplingParams(repetition_penalty=repetition, presence_penalty=presence)
    scores = random_scores(seed, 4)
    penalized = penalized_by(scores, IDS, {12}, params).softmax(0)
    assert penalized[2] <= scores.softmax(0)[2] + 1e-6
    shifted = penalized_by(scores + constant, IDS, {12}, params).softmax(0)
    torch.testing.assert_close(shifted, penalized, rtol=0.0, atol=1e-4)


def test_part_of_a_vocabulary_is_penalized_like_the_whole() -> None:
    params = SamplingParams(repetition_penalty=1.3, presence_penalty=0.2)
    scores = random_scores(0, 100)
    scores[scores < 1.0] = -math.inf
    part = (scores > -math.inf).nonzero().flatten()
    seen = set(range(0, 100, 2))
    whole = penalized_by(scores, torch.arange(100), seen, params)
    torch.testing.assert_close(penalized_by(scores[part], part, seen, params, 100), whole[part])
    assert (whole[scores == -math.inf] == -math.inf).all()


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": "hot"},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": None},
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": -1.0},
        {"presence_penalty": math.inf},
        {"top_k": 0},
        {"top_k": 1.5},
        {"top_k": True},
        {"seed": -1},
        {"seed": "lucky"},
        {"top_logprobs": -1},
    ],
    ids=str,
)
def test_values_outside_their_range_are_refused_with_rule_value_and_remedy(
    wrong: dict[str, Any],
) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigurationError) as refusal:
        SamplingParams(**wrong)
    message = str(refusal.value)
    assert message.startswith(f"{name} must be ") and f"not {value!r}: " in message


def test_small_questions_have_answers() -> None:
    assert GREEDY.is_greedy and not SamplingParams().is_greedy
    assert SamplingParams(presence_penalty=0.1).penalizes and not SamplingParams().penalizes


@pytest.mark.parametrize("count", [1001, 10**30])
def test_more_alternatives_than_can_be_reported_are_refused(count: int) -> None:
    with pytest.raises(ConfigurationError, match=r"top_logprobs must .* at most 1000"):
        SamplingParams(top_logprobs=count)
