"""A token of a trace, and how far steering moved it.

This module knows the entries of ``response_metadata["trace"]``: nothing of how they are made, or
where they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

# Nats by which steering raised (or lowered) the chosen token's log-probability over the
# prompted one, and the style a token is shown in from there on.
SHADES = ((0.0, "default"), (0.1, "cyan"), (0.7, "yellow"), (1.6, "bold magenta"))

TraceEntry = Mapping[str, Any]


def moved(entry: TraceEntry) -> float:
    """Log p(steered) - log p(prompt only) of a chosen token, in nats.

    Args:
        entry: A token of a trace, with the probabilities ``pref`` and ``steered``.
    """
    tiny = 1e-30  # a token that the prompt alone rules out was moved a long way, not infinitely
    return math.log(max(entry["steered"], tiny)) - math.log(max(entry["pref"], tiny))


def shade(nats: float) -> str:
    """The rich style of a token that was moved by so many nats, up or down."""
    return next(style for least, style in reversed(SHADES) if abs(nats) >= least)
