"""How an answer in JSON is brought to its end in few tokens, before there are none left.

This module knows characters of JSON: nothing of schemas, tokenizers or models.
"""

from __future__ import annotations

from dataclasses import dataclass

OUTSIDE = b'}],:"ntf0123456789eulrsa.- '
"""Between strings, what to write first: ends, then what leads to one; brackets open last."""

INSIDE = b'"0123456789abcdefghijklmnopqrstuvwxyz-:.@/TZ'
"""Within a string, what to write first: its end, then what formats and patterns ask for."""


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

    @property
    def preferred(self) -> bytes:
        """Characters that bring the end nearer, best first."""
        return INSIDE if self.in_string else OUTSIDE
