"""Methods over whole answers: several are found for a call, and the best one is given.

=================  ==============================================================
`GuidedReranking`  n samples, ranked by sum_t l_pref + d (l_pref - l_base)
`BeamSearch`       the likeliest answer that n beams find
=================  ==============================================================

`BestOf`, whose samples are ranked by a scorer, is made of these and has a module of its own.

This module knows what is asked for: nothing of how answers are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.method import Guidance, Method
from langchain_amulet.methods.plain import Pref
from langchain_amulet.methods.strengths import check_finite, resolve_strength
from langchain_amulet.steering import Plan

Prompt = Literal["pref", "base"]
"""Which prompt is answered: that with the preferences in it, or the conversation alone."""


@dataclass(frozen=True)
class Search(Method):
    """A method that looks at several whole answers before it gives one.

    Its plan is that of each answer on the way.

    Attributes:
        n: How many answers it looks at.
    """

    n: int = 16

    def __post_init__(self) -> None:
        """Refuse to choose from nothing."""
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 1:
            raise ConfigurationError(
                f"n must be a whole number, at least 1, not {self.n!r}: 16 is usual."
            )


@dataclass(frozen=True)
class GuidedReranking(Search):
    """The sample that steering would have made likeliest, taken as a whole.

    Samples are ranked by ``sum_t [l_pref + d (l_pref - l_base)]``, in nats. Both terms are known
    from decoding, so ranking costs nothing. Preferences' own strengths don't count.

    Attributes:
        n: How many samples are drawn, in one batch; they need a temperature above 0.
        strength: d, a number or the name of one.
        prompt: What samples are drawn from.
    """

    name: ClassVar[str] = "guided_reranking"
    strength: float | str = "amulet"
    prompt: Prompt = "pref"

    def __post_init__(self) -> None:
        """Refuse a strength or a prompt that doesn't exist."""
        super().__post_init__()
        resolve_strength(self.strength)
        _check_prompt(self.prompt)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The prompt that samples are drawn from, with the other one beside it for comparison."""
        plan, base = Pref().plan(preferences).with_base()
        return plan if self.prompt == "pref" else replace(plan, anchor=base)


@dataclass(frozen=True)
class BeamSearch(Search):
    """The likeliest answer to a prompt that beam search finds, by the library's own ``generate``.

    The model is busy with it alone meanwhile. Sampling settings don't apply; penalties and
    grammars, as tools that must be called and schemas need them, are refused.

    Attributes:
        n: How many beams there are.
        prompt: Which prompt is answered.
        length_penalty: Answers are compared by log-probability over length to this power.
    """

    name: ClassVar[str] = "beam_search"
    prompt: Prompt = "pref"
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what isn't a search by beams."""
        super().__post_init__()
        _check_prompt(self.prompt)
        check_finite("length_penalty", self.length_penalty, "1.0, as is usual")
        if self.n < 2:
            raise ConfigurationError(
                "Beam search needs at least 2 beams, not 1: that is greedy decoding, for which "
                "use temperature=0."
            )

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """One prompt."""
        return Pref().plan(preferences if self.prompt == "pref" else ())


def _check_prompt(prompt: object) -> None:
    if prompt not in ("pref", "base"):
        raise ConfigurationError(f"prompt must be 'pref' or 'base', not {prompt!r}: use one.")
