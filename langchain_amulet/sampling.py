"""From scores to a token: penalties, temperature, top-k, top-p, min-p, then one draw.

Draws are by inverse CDF over the candidates in order of falling score, one uniform number per
token, so that a seed means the same tokens whatever else is decoded in the same batch.

Rows are tokens to be drawn, each with settings of its own; none can change what another gives.

This module knows scores only: nothing of streams, models, requests, or where uniform numbers come
from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import quoted

HEAD = 64
"""How many of the best candidates are sorted as a rule."""

UNLIMITED = 2**62
"""Stands for no top-k in a tensor."""

MOST_TOP_LOGPROBS = 1000
"""The most alternatives that are reported of a token: each is made into Python's own numbers."""


@dataclass(frozen=True)
class SamplingParams:
    """How a token is drawn from the final scores.

    Attributes:
        temperature: Divides the scores; 0 takes the best one.
        top_k: Keep this many of the best; None for all.
        top_p: Keep the fewest of the best that together reach this probability; 1 for all.
        min_p: Keep what has at least this share of the best one's probability; 0 for all.
        repetition_penalty: Above 1 makes tokens that were seen less likely, see `penalize`.
        presence_penalty: Subtracted from the scores of tokens that were seen.
        seed: Where the uniform numbers start; None for a new start every time.
        top_logprobs: How many of the best tokens to report; None for none.

    Raises:
        ConfigurationError: A value is outside its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    seed: int | None = None
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that no draw could use."""
        self._check_number("temperature", 0.0, math.inf, "0 is greedy, 1 is usual")
        self._check_number("top_p", 0.0, 1.0, "use 1 to keep every token", open_below=True)
        self._check_number("min_p", 0.0, 1.0, "use 0 to keep every token")
        self._check_number("repetition_penalty", 0.0, math.inf, "use 1 for none", open_below=True)
        self._check_number("presence_penalty", -math.inf, math.inf, "use 0 for none")
        self._check_count("top_k", 1, "use None to keep every token")
        self._check_count("seed", 0, "use None for a new start every time")
        self._check_count("top_logprobs", 0, "use None for none", MOST_TOP_LOGPROBS)

    @property
    def is_greedy(self) -> bool:
        """Whether the best token is taken instead of a draw."""
        return self.temperature == 0.0

    @property
    def penalizes(self) -> bool:
        """Whether `penalize` has anything to do."""
        return self.repetition_penalty != 1.0 or self.presence_penalty != 0.0

    def _check_number(
        self, name: str, low: float, high: float, remedy: str, open_below: bool = False
    ) -> None:
        value = getattr(self, name)
        inside = is_finite(value) and low <= value <= high
        if not inside or (open_below and value == low):
            bounds = f", above {low:g}" if open_below else f", at least {low:g}"
            bounds += f" and at most {high:g}" if high < math.inf else ""
            bounds = bounds if low > -math.inf else ""
            raise ConfigurationError(
                f"{name} must be a finite number{bounds}, not {quoted(value)}: {remedy}."
            )

    def _check_count(self, name: str, least: int, remedy: str, most: float = math.inf) -> None:
        value = getattr(self, name)
        if value is None:
            return
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not (is_whole and least <= value <= most):
            bounds = f"at least {least}" + (f" and at most {most}" if most < math.inf else "")
            raise ConfigurationError(
                f"{name} must be a whole number, {bounds}, not {quoted(value)}: {remedy}."
            )


@dataclass(frozen=True)
class SamplingBatch:
    """How several tokens are drawn: one `SamplingParams` per row, as tensors on one device.

    Greedy is top-k of 1, at any temperature.

    Attributes:
        temperature: ``[N, 1]``, float64 like all but ``top_k``; 1 where greedy.
        top_k: ``[N, 1]``, int64; `UNLIMITED` for all.
        top_p: ``[N, 1]``.
        min_p: ``[N, 1]``.
        repetition_penalty: ``[N, 1]``.
        presence_penalty: ``[N, 1]``.
        longest_top_k: The largest top-k of those that are limited, 0 if none is.
        is_limited: Whether all have a top-k, so that nobody needs to know what lies beyond.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    repetition_penalty: Tensor
    presence_penalty: Tensor
    longest_top_k: int
    is_limited: bool

    @classmethod
    def of(
        cls, params: Sequence[SamplingParams], device: torch.device | str = "cpu"
    ) -> SamplingBatch:
        """Put them side by side."""
        top_k = [1 if each.is_greedy else each.top_k or UNLIMITED for each in params]
        limited = [limit for limit in top_k if limit < UNLIMITED]
        numbers = [
            (
                1.0 if each.is_greedy else each.temperature,
                each.top_p,
                each.min_p,
                each.repetition_penalty,
                each.presence_penalty,
            )
            for each in params
        ]
        table = torch.tensor(numbers, dtype=torch.float64).to(device)
        temperature, top_p, min_p, repetition, presence = torch.split(table, 1, dim=1)
        return cls(
            temperature=temperature,
            top_k=torch.tensor(top_k).to(device)[:, None],
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition,
            presence_penalty=presence,
            longest_top_k=max(limited, default=0),
            is_limited=len(limited) == len(top_k),
        )


@dataclass(frozen=True)
class Drawn:
    """What was drawn for each row.

    Attributes:
        index: The token's index into its row's scores, ``[N]``.
        is_settled: Whether it is the token that all scores together give, ``[N]``. If it isn't,
            the draw depends on what lies beyond the candidates that were looked at.
        is_possible: Whether anything could be drawn, ``[N]``: no score is NaN or +inf, and one at
            least is finite.
    """

    index: Tensor
    is_settled: Tensor
    is_possible: Tensor


def penalize(
    scores: Tensor, repeated: Tensor, params: SamplingBatch, vocabulary: int | None = None
) -> Tensor:
    """Lower the scores of tokens that were seen already.

    The repetition penalty (CTRL, arXiv 1909.05858) divides positive scores and multiplies
    negative ones, so it depends on where zero is. Scores here are log-probabilities up to a
    constant; zero is put at the uniform probability, 1 / vocabulary, which is about where a
    model's own logits have it. With zero at probability 1 a likely repetition would hardly be
    penalised at all.

    Args:
        scores: Unnormalised log-probabilities, ``[N, V']``; -inf stays -inf.
        repeated: Which of them count as seen, bool ``[N, V']``; which ones do is the caller's
            choice. Rows without any stay as they are.
        params: The penalties.
        vocabulary: Size of the whole vocabulary, where ``scores`` cover only part of it.

    Returns:
        Unnormalised log-probabilities, ``[N, V']``.
    """
    size = scores.shape[1] if vocabulary is None else vocabulary
    centred = scores.log_softmax(1) + math.log(size)
    factor = params.repetition_penalty.to(scores.dtype)
    penalized = torch.where(centred > 0.0, centred / factor, centred * factor)
    penalized = penalized - params.presence_penalty.to(scores.dtype)
    changed = torch.where(repeated, penalized, centred)
    return torch.where(repeated.any(1, keepdim=True), changed, scores)


def draw(scores: Tensor, params: SamplingBatch, uniforms: Tensor, width: int = HEAD) -> Drawn:
    """Draw a token for each row; penalties come before, see `penalize`.

    Only the best ``width`` scores of a row are sorted. A settled draw is exact: the same token as
    sorting all scores would give, ties in order of index, whatever the other rows hold. For the
    others there is a greater width; that of a whole row settles every draw.

    Nothing here waits for the device.

    Args:
        scores: Unnormalised log-probabilities, ``[N, V']``; -inf for what can't be drawn.
        params: Temperature, top-k, top-p and min-p, applied in that order.
        uniforms: Numbers in [0, 1), ``[N]``, float64; 0 draws the best token.
        width: How many of the best candidates are looked at.
    """
    best = _Best.of(scores, width)
    listed = best.are_possible & (best.places < params.top_k)
    count = listed.sum(1, keepdim=True)
    weights = _weights(best.scores, best.peak, params.temperature).where(listed, 0.0)
    cumulative = weights.cumsum(1)
    # Nothing further counts where these are all there are, or all that top-k leaves.
    is_whole = best.are_all | (params.top_k <= best.scores.shape[1])
    mass = cumulative[:, -1:]
    if not (params.is_limited or best.is_everything):
        whole = _weights(scores, best.peak, params.temperature).sum(1, keepdim=True)
        mass = mass.where(is_whole, whole)
    truncates = (params.top_p < 1.0) | (params.min_p > 0.0)
    kept = _count_kept(weights, cumulative, count, params.top_p * mass, params)
    is_settled = is_whole | ((params.top_k == UNLIMITED) & ~(truncates & (kept == count)))
    last = (kept - 1).clamp(min=0)
    mass = torch.where(truncates, cumulative.gather(1, last), mass)
    position = (cumulative <= uniforms[:, None] * mass).sum(1, keepdim=True)
    is_settled &= is_whole | (position < count)
    # Rounding can put the draw a hair past the last candidate.
    position = torch.minimum(position, last)
    is_settled &= ~best.may_lack_ties_of(position)
    index = best.indices.gather(1, position)
    return Drawn(index[:, 0], is_settled[:, 0], best.peak[:, 0].isfinite())


def _count_kept(
    weights: Tensor, cumulative: Tensor, count: Tensor, nucleus: Tensor, params: SamplingBatch
) -> Tensor:
    """How many of each row's ``count`` candidates, best first, top-p and min-p keep."""
    reached = (cumulative < nucleus).sum(1, keepdim=True) + 1
    kept = torch.where(params.top_p < 1.0, torch.minimum(count, reached), count)
    likely = (weights >= params.min_p * weights[:, :1]).sum(1, keepdim=True)
    return torch.minimum(kept, likely)


@dataclass(frozen=True)
class _Best:
    """The best scores of each row in falling order, ties by index.

    Attributes:
        scores: ``[N, K]``.
        indices: Where they are in their rows, ``[N, K]``.
        following: The best score that isn't among them, ``[N, 1]``; -inf if there is none.
    """

    scores: Tensor
    indices: Tensor
    following: Tensor
    is_everything: bool

    @classmethod
    def of(cls, scores: Tensor, width: int) -> _Best:
        if scores.shape[1] <= width:
            everything = scores.sort(dim=1, descending=True, stable=True)
            nothing = torch.full_like(scores[:, :1], -math.inf)
            return cls(everything.values, everything.indices, nothing, is_everything=True)
        top = scores.topk(width + 1)
        # In rising order of index first, which the stable sort leaves among equals.
        indices = top.indices[:, :-1].sort(1).values
        ordered = scores.gather(1, indices).sort(dim=1, descending=True, stable=True)
        indices = indices.gather(1, ordered.indices)
        return cls(ordered.values, indices, top.values[:, -1:], is_everything=False)

    @property
    def places(self) -> Tensor:
        return torch.arange(self.scores.shape[1], device=self.scores.device)

    @property
    def peak(self) -> Tensor:
        """The best one, ``[N, 1]``, float64; NaN if any score is."""
        return self.scores[:, :1].double()

    @property
    def are_possible(self) -> Tensor:
        return self.scores > -math.inf

    @property
    def are_all(self) -> Tensor:
        """Whether nothing else is possible, ``[N, 1]``."""
        return self.following == -math.inf

    def may_lack_ties_of(self, position: Tensor) -> Tensor:
        """Whether what ties with a candidate may be missing here, ``[N, 1]``."""
        return ~self.are_all & (self.scores.gather(1, position) == self.following)


def _weights(scores: Tensor, peak: Tensor, temperature: Tensor) -> Tensor:
    """Unnormalised probabilities in float64, the best one's being 1."""
    return ((scores.double() - peak) / temperature).exp()
