"""What an error may say: of a value, of a place in data, of another error, of what was meant.

Errors end up in logs, so none quotes what may be somebody's words. Doesn't know what is refused.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from difflib import get_close_matches

NAME = re.compile("[!-~]{0,60}")
"""What may be a name, a number or a path in writing, and is no sentence."""

FEW = 8
"""How many values of a list or a dict are shown, and how many of its faults told."""

MOST_DIGITS = 60
"""How many digits of a whole number are shown."""

LONGEST_NAME = 200
"""How many characters what may be meant for a name has at most, as each is looked at."""


def quoted(value: object, depth: int = 3) -> str:
    """A wrong value as an error may show it: numbers and names, but no words.

    A preference or a message may stand where it doesn't belong and be refused there, and errors end
    up in logs. Of what may be one only the kind is told.

    Args:
        value: The value.
        depth: How far into lists and dicts is looked, which may hold themselves.
    """
    try:
        return _quoted(value, depth)
    except Exception:  # whatever a class of the caller's raises where it is looked at
        return f"this {type(value).__name__}"


def dotted(place: Iterable[object]) -> str:
    """A place within data as an error may show it: names and numbers with dots between, no words.

    Args:
        place: The keys that lead there.
    """
    keys = map(str, place)
    return ".".join(
        key if NAME.fullmatch(key) else f"[a text of {len(key)} characters]" for key in keys
    )


def message_of(error: object) -> str:
    """What an error says, in a line without a full stop; its kind where it says nothing.

    For what is raised by code that was given no user's words: libraries that load models, a
    program's own signatures and modules. For all other code see `kind_of`.
    """
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def kind_of(error: BaseException) -> str:
    """What an error is, with the code that its library has for it, and nothing of what it says.

    For what is raised by code that was given a user's words, such as a store, a resolver or a
    matcher: it may quote them. Raise ``from None`` besides, or the trace would; Python keeps the
    original as the ``__context__`` of what is raised, for a debugger.
    """
    number = getattr(error, "errno", None)
    codes = (
        getattr(error, "sqlite_errorname", None),
        getattr(error, "sqlstate", None),
        errno.errorcode.get(number) if isinstance(number, int) else None,
    )
    name = type(error).__qualname__
    return next((f"{name} ({code})" for code in codes if isinstance(code, str)), name)


def nearest(name: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known name that an unknown one was probably meant for; None if there is none.

    Capitals make no difference.

    Args:
        name: The unknown name.
        known: The names that there are.
        least: How alike they must be, from 0 to 1. Where something is wrong for certain, a far
            guess helps; where it may be right, only a near one is worth mentioning.
    """
    if len(name) > LONGEST_NAME:
        return None
    folded = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), list(folded), n=1, cutoff=least)
    return folded[close[0]] if close else None


def choose(name: str, known: Iterable[str]) -> str:
    """The beginning of the remedy for an unknown name: which one to use, or to use one at all."""
    close = nearest(name, known)
    return f"did you mean {close!r}? Use" if close else "use"


def _quoted(value: object, depth: int) -> str:
    if isinstance(value, str):
        is_name = NAME.fullmatch(value) is not None
        return repr(value) if is_name else f"this text of {len(value)} characters"
    if isinstance(value, (list, tuple, dict)) and len(value) <= FEW and depth:
        inner = [quoted(each, depth - 1) for each in value]
        if not isinstance(value, dict):
            return f"[{', '.join(inner)}]"
        held = (quoted(each, depth - 1) for each in value.values())
        pairs = zip(inner, held, strict=True)
        return f"{{{', '.join(f'{key}: {each}' for key, each in pairs)}}}"
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"this whole number of more than {MOST_DIGITS} digits"
    if value is None or isinstance(value, (int, float, type)):
        return repr(value)
    return f"this {type(value).__name__}"
