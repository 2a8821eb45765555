"""What a user's strength and weights are learned from, and what comes of it.

This module knows conversations, answers and preferences as data: nothing of models, of stores or
of how the learning is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage

from langchain_amulet.errors import RequestError
from langchain_amulet.preferences.preference import AnyPreference
from langchain_amulet.validation.checks import check_type

Given = tuple[LanguageModelInput, AIMessage | str]
"""A conversation and an answer to it."""

Applies = Callable[[AnyPreference, str | None], bool]
"""``applies(preference, about)``: whether it counts for a conversation with this last question."""


@dataclass(frozen=True)
class Examples:
    """What a user liked, and what they chose.

    Attributes:
        liked: Conversations, each with an answer that was liked.
        chosen: Conversations, each with the better one of two answers.
        rejected: The same conversations in the same order, each with the worse one.

    Raises:
        RequestError: There are none, one isn't a pair, or a choice lacks one side.
    """

    liked: Sequence[Given] = ()
    chosen: Sequence[Given] = ()
    rejected: Sequence[Given] = ()

    def __post_init__(self) -> None:
        """Refuse what nothing can be learned from."""
        for name in ("liked", "chosen", "rejected"):
            check_type(name, getattr(self, name), list, tuple, error=RequestError)
        if wrong := [type(each).__name__ for each in self.all if not _is_example(each)]:
            raise RequestError(
                "An example must be a pair of a conversation and an answer, a text or an "
                f"AIMessage, but {len(wrong)} of {len(self.all)} aren't, the first of type "
                f"{wrong[0]}: write each as (question, answer)."
            )
        if len(self.chosen) != len(self.rejected):
            raise RequestError(
                "Each answer that was chosen needs the one that was rejected for it, but there "
                f"are {len(self.chosen)} and {len(self.rejected)}: give them in pairs."
            )
        if not self.all:
            raise RequestError(
                "Nothing can be learned from no example: give answers as liked=[...], or as "
                "chosen=[...] and rejected=[...]."
            )

    @property
    def all(self) -> tuple[Given, ...]:
        """Everything that has to be read."""
        return (*self.liked, *self.chosen, *self.rejected)

    @property
    def count(self) -> int:
        """How many there are, a choice being one."""
        return len(self.liked) + len(self.chosen)


def _is_example(value: Any) -> bool:
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    return is_pair and isinstance(value[1], (AIMessage, str))


@dataclass(frozen=True)
class FittedPreferences(Generic[AnyPreference]):
    """Preferences whose strength or weights were fitted to examples.

    Attributes:
        preferences: What was given, with what was learned in it, to a thousandth.
        field: What was learned: the strength of one preference, the weights of several.
        estimates: What it is, for each of them.
        errors: The standard error of each. Near the prior's deviation the examples say little.
        examples: How many texts and choices there were.
    """

    preferences: tuple[AnyPreference, ...]
    field: Literal["strength", "weight"]
    estimates: tuple[float, ...]
    errors: tuple[float, ...]
    examples: int


class PreferenceFitter(Protocol):
    """A model that can fit preferences to examples, such as `ChatAmulet`."""

    def fit(
        self,
        preferences: Sequence[AnyPreference],
        examples: Examples,
        *,
        applies: Applies[AnyPreference],
        **kwargs: Any,
    ) -> FittedPreferences[AnyPreference]:
        """Fit them."""
        ...

    async def afit(
        self,
        preferences: Sequence[AnyPreference],
        examples: Examples,
        *,
        applies: Applies[AnyPreference],
        **kwargs: Any,
    ) -> FittedPreferences[AnyPreference]:
        """Fit them without blocking the event loop."""
        ...


def always(preference: object, about: str | None) -> bool:
    """A preference that has no conditions."""
    return True
