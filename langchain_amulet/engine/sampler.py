"""One request's next token, from the log-probabilities of its streams.

Steer, mask, penalise, draw. With a mask only the few tokens that can survive it are looked at, if
they are sure to be among the candidates that the forward pass found; else the whole vocabulary is.

Knows one request's tensors. Doesn't know rows, the model or the other requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import CandidateQuery
from langchain_amulet.engine.request import Request, Token, Trace
from langchain_amulet.errors import GenerationError
from langchain_amulet.sampling import SamplingParams, penalize, sample
from langchain_amulet.steering import Mask, Plan, Steered, agreement, kl, mixture, steer

ROUNDING = 0.25
"""By how many nats a bf16 logit that is no candidate may be too low; a bf16 step at 64 is 0.25."""


def candidate_queries(plan: Plan, rows: Mapping[int, int]) -> list[CandidateQuery]:
    """The combinations of logits rows in which the next token will be sought.

    A masked plan chooses among what its reference finds plausible, stream by stream; any other
    from the combined score. Where another model reads a part of either, each row is sought by
    itself.

    Args:
        plan: How the streams are combined.
        rows: Where streams are in the pass, by their index.
    """
    if plan.mask is not None or not plan.contrasts:
        sought = [[(stream, 1.0)] for stream, _ in plan.reference]
    else:
        weights = dict.fromkeys(range(len(plan.streams)), 0.0)
        weights[plan.anchor] += 1.0
        for contrast in plan.contrasts:
            weights[contrast.plus] += contrast.weight
            weights[contrast.minus] -= contrast.weight
        sought = [list(weights.items())]
    if all(stream in rows for query in sought for stream, _ in query):
        return [tuple((rows[stream], weight) for stream, weight in query) for query in sought]
    return [((row, 1.0),) for row in rows.values()]


def next_token(
    request: Request,
    logprobs: Tensor,
    candidates: Tensor | None,
    seen: Collection[int],
    uniform: float,
) -> Token:
    """The next token of ``request``.

    Args:
        request: Plan, sampling and constraint.
        logprobs: Normalised log-probabilities of its streams, ``[streams, vocabulary]``, float32.
        candidates: The best token ids of each reference stream, ``[references, k]``, if known.
        seen: Tokens to which penalties apply.
        uniform: One number in [0, 1) for the draw.

    Raises:
        GenerationError: A stream's distribution isn't one, or nothing is left to choose.
    """
    _check(logprobs)
    ids = _eligible(request, logprobs, candidates)
    eligible = logprobs if ids is None else logprobs[:, ids]
    steered = steer(eligible, request.plan)
    scores = _penalized(steered.scores, ids, seen, request.sampling, logprobs.shape[-1])
    index = sample(scores, request.sampling, uniform)
    return _token(request, logprobs, ids, steered, scores, index)


def next_token_at_pause(
    request: Request,
    openings: Collection[int],
    logprobs: Tensor,
    candidates: Tensor | None,
    seen: Collection[int],
    draw: Callable[[], float],
) -> Token:
    """The next token of ``request`` where it may be one that begins a pause.

    Whether one of these comes is decided by the prompted distribution under the same mask. If
    none does, the token is drawn from the others, with steering; its log-probability is among
    those.

    Args:
        request: As in `next_token`, like the others.
        openings: Tokens that begin a pause.
        logprobs: ``[streams, vocabulary]``, float32.
        candidates: ``[references, k]``, if known.
        seen: Tokens to which penalties apply.
        draw: Gives two numbers in [0, 1).
    """
    plain = replace(request, plan=replace(request.plan.unsteered, mask=request.plan.mask))
    gate, uniform = draw(), draw()
    token = next_token(plain, logprobs, candidates, seen, gate)
    if token.id in openings:
        return token
    barred = torch.tensor(sorted(openings), device=logprobs.device)
    others = logprobs.index_fill(1, barred, -math.inf)
    return next_token(request, others, candidates, seen, uniform)


def describe(request: Request, logprobs: Tensor, token: int) -> Token:
    """What `next_token` would say of a token that was chosen otherwise, without penalties."""
    steered = steer(logprobs, request.plan)
    return _token(request, logprobs, None, steered, steered.scores, token)


def _token(
    request: Request,
    logprobs: Tensor,
    ids: Tensor | None,
    steered: Steered,
    scores: Tensor,
    index: int,
) -> Token:
    """The token at ``index`` of the eligible ones, and what is to be said of it."""
    final = scores.log_softmax(0)
    token = index if ids is None else int(ids[index])
    logprob = float(final[index])
    eligible = logprobs if ids is None else logprobs[:, ids]
    return Token(
        id=token,
        logprob=logprob,
        top_logprobs=_top(final, ids, request.sampling.top_logprobs),
        kl=0.0 if request.plan.is_plain else kl(steered.scores, steered.reference),
        trace=_trace(request.plan, logprobs, token, steered, index, logprob)
        if request.trace
        else None,
        agreement=agreement(eligible, request.plan, steered),
    )


def _check(logprobs: Tensor) -> None:
    # The maximum is NaN if anything is, and -inf if nothing is possible.
    if not bool(torch.isfinite(logprobs.amax(-1)).all()):
        raise GenerationError(
            "Each step needs finite logits, but the model gave NaN or infinity for this request. "
            "Try dtype='float32', and check the weights if that doesn't help."
        )


def _eligible(request: Request, logprobs: Tensor, candidates: Tensor | None) -> Tensor | None:
    """Token ids that can be chosen, ascending; ``None`` for the whole vocabulary."""
    plan, mask = request.plan, request.plan.mask
    allowed = _allowed(request, logprobs.shape[-1], logprobs.device)
    if candidates is not None and mask is not None:
        ids: Tensor = torch.unique(candidates)
        ids = ids if allowed is None else ids[allowed[ids]]
        if _are_enough(plan, mask, logprobs, candidates, ids):
            return ids
    everything = None if allowed is None else _listed(allowed)
    return everything if mask is None else _survivors(plan, mask, logprobs, everything)


def _allowed(request: Request, vocabulary: int, device: torch.device) -> Tensor | None:
    if request.constraint is None:
        return None
    allowed = request.constraint.allowed().to(device)
    if allowed.shape != (vocabulary,) or allowed.dtype != torch.bool:
        raise GenerationError(
            f"A constraint's mask must be bool of shape [{vocabulary}], the logits' width, but is "
            f"{allowed.dtype} of shape {list(allowed.shape)}. Pad it with False."
        )
    return allowed


def _listed(allowed: Tensor) -> Tensor:
    ids = allowed.nonzero()[:, 0]
    if len(ids) == 0:
        raise GenerationError(
            "A constraint must allow at least one token, but allows none. Let it allow a stop "
            "token where the answer may end."
        )
    return ids


def _are_enough(plan: Plan, mask: Mask, logprobs: Tensor, candidates: Tensor, ids: Tensor) -> bool:
    """Whether no token but the candidates can pass the mask.

    Any other is, in each reference stream, at most as likely as that stream's last candidate, of
    those that are possible, and so is the mixture. Tokens that are missing can only raise the
    floor, and don't if all of them are below it.
    """
    if len(ids) == 0:
        return False
    last = torch.full_like(logprobs[:, :1], -math.inf)
    for (stream, _), best in zip(plan.reference, candidates, strict=True):
        listed = logprobs[stream, best]
        last[stream] = listed.where(listed > -math.inf, math.inf).min()
    outside = mixture(last, plan.reference)[0]
    return bool(outside + ROUNDING < mask.floor(mixture(logprobs[:, ids], plan.reference)))


def _survivors(plan: Plan, mask: Mask, logprobs: Tensor, ids: Tensor | None) -> Tensor:
    """What can pass the mask, sought among all of ``ids``: where the reference is flat."""
    reference = mixture(logprobs if ids is None else logprobs[:, ids], plan.reference)
    # A hair below the floor, so that ``steer`` draws the line and rounding here doesn't.
    possible = (reference >= mask.floor(reference) - 1e-3).nonzero()[:, 0]
    return possible if ids is None else ids[possible]


def _penalized(
    scores: Tensor, ids: Tensor | None, seen: Collection[int], params: SamplingParams, size: int
) -> Tensor:
    if not params.penalizes:
        return scores
    token_ids = torch.arange(size, device=scores.device) if ids is None else ids
    return penalize(scores, token_ids, seen, params, vocabulary=size)


def _top(final: Tensor, ids: Tensor | None, count: int | None) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    best = final.topk(min(count, len(final)))
    tokens = best.indices if ids is None else ids[best.indices]
    pairs = zip(tokens.tolist(), best.values.tolist(), strict=True)
    return tuple((token, logprob) for token, logprob in pairs if logprob > -math.inf)


def _trace(
    plan: Plan, logprobs: Tensor, token: int, steered: Steered, index: int, logprob: float
) -> Trace:
    return Trace(
        base=None if plan.base is None else math.exp(logprobs[plan.base, token]),
        pref=math.exp(steered.reference[index]),
        steered=math.exp(logprob),
    )
