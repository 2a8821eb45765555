"""Beam search: one prompt, the likeliest answer that a backend finds.

Knows token ids and a backend. Doesn't know text, or who else uses the model: nobody does meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from langchain_amulet.engine.backends.base import Backend, BeamParams, BeamSearchBackend
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.engine.sampler import describe
from langchain_amulet.errors import CancelledError, DeadlineError, RequestError


@dataclass(frozen=True)
class BeamResult:
    """What a beam search found.

    Attributes:
        tokens: The answer, without its stop token.
        finish: How it ended.
        score: Its log-probability with its stop token, over its length to the length penalty.
        written: How many tokens were decoded for it, over all beams.
    """

    tokens: tuple[Token, ...]
    finish: Finish
    score: float
    written: int


@dataclass
class BeamMonitor:
    """Looks at every step of a search whether to go on.

    Attributes:
        timeout: Seconds that the search may take from now on; None for no limit.
        is_wanted: Whether anybody waits for it still.
        steps: How many there were.
    """

    timeout: float | None
    is_wanted: Callable[[], bool]
    steps: int = 0

    def __post_init__(self) -> None:
        """Start the clock."""
        self._deadline = math.inf if self.timeout is None else time.monotonic() + self.timeout

    def on_step(self) -> None:
        """Count a step, and see whether there is to be another one."""
        self.steps += 1
        self.check()

    def check(self) -> None:
        """Raise if the time is over, or if nobody waits any more."""
        if time.monotonic() > self._deadline:
            raise DeadlineError(
                f"The answer wasn't found within its timeout of {self.timeout} s, after "
                f"{self.steps} steps of beam search. Raise timeout, or use fewer beams or tokens."
            )
        if not self.is_wanted():
            raise CancelledError("The search was left by its caller. Ask again for an answer.")


def check_for_beams(request: Request, backend: Backend) -> BeamSearchBackend:
    """The backend, if what is asked is something that it can search for.

    Raises:
        RequestError: The request has a grammar, penalties or several streams, or the backend
            can't search with beams at all.
    """
    wrong = [
        name
        for name, is_so in (
            ("a guided method", not request.plan.is_plain),
            ("a grammar", request.constraint is not None),
            ("penalties", request.sampling.penalizes),
        )
        if is_so
    ]
    if wrong:
        raise RequestError(
            f"Beam search takes one prompt and nothing else, but not {', '.join(wrong)}: "
            "leave that out (tools that must be called and schemas need a grammar), or draw "
            "samples and choose among them."
        )
    if not isinstance(backend, BeamSearchBackend):
        raise RequestError(
            "Beam search needs a backend that can search, which those of Hugging Face models can, "
            f"but that of {type(backend.model).__name__} can't: draw samples and choose among them."
        )
    return backend


def beam_search(
    backend: BeamSearchBackend,
    request: Request,
    beams: int,
    length_penalty: float,
    monitor: BeamMonitor,
) -> BeamResult:
    """The likeliest answer that ``beams`` beams find.

    Args:
        backend: Who searches; used by nobody else meanwhile.
        request: Prompt, ``max_tokens`` and stop tokens; see `check_for_beams`.
        beams: How many, at least 2.
        length_penalty: Answers are compared by log-probability over length to this power.
        monitor: Counts the steps and may end the search.

    Raises:
        DeadlineError: The time was over first.
        CancelledError: Nobody wants the answer any more.
        GenerationError: The model can't be searched.
    """
    (prompt,) = request.prompts
    monitor.check()
    params = BeamParams(beams, length_penalty, request.max_tokens, request.stop_ids)
    ids = backend.beam_search(prompt, params, monitor.on_step)
    answer = list(takewhile(lambda token: token not in request.stop_ids, ids))
    ended = ids[: len(answer) + 1]  # with its stop token, which counts for the score
    logprobs = backend.score(prompt, ended).log_softmax(-1)
    tokens = [
        describe(request, row[None], token) for row, token in zip(logprobs, ended, strict=True)
    ]
    total = sum(token.logprob for token in tokens)
    return BeamResult(
        tokens=tuple(tokens[: len(answer)]),
        finish=Finish("length" if len(ended) == len(answer) else "stop"),
        score=total / len(ended) ** length_penalty,
        written=beams * monitor.steps,
    )
