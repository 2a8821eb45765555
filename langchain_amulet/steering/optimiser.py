"""Amulet's optimisation: as one number where it collapses, as a loop where it doesn't.

Knows distributions over tokens. Doesn't know plans, streams or masks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from langchain_amulet.errors import ConfigurationError, GenerationError
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import quoted

MOST_UPDATES = 10_000
"""The most updates of a distribution, each of which costs a pass over its tokens, for every token.
More change little: where alpha is lam, as is usual, the strength grows like their logarithm."""

MOST_STRENGTH_UPDATES = 200_000
"""The most updates of a strength, which is one number: all of them take some hundredths of a
second, once, when a method is made."""

Utility = Callable[[Tensor, Tensor], Tensor]
"""``utility(log_policy, log_base)``: what each token is worth, all three of shape ``[V]``."""


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
        updates: How many updates are made; 0 leaves the prompted distribution.

    Returns:
        d, for the scores ``l_pref + d (l_pref - l_base)``: guidance at scale 1 + d.

    Raises:
        ConfigurationError: A parameter is outside its range, or d is beyond floating point.
    """
    check_optimiser(lam, eta, updates, MOST_STRENGTH_UPDATES)
    if not is_finite(alpha):
        raise ConfigurationError(f"alpha must be finite, not {quoted(alpha)}: 2.0 is usual.")
    ratio, inertia = alpha / lam, 1.0 / lam / eta
    d = total = 0.0
    for t in range(1, updates + 1):
        total += 1.0 + d
        d = (ratio * total + inertia * d) / (t + inertia)
    if not math.isfinite(d):
        raise ConfigurationError(
            f"The strength must be finite, but alpha={quoted(alpha)}, lam={quoted(lam)}, "
            f"eta={quoted(eta)}, updates={quoted(updates)} give {d!r}: bring alpha closer to lam."
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
    without it, and so is the result: the last policy's log-probabilities. Of a token that one of
    the two finds impossible the utility may be NaN or infinite: +inf and NaN count as 0.

    Raises:
        ConfigurationError: A setting is outside its range, or the utility returns no tensor of this
            shape.
        GenerationError: The utility of a token that is possible is NaN or infinite.
    """
    check_optimiser(lam, eta, updates)
    base = logp_base.double()
    first = policy = logp_pref.double().log_softmax(-1)
    worth = torch.zeros_like(first)
    for t in range(1, updates + 1):
        worth = worth + bounded(_worth(utility, policy, base))
        step = (eta * worth + lam * eta * t * first + policy) / (t * lam * eta + 1.0)
        policy = step.log_softmax(-1)
    return policy


def _worth(utility: Utility, policy: Tensor, base: Tensor) -> Tensor:
    worth: object = utility(policy.clone(), base.clone())  # which may work in place
    if isinstance(worth, Tensor) and worth.shape == policy.shape:
        # Where a token is impossible, a difference of logarithms has no value, and means none.
        if bool((worth.isfinite() | ~policy.isfinite() | ~base.isfinite()).all()):
            return worth
        raise GenerationError(
            "A utility must give each possible token a finite number, but returned NaN or infinity "
            "for one: mend it, or give such tokens 0."
        )
    shape = list(policy.shape)
    found = list(worth.shape) if isinstance(worth, Tensor) else quoted(worth)
    raise ConfigurationError(
        f"A utility must return a tensor of its arguments' shape, {shape}, but returned "
        f"{found}: return one number for each token."
    )


def bounded(worth: Tensor) -> Tensor:
    """What tokens are worth, with 0 for +inf and NaN, which say nothing about their tokens."""
    # NaN compares false, so -inf minus -inf ends as 0 together with +inf.
    return worth.where(worth < math.inf, 0.0)


def check_optimiser(lam: float, eta: float, updates: int, most: int = MOST_UPDATES) -> None:
    """Refuse parameters at which the optimisation isn't one, with `ConfigurationError`."""
    if not (is_finite(lam) and lam > 0.0):
        raise ConfigurationError(
            f"lam must be finite and above 0, not {quoted(lam)}: 2.0 is usual."
        )
    if not (is_finite(eta) and eta > 0.0):
        raise ConfigurationError(
            f"eta must be finite and above 0, not {quoted(eta)}: 10.0 is usual."
        )
    if not (isinstance(updates, int) and not isinstance(updates, bool) and 0 <= updates <= most):
        raise ConfigurationError(
            f"updates must be a whole number from 0 to {most}, not {quoted(updates)}: 60 is usual."
        )
