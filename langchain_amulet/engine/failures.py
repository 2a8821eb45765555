"""What failed while a request was decoded, as an error of the package with what to do about it.

Knows errors. Doesn't know requests, or what was done when they were raised.
"""

from __future__ import annotations

from collections.abc import Iterable

from langchain_amulet.engine.backends.halving import is_out_of_memory
from langchain_amulet.errors import AmuletError, GenerationError
from langchain_amulet.validation.wording import message_of


def as_failure(error: BaseException, sharers: int = 1) -> AmuletError:
    """The error itself if it is ours, else ours with the other as its cause.

    Args:
        error: What was raised.
        sharers: How many requests fail with it.
    """
    if isinstance(error, AmuletError):
        return error
    others = "The other requests go on" if sharers < 2 else f"So did {sharers - 1} beside it"
    remedy = (
        "ask for a shorter one, let fewer run at a time (max_rows), or give the model more memory"
        if is_out_of_memory(error)
        else "submit this one again once the cause is gone"
    )
    failure = GenerationError(
        f"The request failed while it was decoded: {type(error).__name__}: {message_of(error)}. "
        f"{others}; {remedy}."
    )
    failure.__cause__ = error
    return failure


def sharers_of(error: BaseException, found: Iterable[object]) -> int:
    """How many requests failed with this error, of those of which this was found."""
    return sum(each is error for each in found)
