"""One token's draw: the candidates give what the whole vocabulary gives, whatever the mask."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.engine import Request, Token
from langchain_amulet.engine import sampler as module
from langchain_amulet.methods import PAD, Amulet, Guidance, LinearAlignment, Method
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plausibility, TopK, TopP
from support.draws import next_token

examples = settings(max_examples=60, deadline=None, derandomize=True, database=None)
VOCABULARY, WIDTH = 500, 64
MASKS = [Plausibility(0.1), Plausibility(0.9), TopP(0.8), TopP(0.3), TopK(1), TopK(10)]
SAMPLING = SamplingParams(top_logprobs=VOCABULARY)


class Allows:
    """A constraint that allows every third token."""

    def allowed(self) -> Tensor:
        return torch.arange(VOCABULARY) % 3 == 0

    def accept(self, token: int) -> None: ...


def request_for(method: Method, count: int, **more: object) -> Request:
    plan = method.plan([Guidance()] * count)
    prompts = ((1,),) * len(plan.streams)
    return Request(prompts, plan, SAMPLING, 1, **more)  # type: ignore[arg-type]


def rows(seed: int, streams: int, peakedness: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(1, VOCABULARY, generator=generator)
    own = torch.randn(streams, VOCABULARY, generator=generator)
    return (peakedness * (common + 0.3 * own)).log_softmax(-1)


def candidates_of(request: Request, logprobs: Tensor) -> Tensor:
    references = [stream for stream, _ in request.plan.reference]
    return logprobs[references].topk(WIDTH).indices


def assert_same(found: Token, expected: Token) -> None:
    assert found.id == expected.id
    assert found.kl == pytest.approx(expected.kl, abs=1e-5)
    probabilities = [dict(token.top_logprobs) for token in (found, expected)]
    assert probabilities[0].keys() == probabilities[1].keys()
    for token, logprob in probabilities[0].items():
        assert logprob == pytest.approx(probabilities[1][token], abs=1e-5)


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("constraint", [None, Allows()], ids=["free", "constrained"])
@examples
@given(seed=st.integers(0, 2**31), peakedness=st.floats(0.5, 4.0), uniform=st.floats(0.0, 0.999))
def test_the_candidates_give_what_the_whole_vocabulary_gives(
    mask: object, count: int, constraint: object, seed: int, peakedness: float, uniform: float
) -> None:
    request = request_for(Amulet.paper(), count, constraint=constraint)
    request = replace(request, plan=replace(request.plan, mask=mask))
    logprobs = rows(seed, len(request.prompts), peakedness)
    whole = next_token(request, logprobs, None, (), uniform)
    assert_same(next_token(request, logprobs, candidates_of(request, logprobs), (), uniform), whole)


@pytest.mark.parametrize("mask", MASKS, ids=str)
@examples
@given(seed=st.integers(0, 2**31), peakedness=st.floats(0.1, 4.0))
def test_the_candidates_may_hold_tokens_that_turned_out_impossible(
    mask: object, seed: int, peakedness: float
) -> None:
    """As where another model doesn't have them: the others it holds are fewer then."""
    request = request_for(Amulet.paper(), 1)
    request = replace(request, plan=replace(request.plan, mask=mask))
    logprobs = rows(seed, 2, peakedness)
    logprobs[:, -WIDTH // 2 :] += 20.0
    candidates = candidates_of(request, logprobs)
    logprobs[:, -WIDTH // 2 :] = -math.inf
    logprobs = logprobs.log_softmax(-1)
    whole = next_token(request, logprobs, None, (), 0.5)
    assert_same(next_token(request, logprobs, candidates, (), 0.5), whole)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_a_peaked_distribution_is_not_looked_through_as_a_whole(
    mask: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(Amulet.paper(), 1)
    request = replace(request, plan=replace(request.plan, mask=mask))
    logprobs = rows(0, 2, 4.0)
    monkeypatch.delattr(module, "survivors")
    assert next_token(request, logprobs, candidates_of(request, logprobs), (), 0.5)


def test_a_mask_leaves_the_best_tokens_of_its_reference() -> None:
    logprobs = rows(0, 2, 1.0)
    order = logprobs[0].argsort(descending=True).tolist()

    def kept(method: Method) -> set[int]:
        token = next_token(request_for(method, 1), logprobs, None, (), 0.5)
        return {index for index, _ in token.top_logprobs}

    nucleus = int((logprobs[0].sort(descending=True).values.exp().cumsum(0) < 0.8).sum()) + 1
    assert kept(LinearAlignment.original()) == set(order[:nucleus])
    base = logprobs[1].argsort(descending=True).tolist()
    assert kept(PAD("rm")) == set(base[:10])


def test_tokens_that_tie_with_the_last_one_kept_are_kept_too() -> None:
    logprobs = torch.tensor([0.2, 0.3, 0.2, 0.2, 0.1]).log()
    for mask, tied in ((TopK(2), 4), (TopP(0.4), 4), (TopK(1), 1), (TopK(9), 5), (TopP(0.99), 5)):
        assert int((logprobs >= mask.floor(logprobs)).sum()) == tied


def test_under_a_grammar_the_nucleus_is_made_of_what_it_allows() -> None:
    request = request_for(LinearAlignment.original(), 1, constraint=Allows())
    token = next_token(request, rows(0, 2, 1.0), None, (), 0.5)
    allowed = [index for index, _ in token.top_logprobs]
    assert all(index % 3 == 0 for index in allowed)
    # what it allows holds less than the nucleus' mass, so all of it stays
    assert len(allowed) == math.ceil(VOCABULARY / 3)
