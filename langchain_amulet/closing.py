"""How an answer in JSON is brought to its end in few tokens, before there are none left.

This module knows characters of JSON: nothing of schemas, tokenizers or models.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

OUTSIDE = b',:"ntf0123456789eulrsa.- [{'
"""Between strings, what to write where nothing can be closed; brackets open last."""

INSIDE = b"@.:-PT0123456789DZabcdefghijklmnopqrstuvwxyz/ABCDEFGHIJKLMNOQRSUVWXY"
"""Within a string, what to write where it can't be closed: what formats and patterns ask for."""


@dataclass(frozen=True)
class JsonPlace:
    """Where in a JSON text one is: within a string or between strings."""

    in_string: bool = False
    escaped: bool = False

    def after(self, text: bytes) -> JsonPlace:
        """The place once ``text`` is written."""
        in_string, escaped = self.in_string, self.escaped
        for character in text:
            if not in_string:
                in_string = character == ord('"')
            elif escaped:
                escaped = False
            elif character == ord("\\"):
                escaped = True
            else:
                in_string = character != ord('"')
        return JsonPlace(in_string, escaped)

    def preferred(self, used: Counter[int]) -> bytes:
        """Characters that bring the end nearer, best first.

        Args:
            used: How often each was written on the way. What wasn't comes first, so that no
                pattern is waited for with the same character for ever.
        """
        closing, others = (b'"', INSIDE) if self.in_string else (b"}]", OUTSIDE)
        return closing + bytes(sorted(others, key=lambda character: used[int(character)]))
