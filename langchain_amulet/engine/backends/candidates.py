"""Which tokens a step's choices will fall on: the best ones of a few combinations of logits rows.

Knows logits and the queries over them. Doesn't know plans or what is done with what is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from langchain_amulet.engine.backends.base import CandidateQuery
from langchain_amulet.engine.transfers import rectangle, to_device

CANDIDATES = 64
"""How many tokens are sought for each query."""


def best(logits: Tensor, queries: Sequence[CandidateQuery]) -> Tensor:
    """The best token ids of each query, ``[queries, k]``.

    A query reads its own rows only, so that what isn't a number in others can't reach it.
    """
    rows = rectangle([[row for row, _ in query] for query in queries], logits.device)
    sums = logits[rows[:, 0]]
    longest = rows.shape[1]
    if longest > 1:
        weights = to_device(
            [
                [*(weight for _, weight in query), *[0.0] * (longest - len(query))]
                for query in queries
            ],
            logits.dtype,
            logits.device,
        )
        sums = sums * weights[:, :1]
        for place in range(1, longest):
            sums = sums + logits[rows[:, place]] * weights[:, place, None]
    return sums.topk(min(CANDIDATES, logits.shape[-1])).indices
