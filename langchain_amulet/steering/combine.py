"""From the streams' log-probabilities to one set of scores, and what was done to them.

Knows a plan and one token's tensors. Doesn't know where plans come from or how tokens are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.steering.masks import Mask
from langchain_amulet.steering.optimiser import bounded, iterate
from langchain_amulet.steering.plan import Contrast, Plan, Solver

INDIFFERENCE = 1e-6  # nats; a contrast that varies less than float32's rounding says nothing
BISECTIONS = 16  # settles the cap's factor to 1e-5 of the strength, from below


@dataclass(frozen=True)
class Steered:
    """One token's distribution after steering.

    Attributes:
        scores: Log-probabilities up to a constant, ``[V]``; -inf for what is masked.
        reference: Log-probabilities of the plan's reference, ``[V]``.
    """

    scores: Tensor
    reference: Tensor


def steer(logprobs: Tensor, plan: Plan) -> Steered:
    """Combine the streams' log-probabilities of one next token as ``plan`` says.

    ``logprobs`` are ``[S, V]``, float32, a row per stream of the plan. The columns may be a
    subset of the vocabulary as long as each row was normalised over all of it and the reference's
    likeliest token is among them. They may hold -inf; NaN is for the caller to refuse.

    A contrast that tends to -inf forbids its token; one that tends to +inf, or compares two
    impossible tokens, says nothing about it. Where that leaves no token at all, the reference
    decides alone.
    """
    reference = mixture(logprobs, plan.reference)
    stays = kept(reference, plan.mask)
    if plan.solver is None:
        scores = _sum(logprobs, plan).where(stays, -math.inf)
    else:
        scores = _solved(logprobs, plan.anchor, plan.solver, stays)
    if not bool((scores > -math.inf).any()):
        # Contrasts can forbid all that the mask keeps, and an answer has to go on somehow.
        scores = reference.where(stays, -math.inf)
    if plan.kl_cap is not None:
        scores = _capped(scores, reference, plan.kl_cap)
    return Steered(scores, reference)


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
    left = torch.log1p(-least[held].exp().sum())
    return torch.where(others == -math.inf, logprobs, least.where(held, logprobs - others + left))


def kl(scores: Tensor, reference: Tensor) -> float:
    """How far steering moved one token's distribution: KL(q || reference), in nats.

    Both are normalised over the tokens that ``scores`` keeps: the mask is a truncation like
    top-p, and what it cuts off isn't counted. So zero strength has a divergence of 0, mask or no
    mask, and any subset of the vocabulary that holds the kept tokens gives the same number.
    Both arguments are ``[V]``, as in `Steered`.
    """
    log_q, log_r = _survivors(scores, reference)
    return _divergence(log_q.log_softmax(0), log_r.log_softmax(0))


def agreement(logprobs: Tensor, plan: Plan, steered: Steered) -> float | None:
    """How far the contrasts of a plan want the same tokens: their mean cosine, in [-1, 1].

    What a contrast wants is its streams' difference in log-probability over the tokens that
    survived, centred under the reference, which also weights the cosine: a correlation. 1 is full
    agreement, 0 none, -1 full opposition. The contrasts' own weights don't count.

    One that stands on another is measured from where that one begins, together with it: whatever
    is added to a prompt weakens what was there, so by itself it would seem to oppose even a wish
    for the same. Below 0, the upper one has turned the lower one's wish into its opposite.

    Args:
        logprobs: What was steered, ``[S, V]``.
        plan: How it was.
        steered: What came of it.

    Returns:
        The mean over all pairs of contrasts; None if there are fewer than two, or if one of them
        doesn't tell the surviving tokens apart.
    """
    if len(plan.contrasts) < 2:
        return None
    wants = torch.stack(
        [logprobs[each.plus] - logprobs[_beginning(each, plan)] for each in plan.contrasts]
    )
    known = (steered.scores > -math.inf) & torch.isfinite(wants).all(0)
    if not bool(known.any()):
        return None
    wants, share = wants[:, known].double(), steered.reference[known].double().softmax(0)
    centred = (wants - (wants @ share)[:, None]) * share.sqrt()
    norms = centred.norm(dim=1, keepdim=True)
    if float(norms.min()) < INDIFFERENCE:
        return None  # a cosine with rounding errors would mean nothing
    directions = centred / norms
    count = len(plan.contrasts)
    total = float((directions @ directions.T).sum()) - count  # without each one's own
    return min(1.0, max(-1.0, total / (count * (count - 1))))


def _beginning(contrast: Contrast, plan: Plan) -> int:
    """The stream from which a contrast, with all that it stands on, leads away."""
    below = {each.plus: each.minus for each in plan.contrasts}
    place = contrast.minus
    for _ in plan.contrasts:  # no further, should they lead round in a circle
        place = below.get(place, place)
    return place


def mixture(logprobs: Tensor, parts: tuple[tuple[int, float], ...]) -> Tensor:
    """Log-probabilities ``[V]`` of a mixture of rows of ``[S, V]``, as in `Plan.reference`."""
    if len(parts) == 1:
        return logprobs[parts[0][0]]
    rows = [logprobs[stream] + math.log(weight) for stream, weight in parts]
    return torch.stack(rows).logsumexp(0)


def _sum(logprobs: Tensor, plan: Plan) -> Tensor:
    scores = logprobs[plan.anchor]
    for contrast in plan.contrasts:
        difference = logprobs[contrast.plus] - logprobs[contrast.minus]
        scores = scores + bounded(contrast.weight * difference)
    return scores


def _solved(logprobs: Tensor, anchor: int, solver: Solver, kept: Tensor) -> Tensor:
    first, base = (logprobs[row, kept].log_softmax(0) for row in (anchor, solver.base))
    policy = iterate(first, base, solver.utility, solver.lam, solver.eta, solver.updates)
    scores = torch.full_like(logprobs[anchor], -math.inf)
    scores[kept] = policy.to(scores.dtype)
    return scores


def kept(reference: Tensor, mask: Mask | None) -> Tensor:
    """Which tokens may be chosen, bool ``[V]``, by their log-probabilities in the reference."""
    possible = reference > -math.inf
    return possible if mask is None else possible & (reference >= mask.floor(reference))


def _capped(scores: Tensor, reference: Tensor, cap: float) -> Tensor:
    """Pull ``scores`` back towards the reference until their divergence is within ``cap``.

    Along ``log r + factor (scores - log r)`` the divergence grows from 0 with derivative
    ``factor * Var_q(scores - log r)``, so it can be bisected. Where the anchor is the reference,
    this is one common factor on the weights of all contrasts.
    """
    target, start = _survivors(scores, reference)
    start = start.log_softmax(0)
    tilt = target - start

    def within(factor: float) -> bool:
        return _divergence((start + factor * tilt).log_softmax(0), start) <= cap

    if within(1.0):
        return scores
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) else (low, middle)
    capped = torch.full_like(scores, -math.inf)
    capped[scores > -math.inf] = (start + low * tilt).to(scores.dtype)
    return capped


def _survivors(scores: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both at the tokens that ``scores`` keeps, in float64."""
    kept = scores > -math.inf
    if bool(kept.all()):  # indexing a whole vocabulary would cost more than all the rest
        return scores.double(), reference.double()
    return scores[kept].double(), reference[kept].double()


def _divergence(log_q: Tensor, log_r: Tensor) -> float:
    return float((log_q.exp() @ (log_q - log_r)).clamp(min=0.0))
