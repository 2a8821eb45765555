"""Intervals for means and paired differences, by resampling questions.

This module knows numbers: nothing of what they measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL, RESAMPLES, SEED = 0.95, 2_000, 0
BLOCK = 2**22
"""How many drawn questions are held in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """Where a mean lies, as far as other questions of the same kind would have moved it."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """Both, the lower first."""
        return self.low, self.high


def interval(
    values: Floats, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval | None:
    """The percentile interval of the mean of ``values`` (Efron 1979).

    For a paired comparison give the differences, question by question.

    Args:
        values: One number per question; NaN where there is none, which counts for nothing.
        level: Share of the resampled means that lie within it.
        resamples: How many means are resampled.
        seed: Makes it repeatable.

    Returns:
        None where there are fewer than two numbers to draw from.
    """
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return None
    means = resampled_means(known, resamples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Means of as many draws with replacement from ``values`` as there are values."""
    draws = np.random.default_rng(seed)
    size = max(1, BLOCK // len(values))
    blocks = [min(size, resamples - start) for start in range(0, resamples, size)]
    return np.concatenate(
        [values[draws.integers(len(values), size=(block, len(values)))].mean(1) for block in blocks]
    )
