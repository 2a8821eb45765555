"""One way to refuse a setting.

Knows nothing of what is set.
"""

from __future__ import annotations

import math

from langchain_amulet.errors import ConfigurationError


def require(holds: bool, message: str) -> None:
    """Raise `ConfigurationError` with ``message`` unless ``holds``."""
    if not holds:
        raise ConfigurationError(message)


def is_finite(value: object) -> bool:
    """Whether it is a number that one can calculate with."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)
