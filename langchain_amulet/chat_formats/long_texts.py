"""Texts far longer than a model reads, told as such in little time.

To tokenise a text takes time that grows with its length, with some tokenizers and texts faster than
that, and who waits for it can't be let go. In slices of a bounded length it grows with the length
alone, and ends as soon as one is sure.

Knows tokenizers. Doesn't know conversations or templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CHARACTERS_PER_TOKEN = 8
"""Where a limit has fewer tokens than a text has characters by this, it is looked at."""

SLICE = 4096
"""How many characters are tokenised at a time, which no tokenizer takes long for."""

SLACK = 16
"""How many tokens more a text may have for being cut at one place."""


def is_longer(tokenizer: Any, text: str, limit: int) -> bool:
    """Whether a text has more tokens than a limit for certain; near it, that isn't found out."""
    if len(text) <= limit * CHARACTERS_PER_TOKEN:
        return False
    tokens = 0
    for part in slices(text):
        ids = tokenizer.encode(part, add_special_tokens=False, verbose=False)
        tokens += max(len(ids) - SLACK, 0)
        if tokens > limit:
            return True
    return False


def slices(text: str, overlap: int = 0) -> Iterator[str]:
    """All of a text in pieces, of which neighbours have so many characters in common."""
    for start in range(0, len(text), SLICE):
        # Halves of characters, which are refused elsewhere, can't be tokenised.
        part = text[start : start + SLICE + overlap]
        yield part.encode("utf-8", "replace").decode()
