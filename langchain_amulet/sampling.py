"""From scores to a token: penalties, temperature, top-k, top-p, min-p, then one draw.

Draws are by inverse CDF over the candidates in order of falling score, one uniform number per
token, so that a seed means the same tokens whatever else is decoded in the same batch.

This module knows one token's scores only: nothing of streams, models, requests, or where uniform
numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from langchain_amulet.errors import ConfigurationError, GenerationError
from langchain_amulet.validation import quoted

HEAD = 64  # how many of the best candidates are sorted at first
GROWTH = 16  # how many times more are, whenever the draw depends on what lies beyond

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

    @property
    def truncates(self) -> bool:
        """Whether the probabilities decide how many candidates stay."""
        return self.top_p < 1.0 or self.min_p > 0.0

    def _check_number(
        self, name: str, low: float, high: float, remedy: str, open_below: bool = False
    ) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        inside = is_number and math.isfinite(value) and low <= value <= high
        if not inside or (open_below and value == low):
            bounds = f"above {low:g}" if open_below else f"at least {low:g}"
            bounds += f" and at most {high:g}" if high < math.inf else ""
            raise ConfigurationError(
                f"{name} must be a finite number, {bounds}, not {quoted(value)}: {remedy}."
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


def penalize(
    scores: Tensor,
    token_ids: Tensor,
    seen: Collection[int],
    params: SamplingParams,
    vocabulary: int | None = None,
) -> Tensor:
    """Lower the scores of tokens that were seen already.

    The repetition penalty (CTRL, arXiv 1909.05858) divides positive scores and multiplies
    negative ones, so it depends on where zero is. Scores here are log-probabilities up to a
    constant; zero is put at the uniform probability, 1 / vocabulary, which is about where a
    model's own logits have it. With zero at probability 1 a likely repetition would hardly be
    penalised at all.

    Args:
        scores: Unnormalised log-probabilities, ``[V']``; -inf stays -inf.
        token_ids: The vocabulary id of each score, ``[V']``, int64.
        seen: Ids that count as seen; which ones do is the caller's choice.
        params: The penalties.
        vocabulary: Size of the whole vocabulary, where ``scores`` cover only part of it.

    Returns:
        Unnormalised log-probabilities, ``[V']``; ``scores`` itself if there is nothing to do.
    """
    if not (params.penalizes and seen and len(token_ids)):
        return scores
    repeated = _members(token_ids, seen)
    size = len(scores) if vocabulary is None else vocabulary
    centred = scores.log_softmax(0) + math.log(size)
    factor = params.repetition_penalty
    penalized = torch.where(centred > 0.0, centred / factor, centred * factor)
    return torch.where(repeated, penalized - params.presence_penalty, centred)


def sample(scores: Tensor, params: SamplingParams, uniform: float) -> int:
    """Draw a token; penalties come before, see `penalize`.

    Exact: the same token as sorting all scores would give, ties in order of index, while as a
    rule only the best few are sorted.

    Args:
        scores: Unnormalised log-probabilities, ``[V']``; -inf for what can't be drawn.
        params: Temperature, top-k, top-p and min-p, applied in that order.
        uniform: A number in [0, 1); 0 draws the best token.

    Returns:
        The token's index into ``scores``.

    Raises:
        GenerationError: The scores hold NaN or +inf, or nothing can be drawn.
    """
    peak = _peak(scores)
    if params.is_greedy:
        return int(scores.argmax())
    width = params.top_k or HEAD
    while (index := _draw(scores, peak, params, uniform, width)) is None:
        width *= GROWTH
    return index


def _draw(
    scores: Tensor, peak: float, params: SamplingParams, uniform: float, width: int
) -> int | None:
    """Draw from the best ``width`` scores; None if the draw depends on what lies beyond them."""
    order = _best(scores, width, params.top_k)
    # With top-k nothing beyond counts; without, fewer than asked for means that these are all.
    is_whole = params.top_k is not None or len(order) < width
    weights = _weights(scores[order], peak, params.temperature)
    cumulative = weights.cumsum(0)
    mass = cumulative[-1] if is_whole else _weights(scores, peak, params.temperature).sum()
    if params.truncates:
        kept = _count_kept(weights, cumulative, mass, params)
        if kept == len(order) and not is_whole:
            return None  # the cut may lie further down
        mass = cumulative[kept - 1]
    position = int(torch.searchsorted(cumulative, uniform * mass, right=True))
    if position == len(order) and not is_whole:
        return None
    # Rounding can put the draw a hair past the last candidate.
    return int(order[min(position, len(order) - 1)])


def _count_kept(weights: Tensor, cumulative: Tensor, mass: Tensor, params: SamplingParams) -> int:
    """How many of these candidates, best first, top-p and min-p keep."""
    kept = len(weights)
    if params.top_p < 1.0:
        kept = min(kept, int(torch.searchsorted(cumulative, params.top_p * mass)) + 1)
    if params.min_p > 0.0:
        kept = min(kept, int((weights >= params.min_p * weights[0]).sum()))
    return kept


def _best(scores: Tensor, width: int, top_k: int | None) -> Tensor:
    """Indices of the best scores in falling order, ties by index, nothing impossible.

    Without ``top_k``, everything that ties with the last of the ``width`` is there too, so that
    fewer than ``width`` means that these are all there are.
    """
    threshold = scores.topk(min(width, len(scores)), sorted=False).values.min()
    members = ((scores >= threshold) & (scores > -math.inf)).nonzero().squeeze(1)
    return members[scores[members].argsort(descending=True, stable=True)][:top_k]


def _weights(scores: Tensor, peak: float, temperature: float) -> Tensor:
    """Unnormalised probabilities in float64, the best one's being 1."""
    return ((scores.double() - peak) / temperature).exp()


def _members(token_ids: Tensor, seen: Collection[int]) -> Tensor:
    """Which of ``token_ids`` are in ``seen``, as a bool mask. A table, as isin would sort."""
    size = max(int(token_ids.max()), *seen) + 1
    table = torch.zeros(size, dtype=torch.bool, device=token_ids.device)
    table[list(seen)] = True
    return table[token_ids]


def _peak(scores: Tensor) -> float:
    peak = float(scores.max()) if len(scores) else -math.inf
    if not math.isfinite(peak):
        raise GenerationError(
            "A token can be drawn only from scores without NaN, of which one at least is finite, "
            f"but the highest of {len(scores)} is {peak}: check the model's logits and the "
            "call's constraint."
        )
    return peak
