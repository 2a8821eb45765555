"""Several plans side by side, as tensors: one for each of the tokens that are chosen together.

Built whenever requests join, leave or change their plan, and used for all steps until then. Streams
are named by their rows in a pool, which holds those of all requests.

Knows plans and where their streams are. Doesn't know what is in the pool.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.steering.masks import Mask
from langchain_amulet.steering.plan import Contrast, Plan, Solver


@dataclass(frozen=True)
class PlanBatch:
    """How several tokens are steered, one by each of N plans.

    Contrasts and references that a plan has fewer of than others weigh nothing.

    Attributes:
        anchors: The row of each plan's anchor, ``[N]``.
        counts: How many contrasts each plan has, ``[N]``.
        weights: Of the contrasts, ``[N, C]``, float64.
        plus: Their rows, ``[N, C]``.
        minus: Likewise.
        references: Rows of the parts of each plan's reference, ``[N, R]``.
        shares: Logarithms of their weights, ``[N, R]``, float64; -inf for none.
        masks: Each mask that is among them, with the plans that have it; None for all plans.
        capped: The plans that have a cap, ``[K]``; None if none has.
        caps: Their caps, ``[K]``, float64.
        layered: The plans with several contrasts, ``[L]``; None if none has.
        beginnings: The row from which each contrast leads away, with all that it stands on,
            ``[N, C]``.
        solvers: The plans with a solver: which it is, the solver, and its base's row.
        is_plain: Whether none of them steers or masks.
    """

    anchors: Tensor
    counts: Tensor
    weights: Tensor
    plus: Tensor
    minus: Tensor
    references: Tensor
    shares: Tensor
    masks: tuple[tuple[Mask, Tensor | None], ...]
    capped: Tensor | None
    caps: Tensor
    layered: Tensor | None
    beginnings: Tensor
    solvers: tuple[tuple[int, Solver, int], ...]
    is_plain: bool

    @classmethod
    def of(
        cls,
        plans: Sequence[Plan],
        rows: Sequence[Sequence[int]],
        device: torch.device | str = "cpu",
    ) -> PlanBatch:
        """Put plans side by side.

        Args:
            plans: At least one.
            rows: For each, the rows of its streams in the pool, in their order.
            device: Where the pool is.
        """
        pairs = list(zip(plans, rows, strict=True))
        contrasts = [_contrast_rows(plan, own) for plan, own in pairs]
        parts = [
            [(own[stream], math.log(weight)) for stream, weight in plan.reference]
            for plan, own in pairs
        ]
        anchors = [own[plan.anchor] for plan, own in pairs]
        weights, plus, minus, beginnings = _columns(
            contrasts, [(0.0, anchor, anchor, anchor) for anchor in anchors], device
        )
        references, shares = _columns(parts, [(part[0][0], -math.inf) for part in parts], device)
        capped = [index for index, plan in enumerate(plans) if plan.kl_cap is not None]
        layered = [index for index, plan in enumerate(plans) if len(plan.contrasts) > 1]
        return cls(
            anchors=torch.tensor(anchors).to(device),
            counts=torch.tensor([len(plan.contrasts) for plan in plans]).to(device),
            weights=weights,
            plus=plus,
            minus=minus,
            references=references,
            shares=shares,
            masks=_masks(plans, device),
            capped=torch.tensor(capped).to(device) if capped else None,
            caps=torch.tensor(
                [plan.kl_cap for plan in plans if plan.kl_cap is not None], dtype=torch.float64
            ).to(device),
            layered=torch.tensor(layered).to(device) if layered else None,
            beginnings=beginnings,
            solvers=tuple(
                (index, plan.solver, own[plan.solver.base])
                for index, (plan, own) in enumerate(pairs)
                if plan.solver is not None
            ),
            is_plain=all(plan.is_plain for plan in plans),
        )


def _contrast_rows(plan: Plan, rows: Sequence[int]) -> list[tuple[float, int, int, int]]:
    """Weight, plus, minus and beginning of each contrast."""
    return [
        (each.weight, rows[each.plus], rows[each.minus], rows[_beginning(each, plan)])
        for each in plan.contrasts
    ]


def _beginning(contrast: Contrast, plan: Plan) -> int:
    """The stream from which a contrast, with all that it stands on, leads away."""
    below = {each.plus: each.minus for each in plan.contrasts}
    place = contrast.minus
    for _ in plan.contrasts:  # no further, should they lead round in a circle
        place = below.get(place, place)
    return place


def _columns(
    lists: Sequence[Sequence[tuple[float, ...]]],
    padding: Sequence[tuple[float, ...]],
    device: torch.device | str,
) -> list[Tensor]:
    """Lists of tuples of unequal length as tensors, one for each place in the tuples.

    Whole numbers become int64, others float64.
    """
    longest = max(map(len, lists))
    padded = [
        [*given, *[fill] * (longest - len(given))]
        for given, fill in zip(lists, padding, strict=True)
    ]
    columns = []
    for place, kind in enumerate(padding[0]):
        dtype = torch.float64 if isinstance(kind, float) else torch.int64
        table = [[each[place] for each in row] for row in padded]
        columns.append(torch.tensor(table, dtype=dtype).view(len(padded), longest).to(device))
    return columns


def _masks(
    plans: Sequence[Plan], device: torch.device | str
) -> tuple[tuple[Mask, Tensor | None], ...]:
    found: dict[Mask, list[int]] = {}
    for index, plan in enumerate(plans):
        if plan.mask is not None:
            found.setdefault(plan.mask, []).append(index)
    return tuple(
        (mask, None if len(having) == len(plans) else torch.tensor(having).to(device))
        for mask, having in found.items()
    )
