"""How strongly a user wants something, fitted to what they liked or chose.

Steering by K preferences is a log-linear model: with their forces in ``theta``, the next token has

    q(a) ~ exp(anchor(a) + sum_k theta_k contrast_k(a))

where a contrast is a multiple of ``l_k - l_base``. So the log-likelihood of a text is concave in
theta, and so is that of choices between two texts, whose odds are linear in theta. With a normal
prior the sum is strictly concave: Newton's method finds its one maximum, and the curvature there
says how sure it is.

This module knows float64 tensors only: nothing of models, prompts, preferences or users.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

TOKENS_WEIGHED = 10.0
"""How many tokens of mean evidence a choice between two answers is worth, see `Choices`."""

ROUNDS, TOLERANCE = 100, 1e-9


@dataclass(frozen=True)
class Curve:
    """A concave function around one point.

    Attributes:
        value: What it is there, in nats, a scalar.
        gradient: ``[K]``.
        hessian: ``[K, K]``, negative semi-definite.
    """

    value: Tensor
    gradient: Tensor
    hessian: Tensor

    def __add__(self, other: Curve) -> Curve:
        """The sum of both functions."""
        return Curve(
            self.value + other.value,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )


class Evidence(Protocol):
    """Something whose log-likelihood is concave in the parameters."""

    def at(self, theta: Tensor) -> Curve:
        """The log-likelihood around ``theta``, ``[K]``."""
        ...


@dataclass(frozen=True)
class Prior:
    """What is believed without evidence: independent normal distributions.

    Attributes:
        mean: ``[K]``.
        deviation: Standard deviation of each, above 0.
    """

    mean: Tensor
    deviation: float

    def at(self, theta: Tensor) -> Curve:
        """Its log-density around ``theta``, up to a constant."""
        scaled = (theta - self.mean) / self.deviation
        precision = torch.eye(len(theta), dtype=torch.float64) / self.deviation**2
        return Curve(-0.5 * scaled @ scaled, -scaled / self.deviation, -precision)


@dataclass(frozen=True)
class Text:
    """A text that was liked: at each place, one token among those that could have come.

    Attributes:
        anchor: Log-probabilities where theta is 0, up to a constant, ``[N, V]``; -inf where there
            is no token, for places with fewer of them.
        contrasts: What each parameter adds to them, ``[N, K, V]``, finite.
        chosen: Which token came, ``[N]``, int64.
    """

    anchor: Tensor
    contrasts: Tensor
    chosen: Tensor

    def at(self, theta: Tensor) -> Curve:
        """The text's log-likelihood: ``sum_n log q(chosen_n)``."""
        logq = (self.anchor + torch.einsum("k,nkv->nv", theta, self.contrasts)).log_softmax(1)
        share = logq.exp()
        mean = torch.einsum("nv,nkv->nk", share, self.contrasts)
        square = torch.einsum("nv,nkv,nlv->kl", share, self.contrasts, self.contrasts)
        taken = self.contrasts[torch.arange(len(self.chosen)), :, self.chosen]
        return Curve(
            logq.gather(1, self.chosen[:, None]).sum(),
            (taken - mean).sum(0),
            mean.T @ mean - square,
        )


@dataclass(frozen=True)
class Choices:
    """Choices between two answers, by the Bradley-Terry model.

    An answer is worth ``TOKENS_WEIGHED * sum_k force_k D_k``, where D_k is the mean of
    ``l_k - l_base`` over its tokens, in nats: what steering would raise its log-likelihood by, if
    it had as many tokens. The mean, as a long answer isn't better for its length; a fixed number
    of tokens, as nobody is ten times as sure of a page as of a sentence.

    Attributes:
        offset: How much more the chosen answer is worth where theta is 0, ``[N]``.
        slopes: How much more it is worth per unit of each parameter, ``[N, K]``.
    """

    offset: Tensor
    slopes: Tensor

    def at(self, theta: Tensor) -> Curve:
        """The choices' log-likelihood: ``sum_n log sigmoid(margin_n)``."""
        margin = self.offset + self.slopes @ theta
        doubt = torch.sigmoid(-margin)
        spread = doubt * (1.0 - doubt)
        return Curve(
            torch.nn.functional.logsigmoid(margin).sum(),
            doubt @ self.slopes,
            -(self.slopes.T * spread) @ self.slopes,
        )


@dataclass(frozen=True)
class Estimate:
    """What was learned.

    Attributes:
        values: The likeliest parameters, given the evidence and the prior.
        errors: Their standard errors, from the curvature there. Close to the prior's deviation,
            the evidence says little.
    """

    values: tuple[float, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Forces:
    """How parameters become forces: ``force_k = offset_k + scale_k theta_k``, each ``[K]``."""

    offset: Tensor
    scale: Tensor


def fit(evidence: Iterable[Evidence], prior: Prior, floor: float = -math.inf) -> Estimate:
    """The parameters that evidence and prior make likeliest.

    Args:
        evidence: Any number of pieces, independent of each other.
        prior: What is believed without them.
        floor: The least that a parameter may be. One that would be less is set to it, the least
            one first, and the others are fitted again.
    """
    parts = [prior, *evidence]
    free = torch.ones(len(prior.mean), dtype=torch.bool)
    theta = _maximum(parts, prior.mean.clamp(min=floor), free)
    while bool((theta < floor).any()):
        free[theta.argmin()] = False
        theta = _maximum(parts, torch.where(free, theta.clamp(min=floor), floor), free)
    covariance = torch.linalg.inv(-_sum(parts, theta).hessian)
    return Estimate(tuple(theta.tolist()), tuple(covariance.diagonal().sqrt().tolist()))


def text(logprobs: Tensor, tokens: Sequence[int], kept: Tensor, base: int, forces: Forces) -> Text:
    """What a liked text says, place by place, of the forces behind it.

    A place says something if the token that came is one that steering could have chosen, and if
    there was another. All that it says is conditional on that: where a mask forbids the token
    that came, as happens in texts by other writers, no strength explains it, and where no mask
    is, a token that no prompt expects would outweigh all others.

    Args:
        logprobs: Log-probabilities ``[K + 1, T, V]``: of each preference's stream and of the base
            stream.
        tokens: The text, T of them.
        kept: Which tokens steering could choose, bool, ``[T, V]``.
        base: Index of the base stream.
        forces: How parameters become the streams' forces.
    """
    kept = kept & logprobs.isfinite().all(0)
    places = [t for t, token in enumerate(tokens) if kept[t, token] and int(kept[t].sum()) > 1]
    size = max((int(kept[t].sum()) for t in places), default=1)
    anchor = torch.full((len(places), size), -math.inf, dtype=torch.float64)
    contrasts = torch.zeros(len(places), len(forces.scale), size, dtype=torch.float64)
    chosen = torch.zeros(len(places), dtype=torch.long)
    others = [row for row in range(len(logprobs)) if row != base]
    for n, t in enumerate(places):
        ids = kept[t].nonzero()[:, 0]
        local = logprobs[:, t, ids].double()
        contrast = local[others] - local[base]
        anchor[n, : len(ids)] = local[base] + forces.offset @ contrast
        contrasts[n, :, : len(ids)] = forces.scale[:, None] * contrast
        chosen[n] = int((ids == tokens[t]).nonzero())
    return Text(anchor, contrasts, chosen)


def mean_contrast(logprobs: Tensor, tokens: Sequence[int], base: int) -> Tensor:
    """D, the mean of ``l_k - l_base`` over a text's tokens, ``[K]``, in nats.

    Tokens that one of two prompts finds impossible say nothing. See `text` for the arguments.
    """
    taken = logprobs[:, torch.arange(len(tokens)), torch.tensor(tokens)].double()
    contrast = taken - taken[base]
    others = [row for row in range(len(logprobs)) if row != base]
    return contrast.where(contrast.isfinite(), 0.0).mean(1)[others]


def choices(chosen: Tensor, rejected: Tensor, forces: Forces) -> Choices:
    """What choices say of the forces behind them.

    ``chosen`` and ``rejected`` are the answers' mean contrasts, ``[N, K]``, in pairs.
    """
    margins = TOKENS_WEIGHED * (chosen - rejected)
    return Choices(margins @ forces.offset, margins * forces.scale)


def _maximum(parts: Sequence[Evidence], theta: Tensor, free: Tensor) -> Tensor:
    """Newton's method on the free parameters, each step halved until it is a gain."""
    for _ in range(ROUNDS):
        curve = _sum(parts, theta)
        gradient = curve.gradient[free]
        if not len(gradient):
            break  # every parameter stands at the floor
        step = torch.zeros_like(theta)
        step[free] = torch.linalg.solve(-curve.hessian[free][:, free], gradient)
        slope = float(step @ curve.gradient)
        # Far from the maximum a whole Newton step can overshoot, concave as the function is.
        while _sum(parts, theta + step).value < curve.value + 1e-4 * slope and slope > TOLERANCE:
            step, slope = step / 2, slope / 2
        theta = theta + step
        if slope <= TOLERANCE:
            break
    return theta


def _sum(parts: Sequence[Evidence], theta: Tensor) -> Curve:
    first, *others = (part.at(theta) for part in parts)
    return sum(others, first)
