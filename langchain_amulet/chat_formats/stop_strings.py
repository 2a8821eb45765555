"""Texts before which an answer ends, looked for while it comes in pieces.

This module knows texts: nothing of tokens, or of what is said, thought or called.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_amulet.chat_formats.regions import unsettled


class StopStrings:
    """A filter on a text that comes in pieces: passes on what comes before any stop string.

    Attributes:
        found: Whether there was a stop string, after which nothing is passed on.
        cut: How many characters won't be passed on, those of the stop string included.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Watch for ``stops``, all of them non-empty."""
        self._stops = tuple(stops)
        self._held = ""
        self.found = False
        self.cut = 0

    def feed(self, text: str) -> str:
        """Add text; returns what certainly comes before a stop string."""
        if self.found:
            self.cut += len(text)
            return ""
        if not self._stops:
            return text
        self._held += text
        start = self._first_to_end()
        if start is not None:
            self.found, self.cut = True, len(self._held) - start
            return self._pass_on(start)
        return self._pass_on(len(self._held) - unsettled(self._held, self._stops))

    def flush(self) -> str:
        """End the text; returns what was held back, unless a stop string was found."""
        return "" if self.found else self._pass_on(len(self._held))

    def _pass_on(self, size: int) -> str:
        passed, self._held = self._held[:size], self._held[size:]
        return passed

    def _first_to_end(self) -> int | None:
        """Where the stop string starts that is complete first, of several the longest."""
        starts = [(self._held.find(stop), len(stop)) for stop in self._stops]
        spans = [(start + length, start) for start, length in starts if start >= 0]
        return min(spans)[1] if spans else None
