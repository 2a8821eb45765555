"""What llguidance says is wrong with a grammar, in a line.

Its errors are texts of several lines, and only texts: this is the one place that knows how they are
laid out, in the releases from 1.3 to 1.9. What is laid out in another way is told whole.

This module knows llguidance's words: nothing of schemas.
"""

from __future__ import annotations

import re

_WRAPPED = re.compile(r"at \d+\(\d+\): failed to compile JSON schema:(.+?)\n *\d+ \|", re.DOTALL)
"""How it says where in a grammar a schema stands, why it isn't taken, and what it is, once more."""

_POINTER = re.compile(r"[\s^]*")
"""A line that points at something in the line above, which it can't in one line."""


def reason_of(said: str) -> str:
    """The reason for an error.

    Args:
        said: What llguidance says of it.
    """
    wrapped = _WRAPPED.match(said)
    lines = (wrapped[1] if wrapped else said).splitlines()
    reason = ", ".join(line.strip() for line in lines if not _POINTER.fullmatch(line))
    return reason.replace(":, ", ": ")
