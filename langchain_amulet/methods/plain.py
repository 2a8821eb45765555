"""Methods that steer nothing: one prompt, left as the model gives it.

This module knows which preferences a prompt holds: nothing of strengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.methods.method import Guidance, Method, prompted
from langchain_amulet.steering import Plan


@dataclass(frozen=True)
class Base(Method):
    """The conversation as it was given: no preference reaches the model."""

    name: ClassVar[str] = "base"

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """One base stream, whatever the preferences."""
        return Plan.plain()


@dataclass(frozen=True)
class Pref(Method):
    """The preferences as part of the prompt, and nothing more."""

    name: ClassVar[str] = "pref"

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """One stream whose prompt holds every preference with a weight above 0."""
        return Plan.plain(prompted(preferences))
