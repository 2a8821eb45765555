"""Best-of-n: whole answers by any token-level method, the one given that a scorer likes best.

Knows what a scorer takes. Doesn't know how answers are drawn, or LangChain: a runnable is what has
``batch`` and ``abatch``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.guidance import Guidance
from langchain_amulet.methods.method import CODE, Method, plan_of, unique_key
from langchain_amulet.methods.plain import Pref
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.search import (
    Candidate,
    RankFunction,
    Ranking,
    SearchPlan,
    check_count,
)
from langchain_amulet.methods.spec import as_method
from langchain_amulet.steering import Plan
from langchain_amulet.validation.checks import signature_of
from langchain_amulet.validation.wording import quoted


@register
@dataclass(frozen=True, init=False)
class BestOf(Method):
    """Best-of-n: the sample that a scorer likes best.

    Attributes:
        n: How many samples are drawn, in one batch; they need a temperature above 0.
        scorer: Says how good an answer is: a function of the conversation, a list of LangChain's
            messages, and the answer, an ``AIMessage``; or a runnable that takes a dict of both as
            ``messages`` and ``answer``. It returns a number, -inf for what must not be given. A
            function with a parameter ``preferences`` is given a list of their texts as that; a
            runnable isn't told them, since what it is told is in its traces.
        method: How each sample is decoded.
        key: See `unique_key`.
    """

    name: ClassVar[str] = "best_of"
    n: int = 16
    scorer: Any = field(kw_only=True, repr=False, metadata=CODE)
    method: Method = field(default=Pref(), kw_only=True)
    key: str = unique_key()

    def __init__(
        self, n: int = 16, *, scorer: Any = None, method: Method | str | float = "pref"
    ) -> None:
        """Refuse what can't be drawn or ranked.

        Raises:
            ConfigurationError: ``n`` is no number of samples, ``scorer`` is missing or can't be
                called with a conversation and an answer, or ``method`` is unknown or a search.
        """
        # A frozen dataclass can only be filled past its own __setattr__.
        self.__dict__.update(n=n, scorer=scorer, method=as_method(method), key=uuid4().hex)
        if self.method.search() is not None:
            raise ConfigurationError(
                f"Samples must be decoded token by token, not by {self.method.name!r}, which is "
                "a search itself: use a method such as Pref() or Amulet()."
            )
        check_count(n)
        _check_scorer(scorer)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The plan of its samples' method."""
        return plan_of(self.method, preferences)

    def search(self) -> SearchPlan:
        """Samples, ranked by the scorer."""
        return SearchPlan(self.n, _ranking(self.scorer))


@dataclass(frozen=True)
class RunnableRanking:
    """Ranks by a runnable, called with all answers as a batch.

    Attributes:
        runnable: What has LangChain's ``batch`` and ``abatch``.
    """

    runnable: Any

    def scores(self, candidates: Sequence[Candidate]) -> Sequence[float]:
        """What the runnable returns for each candidate."""
        scores: Sequence[float] = self.runnable.batch(_inputs(candidates))
        return scores

    async def ascores(self, candidates: Sequence[Candidate]) -> Sequence[float]:
        """What the runnable returns for each candidate, without blocking the event loop."""
        scores: Sequence[float] = await self.runnable.abatch(_inputs(candidates))
        return scores


def _ranking(scorer: Any) -> RankFunction | Ranking:
    if hasattr(scorer, "batch"):
        return RunnableRanking(scorer)
    return partial(_scores, scorer=scorer, with_preferences=_takes_preferences(scorer))


def _scores(
    candidates: Sequence[Candidate], scorer: Callable[..., float], with_preferences: bool
) -> list[float]:
    """What a function returns, called for one answer after another."""

    def score(candidate: Candidate) -> float:
        more = {"preferences": list(candidate.preferences)} if with_preferences else {}
        return scorer(list(candidate.messages), candidate.message, **more)

    return [score(candidate) for candidate in candidates]


def _inputs(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """What a runnable scorer is given of each candidate."""
    return [{"messages": list(each.messages), "answer": each.message} for each in candidates]


def _takes_preferences(function: Callable[..., Any]) -> bool:
    """Whether a scorer that is a function is told the preferences, too."""
    signature = signature_of(function)
    return signature is not None and "preferences" in signature.parameters


def _check_scorer(scorer: Any) -> None:
    if hasattr(scorer, "batch"):
        return
    if not callable(scorer):
        raise ConfigurationError(
            f"scorer must be a function or a runnable, not {quoted(scorer)}: give one, as in "
            "BestOf(16, scorer=...), or use GuidedReranking, which needs none."
        )
    if inspect.iscoroutinefunction(scorer):
        raise ConfigurationError(
            "scorer must give a number at once, but this one is async, and gives what must be "
            "awaited: write it as def scorer(messages, answer)."
        )
    signature = signature_of(scorer)
    more = {"preferences": ()} if _takes_preferences(scorer) else {}
    try:
        _ = signature and signature.bind((), None, **more)
    except TypeError as error:
        raise ConfigurationError(
            "scorer must be a function of the conversation and the answer, but the parameters of "
            f"{quoted(scorer)} are {signature}: write it as def scorer(messages, answer)."
        ) from error
