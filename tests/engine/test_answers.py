"""What a request is answered: which tokens, what each says of itself, and under a constraint."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.errors import GenerationError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Plausibility, Stream
from support.draws import next_token
from support.tiny_engine import AMULET, PLAIN, VOCABULARY, ids_of, request_for


def test_a_seed_means_the_same_tokens_whatever_else_is_in_the_batch(engine: Engine) -> None:
    alone = [ids_of(engine, request_for(seed)) for seed in range(3)]
    together = [engine.submit(request_for(seed)) for seed in range(3)]
    assert [[token.id for token in answer] for answer in together] == alone
    assert alone[0] != alone[1]


def test_a_different_seed_means_different_tokens(engine: Engine) -> None:
    request = request_for(sampling=SamplingParams(seed=1, temperature=3.0), max_tokens=16)
    other = replace(request, sampling=SamplingParams(seed=2, temperature=3.0))
    assert ids_of(engine, request) != ids_of(engine, other)


def test_an_answer_ends_at_max_tokens_with_the_reason_length(engine: Engine) -> None:
    answer = engine.submit(request_for(max_tokens=5))
    assert answer.finish_reason is None
    assert len(list(answer)) == 5
    assert answer.finish_reason == "length"


def test_a_stop_token_ends_the_answer_and_is_not_emitted(engine: Engine) -> None:
    whole = ids_of(engine, request_for())
    answer = engine.submit(request_for(stop_ids=frozenset({whole[3]})))
    assert [token.id for token in answer] == whole[: whole.index(whole[3])]
    assert answer.finish_reason == "stop"


def test_a_common_prefix_is_prefilled_once(engine: Engine) -> None:
    request = request_for(length=30, max_tokens=1)
    ids_of(engine, request)
    first, second = request.prompts
    assert engine.stats().prefill_tokens == 30 + (len(first) - 31) + (len(second) - 31)


def test_one_token_prompts_need_no_prefill(engine: Engine) -> None:
    request = Request(((5,), (6,)), AMULET, SamplingParams(seed=0), 3)
    assert len(ids_of(engine, request)) == 3
    assert engine.stats().prefill_tokens == 0


def test_a_prompt_that_is_another_one_s_beginning_decodes_like_any_other(engine: Engine) -> None:
    prompts = ((5, 6, 7, 8), (5, 6))
    nested = Request(prompts, AMULET, SamplingParams(temperature=0), 6, trace=True)
    plain = Request(((5, 6),), PLAIN, SamplingParams(temperature=0), 1, trace=True)
    first = next(engine.submit(nested))
    alone = engine.submit(replace(plain, sampling=SamplingParams(top_logprobs=VOCABULARY)))
    base = dict(next(alone).top_logprobs)
    assert first.trace is not None and first.trace.base is not None
    assert first.trace.base == pytest.approx(math.exp(base[first.id]), abs=1e-5)


def test_several_preferences_mix_into_one_reference(engine: Engine) -> None:
    plan = Plan(
        streams=(Stream((0,)), Stream((1,)), Stream()),
        anchor=2,
        contrasts=(Contrast(1.0, 0, 2), Contrast(1.0, 1, 2)),
        reference=((0, 0.5), (1, 0.5)),
        mask=Plausibility(0.1),
    )
    request = Request(((3, 4, 5), (3, 4, 6), (3, 4)), plan, SamplingParams(seed=0), 4, trace=True)
    for token in engine.submit(request):
        assert token.trace is not None and 0 < token.trace.pref <= 1


def test_tokens_say_how_far_several_preferences_agree(engine: Engine) -> None:
    contrasts = (Contrast(1.0, 0, 2), Contrast(1.0, 1, 2))
    plan = Plan(
        streams=(Stream((0,)), Stream((1,)), Stream()),
        anchor=2,
        contrasts=contrasts,
        reference=((2, 1.0),),
    )
    prompts, sampling = ((3, 4, 5), (3, 4, 6), (3, 4)), SamplingParams(seed=0)
    for token in engine.submit(Request(prompts, plan, sampling, 4)):
        assert token.agreement is not None and -1.0 <= token.agreement <= 1.0
    same = Request((prompts[0], *prompts[::2]), plan, sampling, 4)
    assert all(t.agreement == pytest.approx(1.0, abs=1e-4) for t in engine.submit(same))
    assert all(token.agreement is None for token in engine.submit(request_for()))


# --- What a token says ---


def test_trace_is_the_chosen_token_s_probability_before_and_after(engine: Engine) -> None:
    for token in engine.submit(request_for(trace=True, max_tokens=6)):
        assert token.trace is not None
        assert token.trace.steered == pytest.approx(math.exp(token.logprob))
        assert token.trace.base is not None and 0 <= token.trace.base <= 1
        assert 0 < token.trace.pref <= 1


def test_trace_is_absent_unless_asked_for(engine: Engine) -> None:
    assert all(token.trace is None for token in engine.submit(request_for()))


def test_steering_moves_the_distribution_and_plain_decoding_does_not(engine: Engine) -> None:
    assert all(token.kl == 0.0 for token in engine.submit(request_for(plan=PLAIN)))
    assert sum(token.kl for token in engine.submit(request_for(max_tokens=6))) > 0.0


def test_top_logprobs_are_the_best_ones_in_order(engine: Engine) -> None:
    sampling = SamplingParams(seed=0, top_logprobs=4)
    for token in engine.submit(request_for(plan=PLAIN, sampling=sampling)):
        values = [value for _, value in token.top_logprobs]
        assert len(values) == 4 and values == sorted(values, reverse=True)
        assert token.logprob <= values[0] + 1e-6


def test_the_candidates_give_what_the_whole_vocabulary_gives(model: Any) -> None:
    wide = replace(
        AMULET, mask=Plausibility(1e-9)
    )  # nearly no mask, so the candidates never suffice
    narrow = replace(AMULET, mask=Plausibility(0.9))
    with Engine(HuggingFaceModel(model)) as engine:
        for plan in (wide, narrow):
            sampling = SamplingParams(temperature=0, top_logprobs=VOCABULARY)
            token = next(engine.submit(request_for(plan=plan, sampling=sampling)))
            total = sum(math.exp(value) for _, value in token.top_logprobs)
            assert total == pytest.approx(1.0, abs=1e-4)
            assert token.id == token.top_logprobs[0][0]


# --- Constraints ---


class Scripted:
    """A constraint that allows one token after another, then fails if asked again."""

    def __init__(self, *tokens: int) -> None:
        self.tokens, self.accepted = list(tokens), []

    def allowed(self) -> torch.Tensor:
        mask = torch.zeros(VOCABULARY, dtype=torch.bool)
        mask[self.tokens[len(self.accepted)]] = True
        return mask

    def accept(self, token: int) -> bool:
        self.accepted.append(token)
        return True


def test_a_constraint_decides_which_tokens_may_come(engine: Engine) -> None:
    constraint = Scripted(11, 12, 13)
    request = request_for(max_tokens=3, constraint=constraint)
    assert ids_of(engine, request) == [11, 12, 13] == constraint.accepted


def test_a_token_that_a_constraint_does_not_take_is_drawn_again(engine: Engine) -> None:
    class Odd:
        """Allows all tokens, and takes none that is even."""

        def __init__(self) -> None:
            self.mask = torch.ones(VOCABULARY, dtype=torch.bool)

        def allowed(self) -> torch.Tensor:
            return self.mask

        def accept(self, token: int) -> bool:
            self.mask[token] = False
            return token % 2 == 1

    ids, again = (ids_of(engine, request_for(constraint=Odd())) for _ in range(2))
    assert ids == again
    assert len(ids) == 8
    assert all(token % 2 for token in ids)


def test_a_constraint_that_raises_fails_only_its_own_request(engine: Engine) -> None:
    good = engine.submit(request_for(1))
    bad = engine.submit(request_for(2, constraint=Scripted(11)))
    assert next(bad).id == 11
    with pytest.raises(GenerationError, match="IndexError"):
        next(bad)
    assert [token.id for token in good] == ids_of(engine, request_for(1))


def test_a_constraint_of_the_wrong_width_is_named(engine: Engine) -> None:
    class Narrow(Scripted):
        def allowed(self) -> torch.Tensor:
            return torch.ones(3, dtype=torch.bool)

    with pytest.raises(GenerationError, match=r"shape \[128\]"):
        ids_of(engine, request_for(constraint=Narrow()))


def test_a_constraint_that_panics_fails_only_its_own_request(engine: Engine) -> None:
    class Panicking(Scripted):
        def allowed(self) -> torch.Tensor:
            raise SystemExit("not an Exception, as a panic in Rust isn't either")

    with pytest.raises(GenerationError, match="SystemExit"):
        ids_of(engine, request_for(2, constraint=Panicking()))
    assert len(ids_of(engine, request_for(1))) == 8


def test_a_constraint_holds_where_the_prompt_finds_all_it_allows_impossible() -> None:
    logprobs = torch.zeros(2, VOCABULARY)
    logprobs[:, 11] = -math.inf
    request = request_for(constraint=Scripted(11))
    with pytest.raises(GenerationError, match="constraint"):
        next_token(request, logprobs.log_softmax(-1), None, (), 0.5)
