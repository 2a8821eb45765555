"""Beam search by the library's own ``generate``: one prompt, the likeliest answer found.

Knows token ids and a model. Doesn't know text, or who else uses the model: nobody does meanwhile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from langchain_amulet.engine.backends.lm_head import LMHead
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.engine.sampler import described
from langchain_amulet.engine.scoring import score
from langchain_amulet.errors import (
    AmuletError,
    CancelledError,
    DeadlineError,
    GenerationError,
    RequestError,
)


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


def check_for_beams(request: Request) -> None:
    """Refuse, with `RequestError`, what ``generate`` couldn't do as asked."""
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


def beam_search(
    model: Any,
    head: LMHead,
    request: Request,
    beams: int,
    length_penalty: float,
    watch: BeamMonitor,
) -> BeamResult:
    """The likeliest answer that ``beams`` beams find.

    Args:
        model: A causal language model, used by nobody else meanwhile.
        head: The watch on its output embedding.
        request: Prompt, ``max_tokens`` and stop tokens; see `check_for_beams`.
        beams: How many, at least 2.
        length_penalty: As ``generate`` has it.
        watch: Who counts the steps and may end the search.

    Raises:
        GenerationError: The library can't search with this model.
    """
    (prompt,) = request.prompts
    ids = _generate(model, request, beams, length_penalty, watch)
    told_of = tuple(takewhile(lambda token: token not in request.stop_ids, ids))
    ended = ids[: len(told_of) + 1]  # with its stop token, which counts for the score
    logprobs = score(model, head, prompt, ended)
    tokens = [
        described(request, row[None], token) for row, token in zip(logprobs, ended, strict=True)
    ]
    total = sum(token.logprob for token in tokens)
    return BeamResult(
        tokens=tuple(tokens[: len(told_of)]),
        finish=Finish("length" if len(ended) == len(told_of) else "stop"),
        score=total / len(ended) ** length_penalty,
        written=beams * watch.steps,
    )


class BeamMonitor(StoppingCriteria):
    """Looks at every step of ``generate`` whether to go on.

    Attributes:
        steps: How many there were.
    """

    def __init__(self, timeout: float | None, is_wanted: Callable[[], bool]) -> None:
        """Allow for ``timeout`` seconds from now on."""
        self.steps = 0
        self._timeout, self._is_wanted = timeout, is_wanted
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Stops no beam; raises where the whole search is to end."""
        self.steps += 1
        self.check()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    def check(self) -> None:
        """Raise if the time is over, or if nobody waits any more."""
        if time.monotonic() > self._deadline:
            raise DeadlineError(
                f"The answer wasn't found within its timeout of {self._timeout} s, after "
                f"{self.steps} steps of beam search. Raise timeout, or use fewer beams or tokens."
            )
        if not self._is_wanted():
            raise CancelledError("The search was left by its caller. Ask again for an answer.")


def _generate(
    model: Any, request: Request, beams: int, length_penalty: float, watch: BeamMonitor
) -> list[int]:
    prompt = torch.tensor(request.prompts, device=model.device)
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        num_beams=beams,
        length_penalty=length_penalty,
        max_new_tokens=request.max_tokens,
        eos_token_id=sorted(request.stop_ids) or None,
        pad_token_id=min(request.stop_ids, default=0),
    )
    watch.check()
    try:
        with _without_own_settings(model):
            found = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([watch]),
            )
    except AmuletError:
        raise
    except Exception as error:
        raise GenerationError(
            f"Beam search with {type(model).__name__} failed in the library: "
            f"{type(error).__name__}: {error}. Use fewer beams, or another method."
        ) from error
    return [int(token) for token in found[0, prompt.shape[1] :]]


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """Keep the model's own settings, such as a penalty, from filling up what is asked."""
    own = model.generation_config
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = own
