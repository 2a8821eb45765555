"""What becomes of a lookup that failed: an error, or no preferences and a warning.

This module doesn't know what was looked up.
"""

from __future__ import annotations

import warnings
from threading import Lock
from types import TracebackType
from typing import Literal

from langchain_amulet.errors import (
    ConfigurationError,
    CorruptProfileError,
    PreferenceStoreError,
    PreferenceWarning,
)

OnFailure = Literal["raise", "ignore"]


class FailurePolicy:
    """A context that ends quietly if the store failed, where the program chose so.

    Args:
        on_store_error: What becomes of a store that fails.
        on_corrupt: What becomes of a record that can't be read.

    Raises:
        ConfigurationError: One of them is neither "raise" nor "ignore".
    """

    def __init__(self, on_store_error: OnFailure, on_corrupt: OnFailure) -> None:
        """Nothing failed yet."""
        for name, choice in (("on_store_error", on_store_error), ("on_corrupt", on_corrupt)):
            if choice not in ("raise", "ignore"):
                raise ConfigurationError(
                    f"{name} must be 'raise' or 'ignore', not {choice!r}: use one of those."
                )
        self._on_store_error = on_store_error
        self._on_corrupt = on_corrupt
        self._lock = Lock()
        self.failures = 0
        """How often something was left out."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Whether the block's failure is forgiven."""
        forgiven = isinstance(error, PreferenceStoreError) and self._on_store_error == "ignore"
        if forgiven:
            self._warn(f"An answer goes without stored preferences: {error}")
        return forgiven

    def complain(self, error: CorruptProfileError) -> None:
        """Raise it, or warn that it is left out."""
        if self._on_corrupt == "raise":
            raise error
        self._warn(f"A record is left out: {error}")

    def _warn(self, message: str) -> None:
        with self._lock:
            self.failures += 1
        warnings.warn(message, PreferenceWarning, stacklevel=3)
