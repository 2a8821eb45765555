"""A grammar compiled once, for all answers under it, and anew where that breaks down.

Copies of a matcher share what was found out of the texts that they read, so that one knows at once
what another has met. That grows with each length of a text whose characters are counted, and a
matcher allows it so much room. Beyond, none of the copies takes anything any more.

This module knows matchers: nothing of what is matched.
"""

from __future__ import annotations

from collections.abc import Callable

from llguidance import LLMatcher


class SharedMatcher:
    """A grammar at its start. Safe to share between threads."""

    def __init__(self, compiled: Callable[[], LLMatcher]) -> None:
        """Compile it.

        Args:
            compiled: Makes a matcher that shares nothing with those before.
        """
        self._compiled = compiled
        self._matcher = compiled()

    def copy(self) -> LLMatcher:
        """A matcher for one answer, which may have broken down."""
        return self._matcher.deep_copy()

    def renewed(self) -> LLMatcher:
        """The same after one has, for this answer and those to come."""
        self._matcher = self._compiled()
        return self.copy()
