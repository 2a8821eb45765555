"""Where in a JSON text one is, and what to write there to come to its end soon.

This module knows characters of JSON: nothing of schemas, tokens or models.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

QUOTE, BACKSLASH = b'"', b"\\"

BETWEEN = b"}],:"
"""Between strings, what ends a value, or leads on to what must still come."""

VALUES = b'0123456789ntf"-.eEulrsa [{'
"""Between strings, what else to write; brackets open last."""

WITHIN = (
    b"@Z.:-PT0123456789Dabcdefghijklmnopqrstuvwxyz/ABCEFGHIJKLMNOQRSUVWXY %_,+#&()=;!?*'$[]{}<>|^~`"
)
"""Within a string, what to write where it can't be closed: what formats and patterns wait for."""

NO_JSON = bytes({*range(256)} - {*BETWEEN + VALUES + b"+\n\t\r"})
"""Between strings, what isn't JSON, but some other text of a grammar."""

FREE = bytes(sorted((BETWEEN + VALUES + WITHIN + b"\n\t\\"), key=lambda each: chr(each).isalnum()))
"""In such a text, what to write: what mostly ends a part of it comes first."""


@dataclass(frozen=True)
class JsonPosition:
    """Where in a JSON text one is.

    Attributes:
        in_string: Whether that is within a string.
        escaped: Whether a backslash stands right before, within a string.
        brackets: Those that are open.
        is_name: Whether the string that is or comes next is the name of a property.
    """

    in_string: bool = False
    escaped: bool = False
    brackets: bytes = b""
    is_name: bool = False

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        return len(self.brackets)

    def after(self, text: bytes) -> JsonPosition:
        """The place once ``text`` is written."""
        is_inside = self.in_string and not self.escaped
        if is_inside and QUOTE not in text and BACKSLASH not in text:
            return self  # a text may go on for thousands of characters
        place = self
        for character in text:
            place = place._next(character)
        return place

    def preferred(self, used: Counter[int]) -> bytes:
        """Characters that bring the end nearer, best first.

        Args:
            used: How often each was written since the last quotation mark. What wasn't comes
                first, so that no pattern is waited for with the same character for ever.
        """
        closing, others = (QUOTE, WITHIN) if self.in_string else (BETWEEN, VALUES)
        return closing + bytes(sorted(others, key=lambda character: used[int(character)]))

    def _next(self, character: int) -> JsonPosition:
        if self.escaped:
            return replace(self, escaped=False)
        if character in QUOTE:
            return replace(self, in_string=not self.in_string)
        if self.in_string:
            return replace(self, escaped=True) if character in BACKSLASH else self
        return self._between(bytes([character]))

    def _between(self, character: bytes) -> JsonPosition:
        if character in (b"{", b"["):
            return replace(self, brackets=self.brackets + character, is_name=character == b"{")
        if character in (b"}", b"]"):
            return replace(self, brackets=self.brackets[:-1], is_name=False)
        if character == b",":
            return replace(self, is_name=self.brackets.endswith(b"{"))
        return replace(self, is_name=False) if character == b":" else self
