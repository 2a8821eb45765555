"""Searches: methods that look at several whole answers before they give one.

A method's ``search()`` returns a plan of it: a `SearchPlan` draws so many samples, and ranks them
by itself; a `BeamPlan` leaves the search to the engine.

Knows what is told of an answer, and what a ranking may say. Doesn't know how answers are drawn,
or what their messages are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from langchain_amulet.errors import ConfigurationError, GenerationError
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.validation.wording import quoted

MOST_ANSWERS = 1024
"""The most answers or beams of one search: each costs a whole answer's time and memory."""


class Candidate(Protocol):
    """A whole answer that may be given, as a ranking sees it.

    What is known token by token has an entry per token, the one that ended the answer included.
    Log-probabilities are there only where the search's plan has ``trace=True``.
    """

    @property
    def messages(self) -> Sequence[Any]:
        """The conversation: LangChain's messages."""
        ...

    @property
    def preferences(self) -> Sequence[str]:
        """How it is to be answered, in words: the preferences with a weight above 0."""
        ...

    @property
    def message(self) -> Any:
        """The answer, as it would be returned: an ``AIMessage``."""
        ...

    @property
    def token_ids(self) -> Sequence[int]:
        """The answer's tokens."""
        ...

    @property
    def pref(self) -> Sequence[float]:
        """Log-probabilities under the plan's reference: with the preferences in the prompt."""
        ...

    @property
    def base(self) -> Sequence[float]:
        """Log-probabilities under the conversation alone, for which the plan needs a stream."""
        ...

    @property
    def steered(self) -> Sequence[float]:
        """Log-probabilities in the distribution that tokens were drawn from."""
        ...


@runtime_checkable
class Ranking(Protocol):
    """Gives every candidate a number, the higher the better, in a thread or in an event loop.

    Only what has two ways of waiting needs it. All else is a function of the candidates, which an
    event loop has called in another thread.
    """

    def scores(self, candidates: Sequence[Candidate]) -> Iterable[float]:
        """A number for each candidate, in their order."""
        ...

    async def ascores(self, candidates: Sequence[Candidate]) -> Iterable[float]:
        """A number for each candidate, in their order, without blocking the event loop."""
        ...


RankFunction = Callable[[Sequence[Candidate]], Iterable[float]]
"""A number for each candidate, in their order, the higher the better; -inf forbids it."""


@dataclass(frozen=True)
class SearchPlan:
    """Draw several answers in one batch, and give the best one.

    Attributes:
        n: How many are drawn. More than one need a temperature above 0, to differ.
        rank: Gives each a number, the higher the better; -inf for one that must not be given.
        trace: Whether candidates say how likely their tokens were, which costs a little.

    Raises:
        ConfigurationError: ``n`` isn't a whole number from 1 to `MOST_ANSWERS`, or ``rank`` can't
            be called.
    """

    n: int
    rank: RankFunction | Ranking
    trace: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse to choose from nothing, or by nothing."""
        check_count(self.n)
        if not (callable(self.rank) or isinstance(self.rank, Ranking)):
            raise ConfigurationError(
                "A search's rank must be a function of the candidates, or have scores and "
                f"ascores, not {quoted(self.rank)}: write it as def rank(candidates)."
            )


@dataclass(frozen=True)
class BeamPlan:
    """Have the engine find the likeliest answer by beam search.

    Attributes:
        n: How many beams there are.
        length_penalty: Answers are compared by log-probability over length to this power.

    Raises:
        ConfigurationError: There are fewer than 2 beams or more than `MOST_ANSWERS`, or the
            penalty isn't a number.
    """

    n: int
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what isn't a search by beams."""
        check_count(self.n)
        check_finite("length_penalty", self.length_penalty, "1.0, as is usual")
        if self.n < 2:
            raise ConfigurationError(
                "Beam search needs at least 2 beams, not 1: that is greedy decoding, for which "
                "use temperature=0."
            )


def checked_scores(values: Iterable[Any], count: int) -> list[float]:
    """What a ranking said of so many candidates, as numbers.

    Raises:
        GenerationError: They aren't as many, one isn't a number, or all forbid their answers.
    """
    scores = [_number(value) for value in values]
    if len(scores) != count:
        raise GenerationError(
            f"A ranking must give a number for each of {count} answers, but gave {len(scores)}: "
            "return one for each, -inf for an answer that must not be given."
        )
    if max(scores) == -math.inf:
        raise GenerationError(
            "A scorer must leave an answer that may be given, but scored each of "
            f"{count} with -inf: look at more answers, or score the least bad one higher."
        )
    return scores


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise GenerationError(
            f"A scorer must return a number for each answer, but returned {quoted(value)}: mend "
            "it, or return -inf for an answer that must not be given."
        )
    return number


def check_count(n: object) -> None:
    """Refuse what is no number of answers, with `ConfigurationError`."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_ANSWERS:
        raise ConfigurationError(
            f"n must be a whole number, at least 1 and at most {MOST_ANSWERS}, not {quoted(n)}: "
            "16 is usual."
        )
