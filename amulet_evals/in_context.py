"""In-context examples as a method: answers in the wanted style, shown in the prompt.

Knows that examples are to be shown. Doesn't know them: they belong to styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.methods import BeamPlan, Guidance, Method, SearchPlan, as_method
from langchain_amulet.methods.method import plan_of, search_of
from langchain_amulet.steering import Plan


@dataclass(frozen=True, init=False)
class InContext(Method):
    """A method whose preferences come with examples of answers that are as wanted.

    Attributes:
        method: What is made of the longer preferences: `pref` for the prompt alone.
    """

    name: ClassVar[str] = "in_context"
    method: Method

    def __init__(self, method: Method | str | float = "pref") -> None:
        """Take the method as a value or as its text.

        Raises:
            ConfigurationError: It is no method.
        """
        # A frozen dataclass can only be filled past its own __setattr__.
        self.__dict__.update(method=as_method(method))

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The plan of its method."""
        return plan_of(self.method, preferences)

    def search(self) -> SearchPlan | BeamPlan | None:
        """The search of its method, if that is one."""
        return search_of(self.method)
