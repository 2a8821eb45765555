"""The maths of steering: from log-probabilities of several prompts to one set of scores.

Every method of the family is one form (a `Plan`): an anchor stream, weighted contrasts between
streams, a plausibility mask and a cap on how far the result may move::

    score = l_anchor + sum_k w_k (l_plus_k - l_minus_k),  then the mask,  then the cap

where ``l`` is a stream's log-probability of the next token. Amulet itself is the form with one
contrast, whose weight `strength` derives in advance; `iterate` is the loop that it replaces.

This module knows tensors only: nothing of models, of tokens as text, of requests, of sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from langchain_amulet.errors import ConfigurationError

Utility = Callable[[Tensor, Tensor], Tensor]
"""``utility(log_policy, log_base)``: what each token is worth, all three of shape ``[V]``."""

LARGEST_WEIGHT = 1e6  # a contrast beyond this drowns the anchor in float32's rounding
INDIFFERENCE = 1e-6  # nats; a contrast that varies less than float32's rounding says nothing
BISECTIONS = 16  # settles the cap's factor to 1e-5 of the strength, from below


def strength(alpha: float = 2.0, lam: float = 2.0, eta: float = 10.0, updates: int = 60) -> float:
    """The guidance strength d at which Amulet's optimisation arrives.

    Every iterate of Algorithm 1 (arXiv 2502.19148) is affine in the two log-probabilities,
    ``log pi_t = (1 + d_t) l_pref - d_t l_base + const``, so the loop over distributions is the
    loop over one number::

        d_1 = 0,   d_{t+1} = (eta alpha sum_{i<=t} (1 + d_i) + d_t) / (t lam eta + 1)

    Args:
        alpha: Weight of the utility.
        lam: Pull back towards the first policy, above 0.
        eta: Learning rate, above 0.
        updates: How many updates are made; 0 leaves the plain prompt.

    Returns:
        d, for the scores ``l_pref + d (l_pref - l_base)``: guidance at scale 1 + d.

    Raises:
        ConfigurationError: A parameter is outside its range, or d is beyond floating point.
    """
    _check_optimiser(lam, eta, updates)
    _require(math.isfinite(alpha), f"alpha must be finite, not {alpha!r}: 2.0 is usual.")
    ratio, inertia = alpha / lam, 1.0 / lam / eta
    d = total = 0.0
    for t in range(1, updates + 1):
        total += 1.0 + d
        d = (ratio * total + inertia * d) / (t + inertia)
    _require(
        math.isfinite(d),
        f"The strength must be finite, but alpha={alpha!r}, lam={lam!r}, eta={eta!r}, "
        f"updates={updates!r} give {d!r}: bring alpha closer to lam.",
    )
    return d


def amulet_utility(log_policy: Tensor, log_base: Tensor, alpha: float = 2.0) -> Tensor:
    """Amulet's utility, ``alpha (log pi_t - log pi_base)``; shapes ``[..., V]``."""
    return alpha * (log_policy - log_base)


def iterate(
    logp_pref: Tensor,
    logp_base: Tensor,
    utility: Utility = amulet_utility,
    lam: float = 2.0,
    eta: float = 10.0,
    updates: int = 60,
) -> Tensor:
    """Amulet's optimisation as the paper writes it, one distribution after another, in float64.

    For utilities that don't collapse to a `strength`, whose parameters it shares, and the oracle
    for the one that does. Its update is the FTRL step of Algorithm 1 (arXiv 2502.19148)::

        pi_{t+1} ~ exp((eta sum_{i<=t} u_i + lam eta t log pi_1 + log pi_t) / (t lam eta + 1))

    ``logp_pref`` and ``logp_base`` are ``[..., V]``, under the prompt with the preference and
    without it, and so is the result: the last policy's log-probabilities. A utility of NaN or
    +inf counts as 0. Settings outside their range raise `ConfigurationError`.
    """
    _check_optimiser(lam, eta, updates)
    base = logp_base.double()
    first = policy = logp_pref.double().log_softmax(-1)
    worth = torch.zeros_like(first)
    for t in range(1, updates + 1):
        worth = worth + _bounded(utility(policy, base))
        step = (eta * worth + lam * eta * t * first + policy) / (t * lam * eta + 1.0)
        policy = step.log_softmax(-1)
    return policy


@dataclass(frozen=True)
class Stream:
    """One prompt of a request: which of the call's preferences it includes, by their index."""

    preferences: tuple[int, ...] = ()


@dataclass(frozen=True)
class Contrast:
    """``weight (l_plus - l_minus)``, where ``plus`` and ``minus`` are indices of streams."""

    weight: float
    plus: int
    minus: int

    def __post_init__(self) -> None:
        """Refuse weights that float32 scores can't carry."""
        _require(
            abs(self.weight) <= LARGEST_WEIGHT,
            f"A contrast's weight must be at most {LARGEST_WEIGHT:g} either way, "
            f"not {self.weight!r}: lower the preference's strength or weight.",
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the streams of a request become one distribution.

    Attributes:
        streams: The prompts, in the order of the rows that `steer` is given.
        anchor: Index of the stream that the contrasts are added to.
        contrasts: What is added to it.
        reference: The plain prompt's distribution, which the mask and the cap are measured
            against: a mixture of ``(stream, weight)`` pairs, whose weights sum to 1.
        plausibility: Tokens below this share of the reference's likeliest one are dropped.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    streams: tuple[Stream, ...]
    anchor: int
    contrasts: tuple[Contrast, ...] = ()
    reference: tuple[tuple[int, float], ...]
    plausibility: float = 0.0
    kl_cap: float | None = None

    def __post_init__(self) -> None:
        """Refuse plans that don't fit together."""
        used = {self.anchor, *(stream for stream, _ in self.reference)}
        used.update(index for each in self.contrasts for index in (each.plus, each.minus))
        _require(
            all(0 <= index < len(self.streams) for index in used),
            f"A plan's indices must name its {len(self.streams)} streams, counted from 0, "
            f"not {sorted(used)}: add the stream or mend the index.",
        )
        weights = [weight for _, weight in self.reference]
        _require(
            all(weight > 0.0 for weight in weights) and abs(sum(weights) - 1.0) < 1e-6,
            f"A plan's reference weights must be above 0 and sum to 1, not {weights}: "
            "leave out streams of weight 0 and divide by the sum.",
        )
        _require(
            0.0 <= self.plausibility <= 1.0,
            f"plausibility must be between 0 and 1, not {self.plausibility!r}: 0 keeps all tokens.",
        )
        _require(
            self.kl_cap is None or 0.0 <= self.kl_cap < math.inf,
            f"kl_cap must be finite and at least 0, not {self.kl_cap!r}: use None for no cap.",
        )

    @classmethod
    def plain(cls, preferences: tuple[int, ...] = ()) -> Plan:
        """One prompt with these preferences in it, left as the model gives it."""
        return cls(streams=(Stream(preferences),), anchor=0, reference=((0, 1.0),))

    @property
    def is_plain(self) -> bool:
        """Whether there is one stream and nothing to combine."""
        return len(self.streams) == 1 and not self.contrasts

    @property
    def base(self) -> int | None:
        """Index of the stream without preferences, if there is one."""
        bare = (index for index, each in enumerate(self.streams) if not each.preferences)
        return next(bare, None)

    def with_base(self) -> tuple[Plan, int]:
        """The same with a stream without preferences, if only to compare with, and its index."""
        if self.base is not None:
            return self, self.base
        return replace(self, streams=(*self.streams, Stream())), len(self.streams)

    @property
    def unsteered(self) -> Plan:
        """The same streams without steering: the plain prompt's, of several the heaviest."""
        anchor = max(self.reference, key=lambda part: part[1])[0]
        return replace(self, anchor=anchor, contrasts=(), plausibility=0.0, kl_cap=None)


@dataclass(frozen=True)
class Steered:
    """One token's distribution after steering.

    Attributes:
        scores: Log-probabilities up to a constant, ``[V]``; -inf for what is masked.
        reference: Log-probabilities under the plain prompt, ``[V]``.
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
    reference = _mixture(logprobs, plan.reference)
    scores = logprobs[plan.anchor]
    for contrast in plan.contrasts:
        difference = logprobs[contrast.plus] - logprobs[contrast.minus]
        scores = scores + _bounded(contrast.weight * difference)
    plausible = _plausible(reference, plan.plausibility)
    scores = scores.where(plausible, -math.inf)
    if not bool((scores > -math.inf).any()):
        scores = reference.where(plausible, -math.inf)
    if plan.kl_cap is not None:
        scores = _capped(scores, reference, plan.kl_cap)
    return Steered(scores, reference)


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
    wants = torch.stack([logprobs[each.plus] - logprobs[each.minus] for each in plan.contrasts])
    known = (steered.scores > -math.inf) & torch.isfinite(wants).all(0)
    if not bool(known.any()):
        return None
    wants, share = wants[:, known].double(), steered.reference[known].double().softmax(0)
    centred = (wants - (wants @ share)[:, None]) * share.sqrt()
    norms = centred.norm(dim=1, keepdim=True)
    if float(norms.min()) < INDIFFERENCE:
        return None
    directions = centred / norms
    count = len(plan.contrasts)
    total = float((directions @ directions.T).sum()) - count  # without each one's own
    return min(1.0, max(-1.0, total / (count * (count - 1))))


def _mixture(logprobs: Tensor, parts: tuple[tuple[int, float], ...]) -> Tensor:
    if len(parts) == 1:
        return logprobs[parts[0][0]]
    rows = [logprobs[stream] + math.log(weight) for stream, weight in parts]
    return torch.stack(rows).logsumexp(0)


def _bounded(pull: Tensor) -> Tensor:
    # NaN compares false, so -inf minus -inf ends as 0 together with +inf.
    return pull.where(pull < math.inf, 0.0)


def _plausible(reference: Tensor, plausibility: float) -> Tensor:
    floor = reference.max() + math.log(plausibility) if plausibility > 0.0 else -math.inf
    return (reference >= floor) & (reference > -math.inf)


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


def _check_optimiser(lam: float, eta: float, updates: int) -> None:
    _require(0.0 < lam < math.inf, f"lam must be finite and above 0, not {lam!r}: 2.0 is usual.")
    _require(0.0 < eta < math.inf, f"eta must be finite and above 0, not {eta!r}: 10.0 is usual.")
    _require(
        isinstance(updates, int) and updates >= 0,
        f"updates must be a whole number, at least 0, not {updates!r}: 60 is usual.",
    )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigurationError(message)
