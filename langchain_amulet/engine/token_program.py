"""What a step computes for its tokens: steer, mask, penalise, draw, and say what was done.

One program of tensor operations for all tokens together, in which nothing waits for the device. All
that the host wants to know of it is one tensor of numbers, a row for each token, which an `Outcome`
reads.

With a mask only few tokens can survive. So a program looks, for each token that is to be chosen, at
the candidates that the forward pass found or at a list of tokens, or else for all of them at the
whole vocabulary, see `Scope`; and says of each whether that was enough. What a grammar allows comes
to it as one bit per token of the vocabulary.

Knows tensors and choices. Doesn't know requests, models, or what is done if it wasn't enough.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langchain_amulet.engine.choices import ChoiceBatch, TokenDraw
from langchain_amulet.engine.transfers import sent, to_device
from langchain_amulet.sampling import HEAD, draw, penalize
from langchain_amulet.steering import Steered, agreement, combine, floors, kl, mixture

ROUNDING = 0.25
"""By how many nats a bf16 logit that is no candidate may be too low; a bf16 step at 64 is 0.25."""


@dataclass(frozen=True)
class StepLogprobs:
    """What all tokens of a step are chosen from.

    Attributes:
        pool: Normalised log-probabilities of the streams of all requests, ``[rows, vocabulary]``,
            float32.
        candidates: The best token ids of some of them, or of sums, ``[queries, k]``, if known.
    """

    pool: Tensor
    candidates: Tensor | None = None


@dataclass(frozen=True)
class Scope:
    """Where a token is sought.

    Attributes:
        kind: Among the candidates of its reference, in a list, or everywhere.
        ids: The list: token ids, rising, at least one; None otherwise.
        width: How many of the best are sorted at most; of a list about how long it is.
    """

    kind: Literal["shortlist", "list", "everywhere"]
    ids: Tensor | None = None
    width: int = HEAD

    @property
    def is_narrow(self) -> bool:
        """Whether it is a few columns and not all of them."""
        return self.kind != "everywhere"


class Outcome(NamedTuple):
    """What a program found out about one token; where numbers are truths, 1 is true.

    Attributes:
        id: The token.
        logprob: Its log-probability under the final distribution.
        kl: How far steering moved the distribution.
        agreement: How far the contrasts agree; NaN if that can't be said.
        base: Its log-probability in the plan's base stream.
        pref: The same in its reference.
        is_settled: Whether it is the token that the whole vocabulary gives.
        is_possible: Whether there was anything to draw.
        is_sound: Whether all its streams are distributions.
        alternatives: The ids of the likeliest tokens, best first, then their log-probabilities.
    """

    id: float
    logprob: float
    kl: float
    agreement: float
    base: float
    pref: float
    is_settled: float
    is_possible: float
    is_sound: float
    alternatives: Sequence[float]

    @classmethod
    def read(cls, numbers: Sequence[float]) -> Outcome:
        """From a row of a program's numbers."""
        fields = len(cls._fields) - 1
        return cls._make([*numbers[:fields], numbers[fields:]])


def run(
    step: StepLogprobs, batch: ChoiceBatch, draws: Sequence[TokenDraw], scopes: Sequence[Scope]
) -> Tensor:
    """Choose N tokens together.

    Args:
        step: What they are chosen from.
        batch: How.
        draws: This step's part of that.
        scopes: Where each is sought: all of them everywhere, or none of them.

    Returns:
        The numbers of each token, ``[N, fields]``, float64, on the device.
    """
    pool, vocabulary = step.pool, step.pool.shape[1]
    ids, allowed = _columns(step, batch, draws, scopes)
    steered = combine(pool, batch.plans, ids, allowed)
    scores = steered.scores
    if (repeated := _repeated(draws, ids, vocabulary, pool.device)) is not None:
        scores = penalize(scores, repeated, batch.sampling, vocabulary)
    uniforms = to_device([each.uniform for each in draws], torch.float64, pool.device)
    width = scopes[0].width if ids is None else ids.shape[1]
    drawn = draw(scores, batch.sampling, uniforms, width)
    is_settled = drawn.is_settled
    if any(scope.kind == "shortlist" for scope in scopes):
        is_settled = is_settled & (
            _are_listed(scopes, pool.device) | _is_bound(step, batch, steered.floor)
        )
    place = drawn.index[:, None]
    return report(pool, batch, steered, scores, ids, place, is_settled, drawn.is_possible)


def report(
    pool: Tensor,
    batch: ChoiceBatch,
    steered: Steered,
    scores: Tensor,
    ids: Tensor | None,
    place: Tensor,
    is_settled: Tensor,
    is_possible: Tensor,
) -> Tensor:
    """What is to be said of tokens, see `run`.

    Args:
        pool: What they were chosen from.
        batch: How.
        steered: What came of steering.
        scores: What they were drawn from, ``[N, columns]``.
        ids: Which tokens the columns are; None for all.
        place: The column of each, ``[N, 1]``.
        is_settled: See `Outcome`, bool ``[N]``.
        is_possible: Likewise.
    """
    final = scores.log_softmax(1)
    token = place if ids is None else ids.gather(1, place)
    reference = steered.reference
    moved = torch.zeros_like(place[:, 0]) if batch.plans.is_plain else kl(steered.scores, reference)
    found = (
        token[:, 0],
        final.gather(1, place)[:, 0],
        moved,
        agreement(pool, batch.plans, steered, ids),
        pool[batch.bases, token[:, 0]],
        reference.gather(1, place)[:, 0],
        is_settled,
        is_possible,
        # A distribution with one NaN is NaN everywhere, as it was normalised.
        ~pool[batch.rows, 0].isnan().any(1),
    )
    numbers = torch.stack([each.double() for each in found], dim=1)
    return torch.cat([numbers, *_alternatives(final, ids, batch.most_top_logprobs)], dim=1)


def suffices(step: StepLogprobs, draw: TokenDraw) -> bool:
    """Whether the candidates are all that can pass a plan's mask; waits for the device."""
    batch = ChoiceBatch.of([replace(draw.choice, plan=draw.choice.plan.masked)], step.pool.device)
    ids, allowed = _columns(step, batch, [draw], [Scope("shortlist")])
    return bool(_is_bound(step, batch, combine(step.pool, batch.plans, ids, allowed).floor))


def survivors(step: StepLogprobs, draws: Sequence[TokenDraw]) -> list[Tensor]:
    """All token ids that can pass each plan's mask, rising: for where references are flat.

    Waits for the device, once for all of them.
    """
    batch = ChoiceBatch.of([draw.choice for draw in draws], step.pool.device)
    _, allowed = _columns(step, batch, draws, [Scope("everywhere")] * len(draws))
    reference = mixture(step.pool, batch.plans)
    if allowed is not None:
        reference = reference.where(allowed, -math.inf)
    # A hair below the floor, so that ``combine`` draws the line and rounding here doesn't.
    floor = floors(reference, batch.plans)[:, None] - 1e-3
    rows, ids = ((reference > -math.inf) & (reference >= floor)).nonzero().cpu().unbind(1)
    return list(torch.split(ids, rows.bincount(minlength=len(draws)).tolist()))


def _columns(
    step: StepLogprobs, batch: ChoiceBatch, draws: Sequence[TokenDraw], scopes: Sequence[Scope]
) -> tuple[Tensor | None, Tensor | None]:
    """The columns to look at, and which of them count, ``[N, columns]``; None for all."""
    vocabulary = step.pool.shape[1]
    ids = _narrow(step, batch, scopes) if scopes[0].is_narrow else None
    allowed = _allowed(draws, scopes, ids, vocabulary, step.pool.device)
    if ids is None:
        return None, allowed
    counts = _is_new(ids)
    return ids, counts if allowed is None else counts & allowed


def _narrow(step: StepLogprobs, batch: ChoiceBatch, scopes: Sequence[Scope]) -> Tensor:
    """The candidates of each token or its list, rising; short ones repeat their last number."""
    device = step.pool.device
    lists = [scope.ids for scope in scopes if scope.ids is not None]
    found = _candidates(step, batch) if len(lists) < len(scopes) else None
    if not lists and found is not None:
        return found
    width = max(*map(len, lists), 0 if found is None else found.shape[1])
    nothing = torch.zeros(1, dtype=torch.int64)
    own = [nothing if scope.ids is None else scope.ids for scope in scopes]
    listed = sent(torch.stack([_stretched(ids, width) for ids in own]), device)
    if found is None:
        return listed
    return torch.where(_are_listed(scopes, device)[:, None], listed, _stretched(found, width))


def _candidates(step: StepLogprobs, batch: ChoiceBatch) -> Tensor:
    """What the forward pass found for each token, rising, ``[N, columns]``."""
    assert step.candidates is not None and batch.candidates is not None
    return step.candidates[batch.candidates].flatten(1).sort(1).values


def _stretched(ids: Tensor, width: int) -> Tensor:
    """Numbers ``[..., columns]`` with the last one again, up to a width."""
    return torch.cat([ids, ids[..., -1:].expand(*ids.shape[:-1], width - ids.shape[-1])], dim=-1)


def _are_listed(scopes: Sequence[Scope], device: torch.device) -> Tensor:
    """Which are lists, bool ``[N]``."""
    return to_device([scope.ids is not None for scope in scopes], torch.bool, device)


def _is_new(ids: Tensor) -> Tensor:
    """Which of some rising numbers aren't the one before again, ``[N, columns]``."""
    first = torch.ones_like(ids[:, :1], dtype=torch.bool)
    return torch.cat([first, ids[:, 1:] != ids[:, :-1]], dim=1)


def _allowed(
    draws: Sequence[TokenDraw],
    scopes: Sequence[Scope],
    ids: Tensor | None,
    vocabulary: int,
    device: torch.device,
) -> Tensor | None:
    """Which of some columns each may draw, bool ``[N, columns]``; None for all of them.

    A list holds nothing else, so nothing is sent of what it was made of.
    """
    held = {
        row: _bits(draw, vocabulary)
        for row, (draw, scope) in enumerate(zip(draws, scopes, strict=True))
        if scope.ids is None and (draw.allowed is not None or draw.barred)
    }
    if not held:
        return None
    table = np.full((len(draws), -(-vocabulary // 8)), 255, dtype=np.uint8)
    table[list(held)] = np.stack(list(held.values()))
    bits = sent(torch.from_numpy(table), device)
    if ids is not None:
        return (bits.gather(1, ids >> 3) >> (ids & 7).byte() & 1).bool()
    places = torch.arange(8, dtype=torch.uint8, device=device)
    return (bits[:, :, None] >> places & 1).bool().flatten(1)[:, :vocabulary]


def _bits(draw: TokenDraw, vocabulary: int) -> NDArray[np.uint8]:
    """What a token may be: a bit for each, eight to a byte, the lowest first."""
    mask = np.ones(vocabulary, bool) if draw.allowed is None else draw.allowed.numpy().copy()
    mask[list(draw.barred)] = False
    return np.packbits(mask, bitorder="little")


def _repeated(
    draws: Sequence[TokenDraw], ids: Tensor | None, vocabulary: int, device: torch.device
) -> Tensor | None:
    """Which tokens were seen, bool ``[N, columns]``; None if that changes nothing."""
    pairs = [
        (row, token)
        for row, draw in enumerate(draws)
        if draw.choice.sampling.penalizes
        for token in draw.seen
    ]
    if not pairs:
        return None
    table = torch.zeros(len(draws), vocabulary, dtype=torch.bool, device=device)
    rows, tokens = to_device(list(zip(*pairs, strict=True)), torch.int64, device)
    table[rows, tokens] = True
    return table if ids is None else table.gather(1, ids)


def _is_bound(step: StepLogprobs, batch: ChoiceBatch, floor: Tensor) -> Tensor:
    """Whether no token but the candidates can pass the mask, ``[N]``.

    Any other is, in each reference stream, at most as likely as that stream's last candidate, of
    those that are possible, and so is the mixture. Tokens that are missing can only raise the
    floor, and don't if all of them are below it.
    """
    assert step.candidates is not None and batch.candidates is not None
    rows = batch.plans.references
    listed = step.pool[rows[:, :, None], step.candidates[batch.candidates]]
    last = listed.where(listed > -math.inf, math.inf).amin(2)
    outside = (last + batch.plans.shares.to(last.dtype)).logsumexp(1)
    return outside + ROUNDING < floor


def _alternatives(final: Tensor, ids: Tensor | None, count: int) -> tuple[Tensor, ...]:
    """Ids and log-probabilities of the likeliest tokens, ``[N, count]`` each."""
    if not count:
        return ()
    best = final.topk(min(count, final.shape[1]))
    tokens = best.indices if ids is None else ids.gather(1, best.indices)
    return tokens.double(), best.values.double()
