"""Parts of an answer that aren't steered: where they begin, where they end, and that they begin
as often as if nothing were steered."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from langchain_amulet.engine import Pause, Request, Token
from langchain_amulet.engine.ensemble_slot import EnsembleSlot
from langchain_amulet.engine.ensemble_step import EnsembleStep, StreamRows
from langchain_amulet.engine.next_tokens import next_tokens
from langchain_amulet.engine.request_state import RequestState
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.token_program import StepLogprobs
from langchain_amulet.engine.token_stream import Channel
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams
from support.draws import next_token

OPEN, CLOSE, OTHER = 3, 4, 5
GRID = 40


def test_a_pause_lasts_from_its_opening_to_its_closing() -> None:
    pause = Pause(frozenset({OPEN}), CLOSE)
    covered = [
        pause.covers(tokens)
        for tokens in ((), (OTHER,), (OPEN,), (OPEN, OTHER), (OPEN, CLOSE), (OPEN, CLOSE, OPEN))
    ]
    assert covered == [False, False, True, True, False, True]


def test_a_pause_may_cover_the_start_or_last_to_the_end() -> None:
    assert Pause(closing=CLOSE, from_start=True).covers((OTHER,))
    assert not Pause(closing=CLOSE, from_start=True).covers((OTHER, CLOSE))
    assert Pause(frozenset({OPEN})).covers((OPEN, CLOSE, OTHER))


def test_a_pause_that_only_the_first_token_can_begin_has_no_gate_later() -> None:
    pause = Pause(frozenset({OPEN}), first_only=True)
    assert pause.begins(()) == {OPEN}
    assert pause.begins((OTHER,)) == frozenset()
    assert pause.covers((OPEN, OTHER))
    assert not pause.covers((OTHER, OPEN))


def steered_request(**sampling: float) -> tuple[Request, Tensor]:
    """A preference that makes the opening far less likely, as steering then does all the more."""
    plan = Amulet(plausibility=0.01).plan([Guidance()])
    pauses = (Pause(frozenset({OPEN})),)
    request = Request(((1,), (1,)), plan, SamplingParams(**sampling), 9, pauses=pauses)
    probabilities = torch.full((2, 8), 0.02)
    probabilities[0, [OPEN, CLOSE, OTHER]] = torch.tensor([0.4, 0.2, 0.3])
    probabilities[1, [OPEN, CLOSE, OTHER]] = torch.tensor([0.8, 0.01, 0.1])
    return request, (probabilities / probabilities.sum(1, keepdim=True)).log()


class Loaded(RequestState):
    """A request whose random numbers are known."""

    numbers: Iterator[float]

    def _uniform(self) -> float:
        return next(self.numbers)


def at_gate(request: Request, logprobs: Tensor, pairs: Iterable[tuple[float, float]]) -> list[int]:
    """What as many requests of a kind are given, with so different luck."""
    states: dict[EnsembleSlot, RequestState] = {}
    for pair in pairs:
        state = Loaded(request, (), Channel(lambda: None))
        state.numbers = iter(pair)
        states[EnsembleSlot(())] = state
    streams = {slot: StreamRows((0, 1)) for slot in states}
    found = next_tokens(states, EnsembleStep(StepLogprobs(logprobs), streams), Sampler())
    return [token.id for token in found.values() if isinstance(token, Token)]


def test_a_pause_begins_as_often_as_without_steering() -> None:
    request, logprobs = steered_request()
    places = [(i + 0.5) / GRID for i in range(GRID)]
    drawn = at_gate(request, logprobs, itertools.product(places, places))
    share = drawn.count(OPEN) / len(drawn)
    assert share == pytest.approx(float(logprobs[0, OPEN].exp()), abs=1 / GRID)
    # With steering alone it hardly ever would.
    steered = [next_token(request, logprobs, None, (), place).id for place in places]
    assert OPEN not in steered


def test_what_begins_no_pause_is_steered() -> None:
    request, logprobs = steered_request()
    places = [(i + 0.5) / GRID for i in range(GRID)]
    past_the_gate = at_gate(request, logprobs, ((0.999, place) for place in places))
    others = logprobs.clone()
    others[:, OPEN] = -torch.inf
    assert past_the_gate == [next_token(request, others, None, (), place).id for place in places]
    assert set(past_the_gate) != {OTHER}  # the likeliest without steering


def test_greedily_the_plain_prompt_decides() -> None:
    request, logprobs = steered_request(temperature=0.0)
    assert at_gate(request, logprobs, [(0.5, 0.5)]) == [OPEN]
    logprobs[0, OPEN] = -2.0
    assert at_gate(request, logprobs, [(0.5, 0.5)]) == [CLOSE]  # which steering prefers


def test_a_grammar_that_only_lets_a_pause_begin_is_kept_to() -> None:
    class OnlyOpening:
        def allowed(self) -> Tensor:
            return torch.arange(8) == OPEN

        def accept(self, token: int) -> bool:
            return True

    request, logprobs = steered_request()
    request = replace(request, constraint=OnlyOpening())
    assert at_gate(request, logprobs, [(0.999, 0.999)]) == [OPEN]
