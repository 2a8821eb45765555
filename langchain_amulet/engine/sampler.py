"""The next token of every request of a step, from the log-probabilities of their streams.

All tokens are chosen by one program on the model's device, see `token_program`, of which the host
learns by one transfer. For few of them that isn't all: where a distribution is flat, more of the
vocabulary is looked through, for them alone.

Knows log-probabilities and what is to be chosen. Doesn't know requests, rows of a cache or the
model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import CandidateQuery
from langchain_amulet.engine.choices import Choice, ChoiceBatch, TokenDraw
from langchain_amulet.engine.request import Request, Token, Trace
from langchain_amulet.engine.token_program import (
    Outcome,
    Scope,
    StepLogprobs,
    report,
    run,
    suffices,
    survivors,
)
from langchain_amulet.engine.transfers import Arrival
from langchain_amulet.errors import GenerationError
from langchain_amulet.sampling import HEAD
from langchain_amulet.steering import Plan, combine

GROWTH = 16
"""How many times more candidates are sorted, whenever a draw depends on what lies beyond."""

Foresight = Callable[[Sequence[tuple[Tensor, Tensor]]], None]
"""What is told what was drawn before the host knows it."""

LENGTHENING = 4
"""Lists of one program differ in length by so many times at most."""

MOST_LISTED = 1024
"""Up to so many tokens that a grammar allows are looked at one by one, and nothing else is."""


def candidate_queries(plan: Plan, rows: Mapping[int, int]) -> list[CandidateQuery]:
    """The combinations of logits rows in which the next token will be sought.

    A masked plan chooses among what its reference finds plausible, stream by stream; any other
    from the combined score. Where another model reads a part of either, each row is sought by
    itself.

    Args:
        plan: How the streams are combined.
        rows: Where streams are in the pass, by their index.
    """
    if plan.mask is not None or not plan.contrasts:
        sought = [[(stream, 1.0)] for stream, _ in plan.reference]
    else:
        weights = dict.fromkeys(range(len(plan.streams)), 0.0)
        weights[plan.anchor] += 1.0
        for contrast in plan.contrasts:
            weights[contrast.plus] += contrast.weight
            weights[contrast.minus] -= contrast.weight
        sought = [list(weights.items())]
    if all(stream in rows for query in sought for stream, _ in query):
        return [tuple((rows[stream], weight) for stream, weight in query) for query in sought]
    return [((row, 1.0),) for row in rows.values()]


class Sampler:
    """Chooses the tokens of one step after the other, and remembers how the last ones were chosen.

    So what is the same at each step, as long as nobody joins or leaves, is put on the device once.

    Args:
        foresee: Told what was drawn before the host knows it, see ``Backend.foresee``.
    """

    def __init__(self, foresee: Foresight = lambda drawn: None) -> None:
        """Start without any."""
        self._batches: dict[Hashable, ChoiceBatch] = {}
        self._foresee = foresee

    def draw(self, step: StepLogprobs, draws: Sequence[TokenDraw]) -> list[Token | BaseException]:
        """Choose tokens, or say what went wrong with them.

        Args:
            step: What they are chosen from.
            draws: How.

        Returns:
            For each, a token; or else a `GenerationError` if one of its streams is no distribution
            or nothing is left to choose, or whatever was raised by a plan's own code. An error that
            several have in common failed them together, such as want of memory.
        """
        found: dict[int, Token | BaseException] = {}
        scopes: dict[int, Scope] = {}
        for index, draw in enumerate(draws):
            try:
                scopes[index] = _first_scope(draw, step)
            except BaseException as error:  # a mask's own code can raise anything
                found[index] = error
        held, self._batches = self._batches, {}
        foresee = self._foresee
        while scopes:
            outcomes = self._outcomes(step, draws, scopes, held, foresee)
            scopes, foresee, flat = {}, lambda drawn: None, []
            for index, (scope, outcome) in outcomes.items():
                result = _result(draws[index], scope, outcome)
                if result is None:
                    flat.append(index)
                elif isinstance(result, Scope):
                    scopes[index] = result
                else:
                    found[index] = result
            scopes |= _beyond(step, draws, flat, found)
        return [found[index] for index in range(len(draws))]

    def _outcomes(
        self,
        step: StepLogprobs,
        draws: Sequence[TokenDraw],
        scopes: Mapping[int, Scope],
        held: Mapping[Hashable, ChoiceBatch],
        foresee: Foresight,
    ) -> dict[int, tuple[Scope, Outcome | BaseException]]:
        """What came of each token, in as few programs as can be, and by one transfer."""
        found: dict[int, tuple[Scope, Outcome | BaseException]] = {}
        computed: list[tuple[list[int], Tensor]] = []
        drawn: list[tuple[Tensor, Tensor]] = []
        for kind, group in _groups(draws, scopes).items():
            some = [draws[index] for index in group]
            try:
                batch = self._batch(kind, tuple(draw.choice for draw in some), step, held)
                numbers = run(step, batch, some, [scopes[index] for index in group])
            except BaseException as error:  # such as those of a utility of the user's own
                found |= {index: (scopes[index], error) for index in group}
            else:
                computed.append((group, numbers))
                drawn.append((batch.rows, numbers[:, 0]))
        if not computed:
            return found
        arrival = Arrival(torch.cat([numbers.flatten() for _, numbers in computed]))
        foresee(drawn)
        arrived = iter(arrival.tolist())
        for group, numbers in computed:
            for index in group:
                row = list(islice(arrived, numbers.shape[1]))
                found[index] = scopes[index], Outcome.read(row)
        return found

    def _batch(
        self,
        kind: Hashable,
        choices: tuple[Choice, ...],
        step: StepLogprobs,
        held: Mapping[Hashable, ChoiceBatch],
    ) -> ChoiceBatch:
        batch = held.get(kind)
        if batch is None or batch.choices != choices:
            batch = ChoiceBatch.of(choices, step.pool.device)
        self._batches[kind] = batch
        return batch


def describe(request: Request, logprobs: Tensor, token: int) -> Token:
    """What a sampler would say of a token that was chosen otherwise, without penalties.

    Args:
        request: Whose token it is.
        logprobs: Normalised log-probabilities of its streams, ``[streams, vocabulary]``.
        token: Its id.
    """
    choice = Choice(request.plan, request.sampling, request.trace, tuple(range(len(logprobs))))
    batch = ChoiceBatch.of([choice], logprobs.device)
    steered = combine(logprobs, batch.plans)
    place = torch.tensor([[token]], device=logprobs.device)
    truth = torch.ones(1, device=logprobs.device)
    numbers = report(logprobs, batch, steered, steered.scores, None, place, truth, truth)
    return _token(choice, Outcome.read(numbers[0].tolist()))


def _groups(draws: Sequence[TokenDraw], scopes: Mapping[int, Scope]) -> dict[Hashable, list[int]]:
    """Those that one program can do, by what they have in common."""
    groups: dict[Hashable, list[int]] = {}
    for index, scope in scopes.items():
        plan = draws[index].choice.plan
        has_candidates = bool(draws[index].choice.candidates)
        kind = (scope.is_narrow, scope.width, has_candidates, plan.is_plain)
        # What a plan's own code raises, or how long it takes, is nobody else's business.
        groups.setdefault(kind if plan.is_batched else index, []).append(index)
    return groups


def _first_scope(draw: TokenDraw, step: StepLogprobs) -> Scope:
    """Where a token is sought at first."""
    if draw.allowed is not None:
        _check_allowed(draw.allowed, step.pool.shape[1])
        mask = draw.allowed.numpy()
        count = np.count_nonzero(mask)
        if count == 0:
            raise GenerationError(_NOTHING_ALLOWED)
        if count <= MOST_LISTED:
            return _listed(torch.from_numpy(np.setdiff1d(np.flatnonzero(mask), [*draw.barred])))
    if draw.choice.candidates and step.candidates is not None:
        # A utility of the user's own isn't asked to no purpose: what it is asked of comes first.
        if draw.choice.plan.is_batched or suffices(step, draw):
            return Scope("shortlist")
        return _listed(*survivors(step, [draw]))
    return Scope("everywhere", width=_width(draw))


def _width(draw: TokenDraw) -> int:
    """How many of the best are sorted at first: enough for a top-k, unless that is unusual."""
    top_k = draw.choice.sampling.top_k or 0
    return HEAD if top_k <= HEAD else HEAD * GROWTH


def _listed(ids: Tensor) -> Scope:
    """A list, together with others of about its length: they are padded to the longest."""
    if not len(ids):
        raise GenerationError(_NOTHING_LEFT)
    width = HEAD
    while width < len(ids):
        width *= LENGTHENING
    return Scope("list", ids, width)


def _beyond(
    step: StepLogprobs,
    draws: Sequence[TokenDraw],
    flat: Sequence[int],
    found: dict[int, Token | BaseException],
) -> dict[int, Scope]:
    """Where tokens are sought of which more can pass the mask than the candidates."""
    groups: dict[int | None, list[int]] = {}
    for index in flat:
        groups.setdefault(None if draws[index].choice.plan.is_batched else index, []).append(index)
    scopes: dict[int, Scope] = {}
    for group in groups.values():
        try:
            listed = survivors(step, [draws[index] for index in group])
        except BaseException as error:  # a mask's own code can raise anything
            found |= dict.fromkeys(group, error)
            continue
        for index, ids in zip(group, listed, strict=True):
            try:
                scopes[index] = _listed(ids)
            except GenerationError as error:
                found[index] = error
    return scopes


def _check_allowed(allowed: Tensor, vocabulary: int) -> None:
    if allowed.shape != (vocabulary,) or allowed.dtype != torch.bool:
        raise GenerationError(
            f"A constraint's mask must be bool of shape [{vocabulary}], the logits' width, but is "
            f"{allowed.dtype} of shape {list(allowed.shape)}. Pad it with False."
        )


def _result(
    draw: TokenDraw, scope: Scope, outcome: Outcome | BaseException
) -> Token | Scope | BaseException | None:
    """The token, or where it is sought next, or what is wrong with it; None if it is `_beyond`."""
    if isinstance(outcome, BaseException):
        return outcome
    if not outcome.is_sound:
        return GenerationError(_NO_DISTRIBUTION)
    if scope.kind == "shortlist" and not outcome.is_settled:
        return None
    if not outcome.is_possible:
        return GenerationError(_NOTHING_LEFT)
    if not outcome.is_settled:
        return replace(scope, width=scope.width * GROWTH)
    return _token(draw.choice, outcome)


def _token(choice: Choice, outcome: Outcome) -> Token:
    plan, trace = choice.plan, None
    if choice.is_traced:
        trace = Trace(
            base=None if plan.base is None else math.exp(outcome.base),
            pref=math.exp(outcome.pref),
            steered=math.exp(outcome.logprob),
        )
    return Token(
        id=int(outcome.id),
        logprob=outcome.logprob,
        top_logprobs=_alternatives(outcome, choice.sampling.top_logprobs or 0),
        kl=0.0 if plan.is_plain else outcome.kl,
        trace=trace,
        agreement=None if math.isnan(outcome.agreement) else outcome.agreement,
    )


def _alternatives(outcome: Outcome, count: int) -> tuple[tuple[int, float], ...]:
    half = len(outcome.alternatives) // 2
    pairs = zip(outcome.alternatives[:half], outcome.alternatives[half:], strict=True)
    return tuple((int(token), each) for token, each in islice(pairs, count) if each > -math.inf)


_NO_DISTRIBUTION = (
    "Each step needs finite logits, but the model gave NaN or infinity for this request. "
    "Try dtype='float32', and check the weights if that doesn't help."
)
_NOTHING_ALLOWED = (
    "A constraint must allow at least one token, but allows none. Let it allow a stop token where "
    "the answer may end."
)
_NOTHING_LEFT = (
    "A token can be drawn only where one at least is possible, but none is: check the model's "
    "logits and the call's constraint."
)
