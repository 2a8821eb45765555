"""Methods that steer nothing: one prompt, left as the model gives it.

Knows which preferences a prompt holds. Doesn't know strengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.guidance import Guidance, prompted
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.steering import Plan
from langchain_amulet.validation.wording import quoted

Prompt = Literal["pref", "base"]
"""One of these methods, by its name: which prompt a search's answers are written for."""


@register
@dataclass(frozen=True)
class Base(Method):
    """The conversation as it was given: no preference reaches the model."""

    name: ClassVar[str] = "base"

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """One base stream, whatever the preferences."""
        return Plan.plain()


@register
@dataclass(frozen=True)
class Pref(Method):
    """The preferences as part of the prompt, and nothing more."""

    name: ClassVar[str] = "pref"

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """One stream whose prompt holds every preference with a weight above 0."""
        return Plan.plain(prompted(preferences))


def check_prompt(prompt: object) -> None:
    """Refuse what isn't a `Prompt`, with `ConfigurationError`."""
    if not isinstance(prompt, str) or prompt not in (Pref.name, Base.name):
        raise ConfigurationError(f"prompt must be 'pref' or 'base', not {quoted(prompt)}: use one.")
