"""What a server says of a token, in the logits of the rows that decode it.

A server in several processes has one way back to its clients: the logit of each row's token, and
those of a few others. So a token's rows are overwritten, each with `IMPOSSIBLE` but for::

    row 0   the token: its probability; the alternatives: their log-probabilities
    row 1   the token: the divergence of the steered distribution from the prompted one
    row 2   the token: how far the contrasts agree, or `UNKNOWN`

A probability is above 0 and a log-probability at most 0, so the token is the largest of row 0,
whatever the alternatives are, and is what greedy sampling takes. A token with another value isn't
one that was steered: the server says what went wrong, by a `TokenFailure`, or it doesn't steer.

Knows tokens and numbers. Doesn't know tensors, servers or how either travels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum

from langchain_amulet.engine.request import Token
from langchain_amulet.errors import GenerationError

IMPOSSIBLE = -math.inf
LEAST = 1e-37
"""Stands for probabilities that float32 would round to 0."""

UNKNOWN = 2.0
"""Stands for an agreement that can't be said; others are between -1 and 1."""

ABSENT = -9998.0
"""Values below this are vLLM's way to write `IMPOSSIBLE`."""


REFUSED, GIVEN_UP = "amulet refused: ", "amulet gave up: "
"""How the reasons begin for which a server's scheduler ends an answer, the first before it begins;
they come as vLLM's ``stop_reason``."""

TOKENIZER = f"{REFUSED}A server decodes prompts of its own tokenizer, which has "
"""How a request of other tokens is refused: before the `fingerprint` of the server's, by which a
client finds out what that is."""

CACHED = "amulet cached: "
"""What comes there at the end of each row of a whole answer: before the number of its prompt's
tokens that weren't computed, of which vLLM tells that of one row alone."""


class TokenFailure(IntEnum):
    """Why there is no token; each as the negative value of all rows."""

    LOCKSTEP = 1
    NO_DISTRIBUTION = 2
    OTHER = 3
    GRAMMAR = 4


EXPLAINED: Mapping[float, str] = {
    TokenFailure.LOCKSTEP: "its streams lost step: one of them was left out of a pass, which the "
    "group scheduler never does. Start the server by langchain-amulet-vllm",
    TokenFailure.NO_DISTRIBUTION: "a stream's logits are no distribution, or nothing is left to "
    "choose. Check the weights, or use dtype float32 or bfloat16",
    TokenFailure.OTHER: "the server failed to choose it. Its log says why",
    TokenFailure.GRAMMAR: "the server can't hold it to the answer's grammar, though this process "
    "can. Its log says why; use releases of llguidance that are near each other",
}


def rows_of(token: Token, streams: int) -> list[dict[int, float]]:
    """The values of each row, by token id, for a token that was chosen."""
    likeliest = {other: value for other, value in token.top_logprobs if value > ABSENT}
    agreement = UNKNOWN if token.agreement is None else token.agreement
    facts = [min(token.kl, 1e30), agreement, *[0.0] * streams]
    first = {**likeliest, token.id: max(math.exp(token.logprob), LEAST)}
    return [first, *({token.id: fact} for fact in facts[: streams - 1])]


def failed_rows(failure: TokenFailure, token: int, streams: int) -> list[dict[int, float]]:
    """The values of each row where there is no token; ``token`` stands in for it."""
    return [{token: -float(failure)}] * streams


def token_of(ids: Sequence[int], values: Sequence[float], others: Mapping[int, float]) -> Token:
    """The token that all rows say.

    Args:
        ids: What each row's token is.
        values: Its value in each row.
        others: Further values of row 0.

    Raises:
        GenerationError: They don't say one token that was steered.
    """
    # A failure is in all rows, but rows that lost step say it one after the other.
    if (failure := EXPLAINED.get(-min(values[:2]))) is not None:
        raise GenerationError(
            f"A token must be steered or not given, and this one isn't given: {failure}."
        )
    if len({*ids}) > 1 or not LEAST / 2 <= values[0] <= 1.0 + 1e-6:
        raise GenerationError(
            "A token must be steered or not given, but the server gave one that isn't: it doesn't "
            "steer. Start it by langchain-amulet-vllm, of this package's release."
        )
    logprob = min(math.log(values[0]), 0.0)
    known = {other: value for other, value in others.items() if value > ABSENT} | {ids[0]: logprob}
    has_agreement = len(values) > 2 and abs(values[2]) <= 1.0
    return Token(
        id=ids[0],
        logprob=logprob,
        top_logprobs=tuple(sorted(known.items(), key=lambda each: -each[1])),
        kl=values[1] if len(values) > 1 else 0.0,
        agreement=values[2] if has_agreement else None,
    )
