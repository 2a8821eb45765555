"""One token by a sampler of its own, for tests of what a single request is given."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from langchain_amulet.engine import Request, Token
from langchain_amulet.engine.choices import Choice, TokenDraw
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.token_program import StepLogprobs


def token_draw(
    request: Request,
    uniform: float,
    candidates: Tensor | None = None,
    seen: Sequence[int] = (),
    first: int = 0,
) -> TokenDraw:
    """How a request's token is drawn whose streams begin at this row of the pool.

    Args:
        request: Plan, sampling and constraint.
        uniform: A number in [0, 1).
        candidates: The best token ids of each reference stream, ``[references, k]``, if known.
        seen: Tokens to which penalties apply.
        first: The first row of its streams, and of its candidates.
    """
    rows = tuple(range(first, first + len(request.prompts)))
    is_bounded = candidates is not None and request.plan.mask is not None
    places = range(len(request.plan.reference)) if is_bounded else ()
    choice = Choice(request.plan, request.sampling, request.trace, rows, tuple(places))
    constraint = request.constraint
    allowed = None if constraint is None else constraint.allowed()
    return TokenDraw(choice, uniform, seen, allowed)


def next_token(
    request: Request,
    logprobs: Tensor,
    candidates: Tensor | None,
    seen: Sequence[int],
    uniform: float,
) -> Token:
    """The next token of a request alone, from ``logprobs`` [streams, vocabulary]."""
    draw = token_draw(request, uniform, candidates, seen)
    (token,) = Sampler().draw(StepLogprobs(logprobs, candidates), [draw])
    if isinstance(token, BaseException):
        raise token
    return token
