"""Tokens that are to be chosen: how, from which rows, and with what random numbers.

A `Choice` stays the same from step to step, so its tensors are made once for many steps
(`ChoiceBatch`); a `TokenDraw` is one step's.

Knows plans, settings and rows of tensors. Doesn't know requests, models, or how a token is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.engine.transfers import rectangle, to_device
from langchain_amulet.sampling import SamplingBatch, SamplingParams
from langchain_amulet.steering import Plan, PlanBatch


@dataclass(frozen=True)
class Choice:
    """How a request's token is chosen, and from which rows.

    Attributes:
        plan: How the streams are combined.
        sampling: How a token is drawn from what comes of it.
        is_traced: Whether tokens carry a ``Trace``.
        rows: Where the streams are in the step's pool of log-probabilities.
        candidates: Where the candidates of each part of the plan's reference are among the step's
            candidates; none if these aren't known, or are no bound.
    """

    plan: Plan
    sampling: SamplingParams
    is_traced: bool
    rows: tuple[int, ...]
    candidates: tuple[int, ...] = ()


@dataclass(frozen=True)
class TokenDraw:
    """One token to be drawn.

    Attributes:
        choice: How.
        uniform: A number in [0, 1).
        seen: Tokens to which penalties apply.
        allowed: What may be drawn, bool ``[vocabulary]``; None for everything.
        barred: What may not, besides.
    """

    choice: Choice
    uniform: float
    seen: Sequence[int] = ()
    allowed: Tensor | None = None
    barred: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ChoiceBatch:
    """Several choices as tensors on the model's device.

    Attributes:
        choices: What they are.
        plans: How they steer.
        sampling: How they draw.
        rows: All rows that each one reads, ``[N, S]``; the first one again where there are fewer.
        candidates: See `Choice`, ``[N, R]``, likewise; None where they aren't known.
        bases: The row of each plan's base stream, ``[N]``; any row where there is none.
        most_top_logprobs: The most alternatives that any of them reports.
    """

    choices: tuple[Choice, ...]
    plans: PlanBatch
    sampling: SamplingBatch
    rows: Tensor
    candidates: Tensor | None
    bases: Tensor
    most_top_logprobs: int

    @classmethod
    def of(cls, choices: Sequence[Choice], device: torch.device) -> ChoiceBatch:
        """Put them side by side."""
        plans = [choice.plan for choice in choices]
        bases = [choice.rows[choice.plan.base or 0] for choice in choices]
        is_known = all(choice.candidates for choice in choices)
        return cls(
            choices=tuple(choices),
            plans=PlanBatch.of(plans, [choice.rows for choice in choices], device),
            sampling=SamplingBatch.of([choice.sampling for choice in choices], device),
            rows=rectangle([choice.rows for choice in choices], device),
            candidates=rectangle([choice.candidates for choice in choices], device)
            if is_known
            else None,
            bases=to_device(bases, torch.int64, device),
            most_top_logprobs=max(choice.sampling.top_logprobs or 0 for choice in choices),
        )
