"""One program for all tokens of a step: each as if alone, and nothing in it waits for a device."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from langchain_amulet.engine import Request, Token
from langchain_amulet.engine import sampler as module
from langchain_amulet.engine.choices import ChoiceBatch, TokenDraw
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.token_program import Outcome, Scope, StepLogprobs, run
from langchain_amulet.errors import GenerationError
from langchain_amulet.methods import Amulet, ContextSteering, Guidance, Iterated, Pref
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan, PlanBatch, TopK, TopP, amulet_utility, combine, steer
from support.draws import token_draw

VOCABULARY, WIDTH = 3000, 64
AMULET = Amulet().plan([Guidance()])
PLANS = {
    "amulet": AMULET,
    "without a mask": replace(AMULET, mask=None),
    "nucleus": replace(AMULET, mask=TopP(0.9)),
    "ten best": replace(AMULET, mask=TopK(10)),
    "capped": replace(AMULET, kl_cap=0.1),
    "capped without a mask": replace(AMULET, mask=None, kl_cap=0.2),
    "two wishes": ContextSteering().plan([Guidance(), Guidance(strength=0.5)]),
    "three wishes": ContextSteering().plan([Guidance()] * 3),
    "a utility": Iterated(amulet_utility).plan([Guidance()]),
    "unsteered": Pref().plan([Guidance()]),
}
SAMPLINGS = (
    SamplingParams(),
    SamplingParams(temperature=0.0),
    SamplingParams(temperature=0.7, top_k=50, top_p=0.9, top_logprobs=3),
    SamplingParams(temperature=1.5, top_p=0.99),
    SamplingParams(min_p=0.02, repetition_penalty=1.3, presence_penalty=0.4),
    SamplingParams(top_k=500, top_logprobs=1),
)


class EveryThird:
    """A constraint."""

    def allowed(self) -> Tensor:
        return torch.arange(VOCABULARY) % 3 == 0

    def accept(self, token: int) -> bool:
        return True


def a_step(
    plans: Sequence[Plan], peakedness: float, **more: Any
) -> tuple[StepLogprobs, list[TokenDraw]]:
    """A request with each plan and sampling, and the streams and candidates of all of them."""
    generator = torch.Generator().manual_seed(0)
    pool, candidates, draws = list[Tensor](), list[Tensor](), list[TokenDraw]()
    for number, (plan, sampling) in enumerate(itertools.product(plans, SAMPLINGS)):
        streams = len(plan.streams)
        request = Request(((1,),) * streams, plan, sampling, 1, trace=number % 2 == 0, **more)
        common = torch.randn(1, VOCABULARY, generator=generator)
        own = torch.randn(streams, VOCABULARY, generator=generator)
        rows = (peakedness * (common + 0.3 * own)).log_softmax(-1)
        best = rows[[stream for stream, _ in plan.reference]].topk(WIDTH).indices
        seen = tuple(best[0, :3].tolist())
        draw = token_draw(request, (number * 0.37) % 1.0, best, seen, sum(map(len, pool)))
        places = range(sum(map(len, candidates)), sum(map(len, candidates)) + len(best))
        known = tuple(places) if draw.choice.candidates else ()
        draws.append(replace(draw, choice=replace(draw.choice, candidates=known)))
        pool.append(rows)
        candidates.append(best)
    return StepLogprobs(torch.cat(pool), torch.cat(candidates)), draws


def assert_same(found: Token | BaseException, expected: Token | BaseException) -> None:
    assert isinstance(found, Token) and isinstance(expected, Token)
    assert found.id == expected.id
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-5)
    assert found.kl == pytest.approx(expected.kl, abs=1e-5)
    assert found.agreement == pytest.approx(expected.agreement, abs=1e-5)
    traces = [token.trace and astuple(token.trace) for token in (found, expected)]
    assert traces[0] == (traces[1] and pytest.approx(traces[1], abs=1e-5))
    assert [token for token, _ in found.top_logprobs] == [t for t, _ in expected.top_logprobs]


@pytest.mark.parametrize("peakedness", [0.7, 3.0], ids=["flat", "peaked"])
@pytest.mark.parametrize("constraint", [None, EveryThird()], ids=["free", "constrained"])
def test_each_token_is_the_one_that_its_request_would_get_alone(
    peakedness: float, constraint: Any
) -> None:
    step, draws = a_step(list(PLANS.values()), peakedness, constraint=constraint)
    sampler = Sampler()
    together = sampler.draw(step, draws)
    for draw, found in zip(draws, together, strict=True):
        assert_same(found, Sampler().draw(step, [draw])[0])
    for found, again in zip(sampler.draw(step, draws), together, strict=True):
        assert_same(found, again)


def test_neither_the_order_nor_who_left_changes_a_token() -> None:
    step, draws = a_step(list(PLANS.values()), 1.5)
    sampler = Sampler()
    expected = sampler.draw(step, draws)
    some = list(range(len(draws)))[::-3]
    for found, index in zip(sampler.draw(step, [draws[i] for i in some]), some, strict=True):
        assert_same(found, expected[index])


@pytest.mark.parametrize("name", [name for name in PLANS if name != "a utility"])
def test_steering_together_is_steering_one_by_one(name: str) -> None:
    """With each other plan in the same batch, whatever it has more or less of."""
    plans = [PLANS[name], *(plan for plan in PLANS.values() if plan.is_batched), PLANS[name]]
    step, draws = a_step(plans, 1.0)
    batch = PlanBatch.of([draw.choice.plan for draw in draws], [draw.choice.rows for draw in draws])
    together = combine(step.pool, batch)
    for index, draw in enumerate(draws):
        alone = steer(step.pool[list(draw.choice.rows)], draw.choice.plan)
        torch.testing.assert_close(together.scores[index], alone.scores, rtol=0, atol=1e-5)
        assert torch.equal(together.reference[index], alone.reference)


class Recorder(TorchDispatchMode):
    """Counts operators."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "_unique2", "equal")
"""Operators whose result, or the size of it, has to be known before the program goes on."""


@pytest.mark.parametrize("kind", ["shortlist", "everywhere"])
def test_nothing_in_a_program_waits_for_the_device(kind: Any) -> None:
    plans = [
        plan
        for plan in PLANS.values()
        if plan.is_batched and bool(plan.mask) == (kind == "shortlist")
    ]
    step, draws = a_step(plans, 2.0)
    batch = ChoiceBatch.of([draw.choice for draw in draws], step.pool.device)
    with Recorder() as recorder:
        run(step, batch, draws, [Scope(kind)] * len(draws))
    assert not {name: recorder.counts[name] for name in WAITING if recorder.counts[name]}


def test_a_program_has_as_many_operators_for_many_requests_as_for_one() -> None:
    def operators(count: int) -> int:
        step, draws = a_step([AMULET] * count, 2.0)
        draws = [draw for draw in draws if draw.choice.sampling == SAMPLINGS[0]]
        batch = ChoiceBatch.of([draw.choice for draw in draws], step.pool.device)
        with Recorder() as recorder:
            run(step, batch, draws, [Scope("shortlist")] * len(draws))
        return sum(recorder.counts.values())

    assert operators(1) == operators(40)


def allowing(*ranges: range) -> list[Tensor | None]:
    """For each range, that nothing outside of it may be drawn; and first that anything may."""
    masks: list[Tensor | None] = [None]
    for each in ranges:
        mask = torch.zeros(VOCABULARY, dtype=torch.bool)
        mask[list(each)] = True
        masks.append(mask)
    return masks


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """How many tokens were asked for at each call of a function of the sampler's."""
    calls, plain = list[int](), getattr(module, name)

    def noted(*args: Any) -> Any:
        calls.append(len(args[-1]))
        return plain(*args)

    monkeypatch.setattr(module, name, noted)
    return calls


def test_whoever_a_grammar_leaves_few_or_many_tokens_shares_the_program_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks = allowing(range(1), range(7, 60), range(0, 3000, 70), range(5, 2990), range(3000))
    step, draws = a_step([AMULET] * len(masks), 4.0)
    size = len(SAMPLINGS)
    draws = [replace(draw, allowed=masks[index // size]) for index, draw in enumerate(draws)]
    programs = counted(monkeypatch, "run")
    together = Sampler().draw(step, draws)
    assert programs[0] == len(draws)
    for draw, found in zip(draws, together, strict=True):
        assert_same(found, Sampler().draw(step, [draw])[0])
        assert isinstance(found, Token) and (draw.allowed is None or draw.allowed[found.id])


def test_what_the_candidates_do_not_settle_is_looked_for_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks = allowing(range(1500), range(1000, 3000), range(10))
    step, draws = a_step([AMULET, replace(AMULET, mask=TopP(0.9))] * 2, 0.3)
    size = len(SAMPLINGS)
    draws = [replace(draw, allowed=masks[index // size]) for index, draw in enumerate(draws)]
    looks = counted(monkeypatch, "survivors")
    together = Sampler().draw(step, draws)
    assert len(looks) == 1 and looks[0] >= size
    for draw, found in zip(draws, together, strict=True):
        assert_same(found, Sampler().draw(step, [draw])[0])


def test_what_is_on_the_device_is_made_anew_only_when_somebody_joins_or_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Counter[int]()

    class Counted(ChoiceBatch):
        @classmethod
        def of(cls, choices: Any, device: Any) -> ChoiceBatch:
            made[len(choices)] += 1
            return ChoiceBatch.of(choices, device)

    monkeypatch.setattr(module, "ChoiceBatch", Counted)
    step, draws = a_step([AMULET] * 2, 4.0)
    sampler = Sampler()
    for _ in range(3):
        sampler.draw(step, draws)
    assert made == {len(draws): 1}
    sampler.draw(step, draws[1:])
    sampler.draw(step, draws[1:])
    assert made == {len(draws): 1, len(draws) - 1: 1}


def test_what_fails_one_request_fails_no_other() -> None:
    def no_utility(policy: Tensor, base: Tensor) -> Tensor:
        raise LookupError("its own")

    broken = Iterated(no_utility).plan([Guidance()])
    step, draws = a_step([AMULET, broken, AMULET], 2.0)
    step.pool[draws[0].choice.rows[1]] = torch.nan
    found = Sampler().draw(step, draws)
    size = len(SAMPLINGS)
    assert isinstance(found[0], GenerationError) and "NaN" in str(found[0])
    assert all(isinstance(each, LookupError) for each in found[size : 2 * size])
    assert all(isinstance(each, Token) for each in (*found[1:size], *found[2 * size :]))


def test_an_outcome_reads_its_alternatives_after_its_fields() -> None:
    outcome = Outcome.read([5, -0.1, 0.2, 0.3, -1, -2, 1, 1, 1, 5, 6, -0.1, -3])
    assert (outcome.id, outcome.is_sound) == (5, 1)
    assert list(outcome.alternatives) == [5, 6, -0.1, -3]
