"""The next tokens of a step's requests: hold back, draw, offer, and draw again what is refused.

What goes wrong with one request stays its own.

Knows requests and where their streams are. Doesn't know the queue, models, or how a token is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

import torch

from langchain_amulet.engine.choices import TokenDraw
from langchain_amulet.engine.ensemble_slot import EnsembleSlot
from langchain_amulet.engine.ensemble_step import EnsembleStep, StreamRows
from langchain_amulet.engine.request import Token
from langchain_amulet.engine.request_state import RequestState
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.token_program import StepLogprobs
from langchain_amulet.steering import levelled


def next_tokens(
    states: Mapping[EnsembleSlot, RequestState], step: EnsembleStep, sampler: Sampler
) -> dict[EnsembleSlot, Token | BaseException]:
    """The next token of each request, or what went wrong with it.

    Args:
        states: Requests of a step.
        step: What came of it for each of them.
        sampler: What draws tokens.
    """
    found: dict[EnsembleSlot, Token | BaseException] = {}
    pending: dict[EnsembleSlot, StreamRows] = {}
    for slot in states:
        streams = step.streams[slot]
        if isinstance(streams, StreamRows):
            pending[slot] = streams
        else:
            found[slot] = streams
    if step.logprobs is not None:
        pending = _level(states, pending, step.logprobs, found)
        while pending:  # again for those whose constraint takes none of what was drawn
            pending = _draw(states, pending, step.logprobs, sampler, found)
    return {slot: found[slot] for slot in states}


def _level(
    states: Mapping[EnsembleSlot, RequestState],
    pending: Mapping[EnsembleSlot, StreamRows],
    logprobs: StepLogprobs,
    found: dict[EnsembleSlot, Token | BaseException],
) -> dict[EnsembleSlot, StreamRows]:
    """Have requests that hold tokens back choose from rows in which these steer nothing."""
    levelling = dict(pending)
    for slot, streams in pending.items():
        try:
            if not (held := states[slot].held):
                continue
        except BaseException as error:  # a guard can raise anything
            found[slot] = error
            del levelling[slot]
            continue
        own, pool = list(streams.rows), logprobs.pool
        is_held = torch.zeros_like(pool[0], dtype=torch.bool)
        is_held[list(held)] = True
        # These rows are nobody else's.
        pool[own] = levelled(pool[own], is_held)
        # The candidates were found among the streams as they were.
        levelling[slot] = replace(streams, candidates=())
    return levelling


def _draw(
    states: Mapping[EnsembleSlot, RequestState],
    pending: Mapping[EnsembleSlot, StreamRows],
    logprobs: StepLogprobs,
    sampler: Sampler,
    found: dict[EnsembleSlot, Token | BaseException],
) -> dict[EnsembleSlot, StreamRows]:
    """Draw a token for each; those whose constraint doesn't take it are still pending."""
    draws: dict[EnsembleSlot, tuple[TokenDraw, ...]] = {}
    for slot, streams in pending.items():
        try:
            draws[slot] = states[slot].draws(streams)
        except BaseException as error:  # grammars in Rust panic past Exception
            found[slot] = error
    drawn = iter(sampler.draw(logprobs, [draw for own in draws.values() for draw in own]))
    refused: dict[EnsembleSlot, StreamRows] = {}
    for slot, own in draws.items():
        results = list(islice(drawn, len(own)))
        try:
            token = states[slot].taken(results)
        except BaseException as error:
            token = error
        if token is None:
            refused[slot] = pending[slot]
        else:
            found[slot] = token
    return refused
