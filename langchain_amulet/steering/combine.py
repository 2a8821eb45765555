"""From the streams' log-probabilities to one set of scores, and what was done to them.

Everything is done for several tokens at once, each with a plan of its own, see `PlanBatch`; nothing
here waits for the device, but where a plan brings code of its own, a solver's utility or a mask.
Whatever one token's rows hold, the others' results are the same.

Knows plans and tensors. Doesn't know where plans come from or how tokens are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.steering.masks import BUILT_IN, Mask
from langchain_amulet.steering.optimiser import bounded, iterate
from langchain_amulet.steering.plan import Plan, Solver
from langchain_amulet.steering.plan_batch import PlanBatch

INDIFFERENCE = 1e-6  # nats; a contrast that varies less than float32's rounding says nothing
BISECTIONS = 16  # settles the cap's factor to 1e-5 of the strength, from below


@dataclass(frozen=True)
class Steered:
    """Distributions after steering; of one token without the leading dimension.

    Attributes:
        scores: Log-probabilities up to a constant, ``[N, V]``; -inf for what is masked.
        reference: Log-probabilities of the plans' references, ``[N, V]``.
        floor: The lowest log-probability in the reference that the mask lets stay, ``[N]``; -inf
            if there is no mask.
    """

    scores: Tensor
    reference: Tensor
    floor: Tensor


def combine(
    pool: Tensor, plans: PlanBatch, ids: Tensor | None = None, allowed: Tensor | None = None
) -> Steered:
    """Combine streams' log-probabilities of N next tokens, each as its plan says.

    A contrast that tends to -inf forbids its token; one that tends to +inf, or compares two
    impossible tokens, says nothing about it. Where that leaves no token at all, the reference
    decides alone.

    Args:
        pool: ``[rows, vocabulary]``, float32, each row normalised. They may hold -inf; NaN is for
            the caller to refuse.
        plans: How the streams are combined, and which rows they are.
        ids: The columns to look at, ``[N, V]``, among which each reference's likeliest token must
            be; None for all.
        allowed: Which of these may be chosen, bool ``[N, V]``; None for all.
    """
    reference = mixture(pool, plans, ids)
    possible = reference if allowed is None else reference.where(allowed, -math.inf)
    floor = floors(possible, plans)
    if plans.is_plain:  # several passes over the vocabulary less for who asks for no style
        return Steered(possible, reference, floor)
    stays = (possible > -math.inf) & (possible >= floor[:, None])
    scores = _sum(pool, plans, ids).where(stays, -math.inf)
    for index, solver, base in plans.solvers:
        columns = slice(None) if ids is None else ids[index]
        anchor = pool[plans.anchors[index], columns]
        scores[index] = _solved(anchor, pool[base, columns], solver, stays[index])
    # Contrasts can forbid all that the mask keeps, and an answer has to go on somehow.
    is_empty = ~(scores > -math.inf).any(1, keepdim=True)
    scores = torch.where(is_empty, possible.where(stays, -math.inf), scores)
    if plans.capped is not None:
        capped = _capped(scores[plans.capped], reference[plans.capped], plans.caps[:, None])
        scores = scores.index_copy(0, plans.capped, capped)
    return Steered(scores, reference, floor)


def levelled(logprobs: Tensor, held: Tensor) -> Tensor:
    """The streams' log-probabilities where some tokens are nothing that one could steer by.

    Of a held token every stream has the least that any of them has, so there is no contrast in it,
    and no stream that is sure of it. What a stream loses there goes to its other tokens, in
    proportion; one without others stays as it is.

    Args:
        logprobs: Normalised log-probabilities, ``[S, V]``.
        held: Which tokens, bool ``[V]``.

    Returns:
        Normalised log-probabilities, ``[S, V]``.
    """
    least = logprobs.amin(0)
    others = logprobs.masked_fill(held, -math.inf).logsumexp(-1, keepdim=True)
    left = torch.log1p(-least.exp().where(held, 0.0).sum())
    return torch.where(others == -math.inf, logprobs, least.where(held, logprobs - others + left))


def steer(logprobs: Tensor, plan: Plan) -> Steered:
    """`combine` for one token: ``logprobs`` are ``[S, V]``, a row per stream of the plan."""
    steered = combine(logprobs, PlanBatch.of([plan], [range(len(logprobs))], logprobs.device))
    return Steered(steered.scores[0], steered.reference[0], steered.floor[0])


def kl(scores: Tensor, reference: Tensor) -> Tensor:
    """How far steering moved distributions: KL(q || reference), in nats, ``[...]``.

    Both are normalised over the tokens that ``scores`` keeps: the mask is a truncation like
    top-p, and what it cuts off isn't counted. So zero strength has a divergence of 0, mask or no
    mask, and any subset of the vocabulary that holds the kept tokens gives the same number.
    Both arguments are ``[..., V]``, as in `Steered`.
    """
    target, start = _survivors(scores, reference)
    return _divergence(target.log_softmax(-1), start.log_softmax(-1))


def agreement(
    pool: Tensor, plans: PlanBatch, steered: Steered, ids: Tensor | None = None
) -> Tensor:
    """How far the contrasts of each plan want the same tokens: their mean cosine, in [-1, 1].

    What a contrast wants is its streams' difference in log-probability over the tokens that
    survived, centred under the reference, which also weights the cosine: a correlation. 1 is full
    agreement, 0 none, -1 full opposition. The contrasts' own weights don't count.

    One that stands on another is measured from where that one begins, together with it: whatever
    is added to a prompt weakens what was there, so by itself it would seem to oppose even a wish
    for the same. Below 0, the upper one has turned the lower one's wish into its opposite.

    Args:
        pool: What was steered, as in `combine`.
        plans: How it was.
        steered: What came of it.
        ids: As in `combine`.

    Returns:
        The mean over all pairs of contrasts, ``[N]``, float64; NaN if there are fewer than two, or
        if one of them doesn't tell the surviving tokens apart.
    """
    found = torch.full_like(steered.floor, math.nan, dtype=torch.float64)
    if (layered := plans.layered) is None:
        return found
    columns = None if ids is None else ids[layered]
    wants = torch.stack(
        [
            _taken(pool, plus, columns) - _taken(pool, beginning, columns)
            for plus, beginning in zip(
                plans.plus[layered].T, plans.beginnings[layered].T, strict=True
            )
        ],
        dim=1,
    )
    places = torch.arange(plans.plus.shape[1], device=layered.device)
    is_real = places < plans.counts[layered][:, None]
    cosine = _mean_cosine(wants, is_real, steered.scores[layered], steered.reference[layered])
    return found.index_copy(0, layered, cosine)


def _mean_cosine(wants: Tensor, is_real: Tensor, scores: Tensor, reference: Tensor) -> Tensor:
    """The mean cosine of the real ones among ``wants`` [N, C, V], each pair of them, ``[N]``."""
    wants = wants.double().where(is_real[:, :, None], 0.0)
    known = (scores > -math.inf) & wants.isfinite().all(1)
    share = reference.double().where(known, -math.inf).softmax(1)[:, None]
    wants = wants.where(known[:, None], 0.0)
    centred = (wants - (wants * share).sum(2, keepdim=True)) * share.sqrt()
    norms = centred.norm(dim=2)
    count = is_real.sum(1)
    directions = (centred / norms.clamp(min=INDIFFERENCE)[:, :, None]).where(
        is_real[:, :, None], 0.0
    )
    total = directions.sum(1).square().sum(1) - count  # without each one's own
    mean: Tensor = (total / (count * (count - 1))).clamp(-1.0, 1.0)
    # A cosine with rounding errors would mean nothing.
    is_telling = (norms.where(is_real, math.inf) >= INDIFFERENCE).all(1)
    return mean.where(is_telling, math.nan)


def mixture(pool: Tensor, plans: PlanBatch, ids: Tensor | None = None) -> Tensor:
    """Log-probabilities ``[N, V]`` of each plan's reference; the arguments are `combine`'s."""
    if plans.references.shape[1] == 1:
        return _taken(pool, plans.references[:, 0], ids)
    parts = zip(plans.references.T, plans.shares.T.to(pool.dtype), strict=True)
    weighted = [_taken(pool, rows, ids) + share[:, None] for rows, share in parts]
    return torch.stack(weighted).logsumexp(0)


def floors(reference: Tensor, plans: PlanBatch) -> Tensor:
    """The lowest log-probability that each plan's mask lets stay, ``[N]``; -inf without a mask.

    Args:
        reference: Log-probabilities of the plans' references, ``[N, V]``, see `Mask.floor`.
        plans: Whose masks they are.
    """
    floor = torch.full_like(reference[:, 0], -math.inf)
    for mask, having in plans.masks:
        if having is None:
            # A mask of somebody's own may work in place.
            floor = mask.floor(reference if type(mask) in BUILT_IN else reference.clone())
        else:
            floor = floor.index_copy(0, having, mask.floor(reference[having]))
    return floor


def kept(reference: Tensor, mask: Mask | None) -> Tensor:
    """Which tokens may be chosen, bool ``[..., V]``, by log-probabilities in the reference."""
    possible = reference > -math.inf
    return possible if mask is None else possible & (reference >= mask.floor(reference)[..., None])


def _taken(pool: Tensor, rows: Tensor, ids: Tensor | None) -> Tensor:
    """Rows of the pool, at their own columns, ``[N, V]``."""
    return pool[rows] if ids is None else pool[rows[:, None], ids]


def _sum(pool: Tensor, plans: PlanBatch, ids: Tensor | None) -> Tensor:
    scores = _taken(pool, plans.anchors, ids)
    contrasts = zip(plans.weights.T.to(pool.dtype), plans.plus.T, plans.minus.T, strict=True)
    for weight, plus, minus in contrasts:
        difference = _taken(pool, plus, ids) - _taken(pool, minus, ids)
        scores = scores + bounded(weight[:, None] * difference)
    return scores


def _solved(anchor: Tensor, base: Tensor, solver: Solver, kept: Tensor) -> Tensor:
    """One token's scores, ``[V]``, by a solver, which is given the kept tokens alone."""
    first, second = (row[kept].log_softmax(0) for row in (anchor, base))
    policy = iterate(first, second, solver.utility, solver.lam, solver.eta, solver.updates)
    scores = torch.full_like(anchor, -math.inf)
    scores[kept] = policy.to(scores.dtype)
    return scores


def _capped(scores: Tensor, reference: Tensor, caps: Tensor) -> Tensor:
    """Pull ``scores`` back towards the reference until their divergence is within ``caps``.

    Along ``log r + factor (scores - log r)`` the divergence grows from 0 with derivative
    ``factor * Var_q(scores - log r)``, so it can be bisected. Where the anchor is the reference,
    this is one common factor on the weights of all contrasts.
    """
    target, start = _survivors(scores, reference)
    start = start.log_softmax(1)
    survives = scores > -math.inf
    tilt = (target - start).where(survives, 0.0)

    def within(factor: Tensor) -> Tensor:
        moved = (start + factor * tilt).log_softmax(1)
        return _divergence(moved, start)[:, None] <= caps

    low, high = torch.zeros_like(caps), torch.ones_like(caps)
    is_within = within(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fits = within(middle)
        low, high = middle.where(fits, low), high.where(fits, middle)
    return torch.where(is_within | ~survives, scores, (start + low * tilt).to(scores.dtype))


def _survivors(scores: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, and impossible wherever ``scores`` are."""
    return scores.double(), reference.double().where(scores > -math.inf, -math.inf)


def _divergence(log_q: Tensor, log_r: Tensor) -> Tensor:
    # Where both are impossible their difference has no value, and nothing is there to count.
    moved = (log_q - log_r).where(log_q > -math.inf, 0.0)
    return (log_q.exp() * moved).sum(-1).clamp(min=0.0)
