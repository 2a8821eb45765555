"""Methods that need a second or third model: rewards, references and small experts.

All models of a method must have the same vocabulary. What a method calls a model is its name,
as `ChatAmulet` takes it; the model that answers isn't named.

This module knows names of models: nothing of how they are loaded or run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import BASE, Difference, Formula, plausibility_mask
from langchain_amulet.methods.method import Guidance, Method, mean_strength, prompted
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan, Stream, TopK

PROBE = (Guidance(),)
"""For a plan to be made as soon as a method is: it checks the settings that it is made of."""


@dataclass(frozen=True)
class PAD(Method):
    """PAD (arXiv 2410.04070), as its authors' release decodes: a language model as the reward.

    ``l_base + w (l_reward - l_base)`` on the base prompt's likeliest tokens; the constants by which
    the release renormalises both there change nothing. Only the reward model reads preferences.

    Attributes:
        model: Name of the reward model.
        weight: w; a preference's own strength replaces it. The authors use 0.5 to 1.5.
        k: How many of the base prompt's likeliest tokens may be chosen.
        per_dimension: Whether the reward is a vector, ``sum_k w_k (l_reward_k - l_base)``: a stream
            of the reward model for each preference, with ``w_k`` its weight times w or its own
            strength. If not, one stream holds all preferences.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "pad"
    model: str
    weight: float = 1.0
    k: int = field(default=10, kw_only=True)
    per_dimension: bool = field(default=False, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        _check_name("model", self.model)
        check_finite("weight", self.weight, "1.0, as PAD's authors do")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The base stream, and the reward model's."""
        if not (chosen := prompted(preferences)):
            return Plan.plain()
        if self.per_dimension:
            pulls = [preferences[k] for k in chosen]
            weights = [pull.weight * pull.own(self.weight) for pull in pulls]
            rewards = [Stream((k,), self.model) for k in chosen]
        else:
            weights = [mean_strength(preferences, chosen, self.weight)]
            rewards = [Stream(chosen, self.model)]
        differences = [Difference(w, reward) for w, reward in zip(weights, rewards, strict=True)]
        return replace(Formula(BASE, differences).plan(kl_cap=self.kl_cap), mask=TopK(self.k))


@dataclass(frozen=True)
class DeRa(Method):
    """Decoding-time realignment (arXiv 2402.02992): between a model before and after alignment.

    ``(1 - lam) l_reference + lam l_aligned``, where the aligned model is the one that answers.
    Preferences are in both prompts.

    Attributes:
        reference: Name of the model before its alignment.
        lam: 0 is the reference, 1 the aligned model; above 1 is more aligned than that.
        plausibility: Tokens below this share of the aligned model's likeliest one are dropped.
        kl_cap: Most that a token's distribution may move from the aligned model's, in nats.
    """

    name: ClassVar[str] = "dera"
    reference: str
    lam: float = 0.5
    plausibility: float = field(default=0.0, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        _check_name("reference", self.reference)
        check_finite("lam", self.lam, "0.5, or another number")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """A stream of each model with the same prompt."""
        aligned = Stream(prompted(preferences))
        reference = Stream(aligned.preferences, self.reference)
        if self.lam == 0.0:
            formula = Formula(reference, reference={aligned: 1.0})
        else:
            formula = Formula(aligned, [Difference(self.lam - 1.0, aligned, reference)])
        return formula.plan(plausibility_mask(self.plausibility), self.kl_cap)


@dataclass(frozen=True)
class ProxyTuning(Method):
    """Proxy tuning (arXiv 2401.08565), emulated fine-tuning (2310.12962), DExperts (2105.03023).

    ``l_pref + s (l_expert - l_antiexpert)``: what tuning did to a small model is done to a large
    one, which is the one that answers.

    Attributes:
        expert: Name of the small model as tuned.
        antiexpert: Name of the small model before. None for the expert again, but without the
            preferences in its prompt: what they change for a small model steers the large one.
        strength: s.
        plausibility: Tokens below this share of the large model's likeliest one are dropped.
        kl_cap: Most that a token's distribution may move from the large model's, in nats.
    """

    name: ClassVar[str] = "proxy_tuning"
    expert: str
    antiexpert: str | None = None
    strength: float = 1.0
    plausibility: float = field(default=0.0, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        _check_name("expert", self.expert)
        if self.antiexpert is not None:
            _check_name("antiexpert", self.antiexpert)
        check_finite("strength", self.strength, "1.0, or another number")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """Up to three streams with the preferences in all prompts, or all but the antiexpert's."""
        chosen = prompted(preferences)
        if self.antiexpert is None:
            antiexpert = Stream(model=self.expert)
        else:
            antiexpert = Stream(chosen, self.antiexpert)
        change = Difference(self.strength, Stream(chosen, self.expert), antiexpert)
        mask = plausibility_mask(self.plausibility)
        return Formula(Stream(chosen), [change]).plan(mask, self.kl_cap)


def _check_name(what: str, name: object) -> None:
    if not (isinstance(name, str) and name):
        raise ConfigurationError(
            f"{what} must be the name of a model, not {name!r}: use a folder or a Hub id."
        )
