"""One way to refuse a setting.

Knows nothing of what is set.
"""

from __future__ import annotations

from langchain_amulet.errors import ConfigurationError


def require(holds: bool, message: str) -> None:
    """Raise `ConfigurationError` with ``message`` unless ``holds``."""
    if not holds:
        raise ConfigurationError(message)
