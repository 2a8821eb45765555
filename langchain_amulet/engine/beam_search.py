"""Beam search: one prompt, the likeliest answer that is found.

At each step the beams' likeliest extensions are looked at: those that end are kept as answers, the
others are the next beams. It ends when there are as many answers as beams and none that is under
way is better, or when the answers are as long as they may be. This is what the transformers
library finds, too, but done in steps, between which the model is everybody's.

Knows token ids and a backend. Doesn't know text, or who else uses the model meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import Backend, Beams, Steps
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.engine.sampler import describe
from langchain_amulet.errors import GenerationError, RequestError
from langchain_amulet.grammar import Resumption


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


@dataclass(frozen=True)
class Beam:
    """An answer, or the beginning of one.

    Attributes:
        ids: Its tokens.
        total: Their log-probability.
        parent: Which of the beams of the step before it extends.
    """

    ids: tuple[int, ...] = ()
    total: float = 0.0
    parent: int = 0

    def score(self, length_penalty: float) -> float:
        """What answers are compared by."""
        return float(self.total / len(self.ids) ** length_penalty)


@dataclass
class BeamFrontier:
    """Beams under way and answers found: the part of a search that needs no model.

    Attributes:
        width: How many beams, and how many answers are kept.
        length_penalty: Answers are compared by log-probability over length to this power.
        max_tokens: The longest answer.
        stop_ids: Tokens that end an answer.
        beams: Those under way, best first; at first one, without tokens.
        answers: The best that were found, best first, each with its stop token if one ended it.
    """

    width: int
    length_penalty: float
    max_tokens: int
    stop_ids: frozenset[int]
    beams: list[Beam] = field(default_factory=lambda: [Beam()])
    answers: list[Beam] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether nothing better is to be expected.

        That a beam gets no better by growing is a guess where length is rewarded: the usual one.
        """
        if not self.beams:
            return True
        best = self.beams[0].score(self.length_penalty)
        return len(self.answers) == self.width and best <= self._score(self.answers[-1])

    def grow(self, logprobs: Tensor) -> None:
        """Go on by a token.

        Args:
            logprobs: Log-probabilities of what follows each beam, ``[beams, vocabulary]``.

        Raises:
            GenerationError: Nothing can follow.
        """
        extended = self._likeliest(logprobs)
        # An answer has to be among the best; what is beyond these replaces beams that ended.
        answers = [beam for beam in extended[: self.width] if self._is_ended(beam)]
        self.answers = sorted([*self.answers, *answers], key=self._score, reverse=True)
        del self.answers[self.width :]
        going_on = [beam for beam in extended if not self._is_ended(beam)]
        self.beams = going_on[: self.width]

    def _likeliest(self, logprobs: Tensor) -> list[Beam]:
        """The likeliest extensions, best first: enough even where stop tokens lead everywhere."""
        totals = torch.tensor([beam.total for beam in self.beams], device=logprobs.device)
        sums = logprobs + totals[:, None]
        count = min(self.width * max(2, 1 + len(self.stop_ids)), sums.numel())
        best = sums.flatten().topk(count)
        if not math.isfinite(best.values[0]):
            raise GenerationError(
                "Beam search needs a finite logit at each step, but the model gave NaN or none: "
                "check its weights, or use a wider dtype."
            )
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [
            self._extended(index, total, logprobs.shape[-1])
            for total, index in pairs
            if math.isfinite(total)
        ]

    def _extended(self, index: int, total: float, vocabulary: int) -> Beam:
        parent, token = divmod(index, vocabulary)
        return Beam((*self.beams[parent].ids, token), total, parent)

    def _is_ended(self, beam: Beam) -> bool:
        return beam.ids[-1] in self.stop_ids or len(beam.ids) == self.max_tokens

    def _score(self, beam: Beam) -> float:
        return beam.score(self.length_penalty)


def check_for_beams(request: Request) -> None:
    """Refuse what a search would ignore.

    Raises:
        RequestError: The request has a grammar, penalties or several streams.
    """
    is_resumed = isinstance(request.constraint, Resumption)
    wrong = [
        name
        for name, is_so in (
            ("a guided method", not request.plan.is_plain),
            ("an answer's beginning that ends in white space", is_resumed),
            ("a grammar", request.constraint is not None and not is_resumed),
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
    beams: Beams, backend: Backend, request: Request, width: int, length_penalty: float
) -> Steps[BeamResult]:
    """The likeliest answer that ``width`` beams find.

    Args:
        beams: What is to be grown from the request's prompt.
        backend: Whose they are.
        request: Prompt, ``max_tokens`` and stop tokens; see `check_for_beams`.
        width: How many beams, at least 2.
        length_penalty: Answers are compared by log-probability over length to this power.

    Raises:
        GenerationError: The model can't be searched, or gives no finite logits.
    """
    (prompt,) = request.prompts
    frontier = BeamFrontier(width, length_penalty, request.max_tokens, request.stop_ids)
    steps = 1
    frontier.grow((yield from beams.begin()).log_softmax(-1))
    while not frontier.is_done:
        parents = [beam.parent for beam in frontier.beams]
        tokens = [beam.ids[-1] for beam in frontier.beams]
        frontier.grow((yield from beams.extend(parents, tokens)).log_softmax(-1))
        steps += 1
    del beams  # their memory, before the answer is read once more
    best = frontier.answers[0]
    # Once more by itself, since the search may have been on rounded logits.
    logprobs = (yield from backend.score(prompt, best.ids)).log_softmax(-1)
    return _result(request, best, logprobs, length_penalty, width * steps)


def _result(
    request: Request, found: Beam, logprobs: Tensor, length_penalty: float, written: int
) -> BeamResult:
    rows = zip(logprobs, found.ids, strict=True)
    tokens = tuple(describe(request, row[None], token) for row, token in rows)
    is_stopped = found.ids[-1] in request.stop_ids
    return BeamResult(
        tokens=tokens[:-1] if is_stopped else tokens,
        finish=Finish("stop" if is_stopped else "length"),
        score=sum(token.logprob for token in tokens) / len(tokens) ** length_penalty,
        written=written,
    )
