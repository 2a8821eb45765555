"""Which tokens steering may choose from: those that are likely enough without steering.

A mask is a floor under the reference's log-probabilities. What ties with the last token that is
kept is kept too, so it never depends on the order of the columns.

Knows one distribution. Doesn't know streams, plans or what is done with what is kept.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import quoted

WIDTH, GROWTH = 64, 16  # how many of the best are sorted at first, and how many times more then


class Mask(ABC):
    """A rule for which tokens stay. Subclasses are frozen dataclasses."""

    @abstractmethod
    def floor(self, reference: Tensor) -> Tensor:
        """The lowest log-probability that stays, ``[...]``; -inf if everything does.

        Args:
            reference: Log-probabilities of prompted distributions, ``[..., V]``, each normalised
                over the whole vocabulary. The columns may be a subset that holds all that will be
                kept, with -inf for what can't be.
        """


@dataclass(frozen=True)
class Plausibility(Mask):
    """Keep what has at least this share of the likeliest token's probability.

    Contrastive decoding's rule (arXiv 2210.15097).
    """

    share: float

    def __post_init__(self) -> None:
        """Refuse shares that would keep everything or nothing."""
        if not (is_finite(self.share) and 0.0 < self.share <= 1.0):
            raise ConfigurationError(
                f"plausibility must be above 0 and at most 1, not {quoted(self.share)}: leave "
                "the mask out to keep all tokens."
            )

    def floor(self, reference: Tensor) -> Tensor:
        """The share of the maximum."""
        return reference.amax(-1) + math.log(self.share)


@dataclass(frozen=True)
class TopP(Mask):
    """Keep the fewest of the likeliest tokens that together reach this probability.

    Where a grammar leaves less than that, all that it leaves stays.
    """

    mass: float

    def __post_init__(self) -> None:
        """Refuse what no set of tokens can reach, or the empty one does."""
        if not (is_finite(self.mass) and 0.0 < self.mass < 1.0):
            raise ConfigurationError(
                f"A mask's top-p must be between 0 and 1, not {quoted(self.mass)}: leave the "
                "mask out to keep all tokens."
            )

    def floor(self, reference: Tensor) -> Tensor:
        """The log-probability of the token with which the mass is reached."""
        columns, width = reference.shape[-1], WIDTH
        while True:
            width = columns if width * GROWTH >= columns else width
            best = reference.topk(width).values
            short = (best.double().exp().cumsum(-1) < self.mass).sum(-1, keepdim=True)
            # With all columns there is nothing to ask, so that small sets don't wait for a device.
            if width == columns or bool((short < width).all()):
                break
            width *= GROWTH
        last = best.gather(-1, short.clamp(max=width - 1))
        # A grammar's subset may hold less than the mass in all.
        return last.where(short < width, -math.inf)[..., 0]


@dataclass(frozen=True)
class TopK(Mask):
    """Keep this many of the likeliest tokens."""

    count: int

    def __post_init__(self) -> None:
        """Refuse what isn't a number of tokens."""
        is_count = isinstance(self.count, int) and not isinstance(self.count, bool)
        if not (is_count and self.count >= 1):
            raise ConfigurationError(
                f"A mask's top-k must be a whole number, at least 1, not {quoted(self.count)}: "
                "leave the mask out to keep all tokens."
            )

    def floor(self, reference: Tensor) -> Tensor:
        """The log-probability of the last one kept."""
        if self.count >= reference.shape[-1]:
            return torch.full_like(reference[..., 0], -math.inf)
        return reference.topk(self.count).values[..., -1]


BUILT_IN = (Plausibility, TopP, TopK)
"""The masks that can be trusted with several distributions at once."""
