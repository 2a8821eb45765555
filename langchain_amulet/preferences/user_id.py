"""What can be a user's id, wherever it is given: to tell one user from all others, in any store.

This module knows ids and their names: nothing of where calls find them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from langchain_amulet.errors import PreferenceError
from langchain_amulet.validation.wording import nearest, quoted

USER = "user_id"
"""The name under which a call carries its user."""

USER_ID_BYTES = 256

CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Those that nobody can see, and halves of characters (Unicode's Cc and Cs)."""

SHORTER = ("user", "uid")
"""What else users' ids are called; it may mean something else, too."""


def is_user_id(text: str) -> bool:
    """Whether this may be a user's id: other programs' keys may be anything."""
    try:
        check_user_id(text)
    except PreferenceError:
        return False
    return True


def check_user_id(user_id: object) -> None:
    """Refuse what can't tell a user from all others, in any store.

    Raises:
        PreferenceError: It isn't a text, or is empty, too long or unprintable.
    """
    if not isinstance(user_id, str):
        raise PreferenceError(
            f"A user's id must be a text, but {quoted(user_id)} is of type "
            f"{type(user_id).__name__}: use str() if this is one."
        )
    if not user_id.strip() or CONTROL_CHARACTERS.search(user_id):
        raise PreferenceError(
            "A user's id must have something to read and no control characters, not "
            f"{quoted(user_id)}: leave it out for no preference."
        )
    if len(user_id.encode()) > USER_ID_BYTES:
        raise PreferenceError(
            f"A user's id may have at most {USER_ID_BYTES} bytes, but {user_id[:40]!r}... has "
            f"{len(user_id.encode())}: use a shorter one, such as a hash of it."
        )


def nearly_user(given: Mapping[str, object]) -> str | None:
    """The name under which a user's id was probably given, where none is right; None for none."""
    for name, value in given.items():
        folded = str(name).casefold()
        is_id = isinstance(value, (str, int)) and not isinstance(value, bool)
        is_near = folded[:2] == USER[:2] and nearest(folded, [USER], least=0.8) is not None
        if is_near or (folded in SHORTER and is_id):
            return name
    return None
