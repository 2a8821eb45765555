"""From a formula over prompts to a plan over rows.

A formula names its streams by what is in them; a plan counts them. What adds nothing is left out.

Knows streams and weights. Doesn't know methods, or what preferences weigh.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.steering import Contrast, Mask, Plan, Plausibility, Stream
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import quoted

BASE = Stream()
"""The conversation as it was given."""


@dataclass(frozen=True)
class Difference:
    """``weight (l_plus - l_minus)``."""

    weight: float
    plus: Stream
    minus: Stream = BASE


@dataclass(frozen=True)
class Formula:
    """``l_anchor`` plus differences, and what mask and cap are measured against.

    Attributes:
        anchor: What the differences are added to.
        differences: What is added.
        reference: The prompted distribution, as a mixture with weights of any sum above 0;
            empty for the anchor's.
    """

    anchor: Stream
    differences: Sequence[Difference] = ()
    reference: Mapping[Stream, float] = field(default_factory=dict)

    def plan(self, mask: Mask | None = None, kl_cap: float | None = None) -> Plan:
        """The plan, with a row for each stream that it reads.

        Where the anchor alone is left, nothing is steered, and so nothing masked or capped.
        """
        reference = self.reference or {self.anchor: 1.0}
        differences = [each for each in self.differences if each.weight and each.plus != each.minus]
        is_steered = bool(differences) or set(reference) != {self.anchor}
        plus = [each.plus for each in differences]
        minus = [each.minus for each in differences]
        streams = tuple(dict.fromkeys([*plus, self.anchor, *minus, *reference]))
        row = {stream: index for index, stream in enumerate(streams)}
        return Plan(
            streams=streams,
            anchor=row[self.anchor],
            contrasts=tuple(
                Contrast(each.weight, row[each.plus], row[each.minus]) for each in differences
            ),
            reference=_shares({row[stream]: weight for stream, weight in reference.items()}),
            mask=mask if is_steered else None,
            kl_cap=kl_cap if is_steered else None,
        )


def plausibility_mask(share: float) -> Mask | None:
    """The mask that keeps what has this share of the best; None for 0, which keeps everything."""
    if not (is_finite(share) and 0.0 <= share <= 1.0):
        raise ConfigurationError(
            f"plausibility must be at least 0, which keeps all tokens, and at most 1, not "
            f"{quoted(share)}: use a share such as 0.1."
        )
    return Plausibility(share) if share else None


def check_model_name(what: str, name: object) -> None:
    """Refuse, with `ConfigurationError`, what can't be the name of a stream's model."""
    if not (isinstance(name, str) and name):
        raise ConfigurationError(
            f"{what} must be the name of a model, not {quoted(name)}: use a folder or a Hub id."
        )


def _shares(weights: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    total = math.fsum(weights.values())
    shares = ((row, weight / total) for row, weight in weights.items())
    return tuple((row, share) for row, share in shares if share > 0.0)  # tiny ones underflow
