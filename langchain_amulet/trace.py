"""A token of a trace, and how far steering moved it.

This module knows the entries of ``response_metadata["trace"]``: nothing of how they are made, or
where they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHADES = ((1.0, "default"), (1.1, "cyan"), (2.0, "yellow"), (5.0, "bold magenta"))
"""By what factor steering raised (or lowered) the chosen token's probability over the prompted one,
and the rich style that a token is shown in from there on."""

TraceEntry = Mapping[str, Any]


def ratio(entry: TraceEntry) -> float:
    """Probability of a chosen token after steering, over that with the prompt alone.

    What the method's mask and cap do is part of it.

    Args:
        entry: A token of a trace, with the probabilities ``pref`` and ``steered``.
    """
    tiny = 1e-30  # a token that the prompt alone rules out was moved a long way, not infinitely
    return float(max(entry["steered"], tiny) / max(entry["pref"], tiny))


def distance(ratio: float) -> float:
    """How far a ratio is from 1, up or down: itself or its inverse, whichever is larger."""
    return max(ratio, 1.0 / ratio)


def level(ratio: float) -> int:
    """The index into `SHADES` of a token whose probability changed by this ratio."""
    return sum(distance(ratio) >= least for least, _ in SHADES[1:])


def as_factor(ratio: float) -> str:
    """A ratio in writing, as in ``x1.55``."""
    return f"x{ratio:.2f}" if 0.01 <= ratio < 1000.0 else f"x{ratio:.0e}"
