"""A user's strength or weights, fitted to answers that they liked or chose.

This module connects preferences and given answers with the maths of `likelihood`: nothing of
stores, of threads or of event loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Literal

import torch
from torch import Tensor

from langchain_amulet.fitting import likelihood
from langchain_amulet.fitting.answer_scores import ScoringRequest
from langchain_amulet.fitting.examples import Applies, Examples, FittedPreferences
from langchain_amulet.fitting.likelihood import Evidence, Forces, Prior
from langchain_amulet.methods import STRENGTHS, Guidance, Method
from langchain_amulet.methods.method import plan_of
from langchain_amulet.preferences.preference import AnyPreference, Preference
from langchain_amulet.steering import Mask, Plan, PlanBatch, Stream, kept, mixture, strengths


@dataclass(frozen=True)
class AnswerEvidence:
    """What the model makes of one given answer.

    Attributes:
        text: Its tokens, for a text that was liked.
        contrast: Its mean contrasts, ``[K]``, for one side of a choice.
    """

    text: Evidence
    contrast: Tensor


@dataclass(frozen=True)
class Estimator(Generic[AnyPreference]):
    """How preferences are fitted to examples.

    With one preference its strength is learned, with several their weights; what isn't learned
    stays as it is.

    Attributes:
        preferences: Whose numbers are learned, one at least.
        method: How answers are steered.
        deviation: How far from what they were the numbers are expected to be: the prior's
            standard deviation.
    """

    preferences: tuple[AnyPreference, ...]
    method: Method
    deviation: float

    @property
    def field(self) -> Literal["strength", "weight"]:
        """What is learned."""
        return "strength" if len(self.preferences) == 1 else "weight"

    def plan(self, applying: Sequence[int]) -> Plan:
        """What has to be read: a stream for each preference that applies, and the base.

        Its reference and mask are those of the method. Where none applies, an answer is read for
        nothing, and says nothing.
        """
        if not applying:
            return Plan.plain()
        # One of weight 0 is read, too: it may be learned that it counts.
        weights = [self.preferences[k].weight or 1.0 for k in applying]
        shares = [(row, weight / sum(weights)) for row, weight in enumerate(weights)]
        return Plan(
            streams=(*(Stream((k,)) for k in applying), Stream()),
            anchor=len(applying),
            reference=tuple(shares),
            mask=self._mask,
        )

    def applying(self, applies: Applies[AnyPreference], question: str | None) -> tuple[int, ...]:
        """Indices of the preferences that count for a conversation with this last question."""
        pairs = enumerate(self.preferences)
        return tuple(index for index, preference in pairs if applies(preference, question))

    def evidence(
        self, applying: Sequence[int], request: ScoringRequest, logprobs: Tensor
    ) -> AnswerEvidence:
        """What one answer says of the preferences.

        Args:
            applying: Indices of the preferences that count for its conversation.
            request: The answer, with the prompts of `plan` for these.
            logprobs: What came of it, ``[streams, tokens, vocabulary]``.
        """
        places = range(len(request.answer))
        rows = [range(place, len(logprobs) * len(places), len(places)) for place in places]
        batch = PlanBatch.of([request.plan] * len(places), rows, logprobs.device)
        stays = kept(mixture(logprobs.flatten(0, 1), batch), request.plan.mask)
        # A preference that doesn't apply has the base stream for its own: a contrast of zero.
        read = [applying.index(k) if k in applying else request.base for k in self._indices]
        streams = logprobs[[*read, request.base]]
        base = len(read)
        return AnswerEvidence(
            likelihood.text(streams, request.answer, stays, base, self._forces),
            likelihood.mean_contrast(streams, request.answer, base),
        )

    def fit(
        self, examples: Examples, answers: Sequence[AnswerEvidence]
    ) -> FittedPreferences[AnyPreference]:
        """The preferences that the answers make likeliest; they are `Examples.all`, in order."""
        split = len(examples.liked), len(examples.liked) + len(examples.chosen)
        liked, chosen, rejected = (
            answers[: split[0]],
            answers[split[0] : split[1]],
            answers[split[1] :],
        )
        evidence = [each.text for each in liked]
        if chosen:
            sides = [torch.stack([each.contrast for each in side]) for side in (chosen, rejected)]
            evidence.append(likelihood.choices(sides[0], sides[1], self._forces))
        floor = 0.0 if self.field == "weight" else -math.inf
        estimate = likelihood.fit(evidence, Prior(self._start, self.deviation), floor)
        return FittedPreferences(
            preferences=tuple(
                preference.model_copy(update={self.field: round(value, 3)})
                for preference, value in zip(self.preferences, estimate.values, strict=True)
            ),
            field=self.field,
            estimates=estimate.values,
            errors=estimate.errors,
            examples=examples.count,
        )

    @property
    def plain(self) -> tuple[Preference, ...]:
        """The preferences as a call may have them."""
        return tuple(
            Preference(each.text, strength=each.strength, weight=each.weight)
            for each in self.preferences
        )

    @property
    def _indices(self) -> range:
        return range(len(self.preferences))

    @cached_property
    def _strengths(self) -> Tensor:
        """Each preference's strength as it is: its own or the method's."""
        guidance = [preference.guidance() for preference in self.preferences]
        own = [each.strength_or(self._own_strength) for each in guidance]
        return torch.tensor(own, dtype=torch.float64)

    @cached_property
    def _weights(self) -> Tensor:
        return torch.tensor([p.weight for p in self.preferences], dtype=torch.float64)

    @property
    def _start(self) -> Tensor:
        return self._strengths if self.field == "strength" else self._weights

    @cached_property
    def _forces(self) -> Forces:
        """A force is weight times one plus strength: either of them is the parameter."""
        if self.field == "strength":
            return Forces(self._weights, self._weights)
        return Forces(torch.zeros_like(self._weights), 1.0 + self._strengths)

    @cached_property
    def _probe(self) -> Plan:
        return plan_of(self.method, [Guidance()])

    @property
    def _own_strength(self) -> float:
        """The method's strength; "balanced" if it has none."""
        found = strengths(self._probe) if self._probe.contrasts else None
        return found if isinstance(found, float) else STRENGTHS["balanced"]

    @property
    def _mask(self) -> Mask | None:
        return self._probe.mask
