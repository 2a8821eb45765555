"""Why a part of a schema can't be held, in words of our own, with what to write instead.

This module knows what llguidance says, and which keywords it says that of: nothing of how the part
was found, or of grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from langchain_amulet.grammar.smallest_fault import Fault

LONGEST = 60
"""From how many characters on a keyword's value isn't told whole."""

OWN = "put what it means into $defs, and refer to it as in #/$defs/name"

WORDS = (
    (
        r"Unsatisfiable schema|Unimplemented keys: \[\"not\"\]|only supported when all keys",
        "no value is valid by {what} at {place}: loosen {one}",
    ),
    (
        "does not exist|must be an object or boolean",
        f"{{$ref}} at {{place}} leads to no schema: {OWN}",
    ),
    (
        "not present in a registry",
        f"{{$ref}} at {{place}} leads elsewhere, where nothing is read: {OWN}",
    ),
    ("Invalid URI", f"{{$ref}} at {{place}} can't be read as a reference: {OWN}"),
    (
        "circular references",
        "{$ref} at {place} leads back to itself with more asked beside it: leave one of them out",
    ),
    (
        "too many digits",
        "{multipleOf} at {place} has more digits than can be counted with: round it",
    ),
    (
        "schema too large|level exceeded",
        "{what} at {place} has more cases than can be told apart: ask for fewer",
    ),
    (
        "recursion limit",
        "it nests deeper than can be read: put parts of it into $defs, and refer to them",
    ),
)
"""What llguidance says, and what we do. ``{what}`` is all that the part asks, with its values."""


def words_for(fault: Fault) -> str:
    """Which part of a schema it is, and what to write instead; empty where nobody knows."""
    words = next((words for said, words in WORDS if re.search(said, fault.reason)), "")
    asked = {key: f"{key} {_written(value)}" for key, value in fault.part.items()}
    what = _listed([*asked.values()])
    known = {
        **asked,
        "what": what,
        "one": "it" if len(asked) == 1 else "one of them",
        "place": fault.place,
    }
    return re.sub(r"\{(\S+?)\}", lambda name: known.get(name[1], what), words)


def _listed(told: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))


def _written(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False)
    return written if len(written) <= LONGEST else f"{written[:LONGEST]}…"
