"""Texts before which an answer ends, looked for while it comes in pieces.

This module knows texts: nothing of tokens, or of what is said, thought or called.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_amulet.chat_formats.regions import unsettled


class StopStrings:
    """A filter on a text that comes in pieces: passes on what comes before any stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Watch for ``stops``, all of them non-empty."""
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    @property
    def held(self) -> int:
        """How many characters are held back."""
        return len(self._held)

    def feed(self, text: str) -> str:
        """Add text; returns what certainly comes before a stop string."""
        if not self._stops or self.found:
            return "" if self.found else text
        self._held += text
        start = self._first_to_end()
        self.found = start is not None
        shown = start if start is not None else len(self._held) - unsettled(self._held, self._stops)
        passed, self._held = self._held[:shown], self._held[shown:]
        return passed

    def flush(self) -> str:
        """End the text; returns what was held back, unless a stop string was found."""
        held, self._held = self._held, ""
        return "" if self.found else held

    def _first_to_end(self) -> int | None:
        """Where the stop string starts that is complete first, of several the longest."""
        starts = [(self._held.find(stop), len(stop)) for stop in self._stops]
        spans = [(start + length, start) for start, length in starts if start >= 0]
        return min(spans)[1] if spans else None
