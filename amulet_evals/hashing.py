"""Numbers that look drawn and are the same in every run, on every machine.

This module knows nothing of what they are for.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(*parts: Any) -> str:
    """A name of 16 hexadecimal digits for these parts, which JSON can say, in this order."""
    text = json.dumps(parts, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def number(*parts: Any) -> int:
    """A whole number below 2 ** 63 for these parts in this order."""
    return int(digest(*parts), 16) >> 1
