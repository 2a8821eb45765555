"""Learning the strength and weights of what is stored, from answers that its user liked or chose.

This module knows stored preferences and whoever can fit them: nothing of models or stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.fitting.examples import Examples, FittedPreferences, Given, PreferenceFitter
from langchain_amulet.memory.profile import Profile, StoredPreference, now


class Learns(ABC):
    """A memory that fits what it holds."""

    def learn(
        self,
        user_id: str,
        *,
        model: PreferenceFitter,
        liked: Sequence[Given] = (),
        chosen: Sequence[Given] = (),
        rejected: Sequence[Given] = (),
        **kwargs: Any,
    ) -> FittedPreferences[StoredPreference]:
        """Learn how strongly a user wants what is stored for them, and store it.

        One preference is given its strength, several their weights. What is stored is where the
        fit starts from, so the same examples aren't to be given twice.

        Args:
            user_id: Whose preferences.
            model: Who answers them, a `ChatAmulet`.
            liked: Conversations, each with an answer that the user liked.
            chosen: Conversations, each with the better one of two answers.
            rejected: The same conversations in the same order, each with the worse one.
            **kwargs: As for `ChatAmulet.fit`, such as ``deviation``.

        Raises:
            ConfigurationError: The model can't learn.
            PreferenceError: Nothing is stored for the user.
            RequestError: There are no examples, or they can't be read.
        """
        check_learner(model)
        examples = Examples(liked, chosen, rejected)
        stored = learnable(user_id, self.profile(user_id))
        learned = model.fit(stored, examples, applies=self._is_met, **kwargs)
        self._keep(user_id, learned)
        return learned

    async def alearn(
        self,
        user_id: str,
        *,
        model: PreferenceFitter,
        liked: Sequence[Given] = (),
        chosen: Sequence[Given] = (),
        rejected: Sequence[Given] = (),
        **kwargs: Any,
    ) -> FittedPreferences[StoredPreference]:
        """See `learn`."""
        check_learner(model)
        examples = Examples(liked, chosen, rejected)
        stored = learnable(user_id, await self.aprofile(user_id))
        learned = await model.afit(stored, examples, applies=self._is_met, **kwargs)
        await self._akeep(user_id, learned)
        return learned

    @abstractmethod
    def profile(self, user_id: str) -> Profile | None:
        """Everything that is stored of a user."""

    @abstractmethod
    async def aprofile(self, user_id: str) -> Profile | None:
        """See `profile`."""

    @abstractmethod
    def _is_met(self, stored: StoredPreference, about: str | None) -> bool:
        """Whether a preference applies to a message."""

    @abstractmethod
    def _keep(self, user_id: str, learned: FittedPreferences[StoredPreference]) -> None:
        """Store what was learned of preferences that are still there."""

    @abstractmethod
    async def _akeep(self, user_id: str, learned: FittedPreferences[StoredPreference]) -> None:
        """See `_keep`."""


def check_learner(model: object) -> None:
    """Refuse what can't fit preferences, with `ConfigurationError`."""
    if not hasattr(model, "fit"):
        raise ConfigurationError(
            f"model must be one that can fit preferences, not {model!r}: use the ChatAmulet that "
            "answers the user."
        )


def learnable(user_id: str, profile: Profile | None) -> tuple[StoredPreference, ...]:
    """The preferences that aren't over.

    Raises:
        PreferenceError: There are none.
    """
    at = now()
    found = tuple(each for each in (profile.preferences if profile else ()) if not each.is_over(at))
    if not found:
        raise PreferenceError(
            "Only the strength of a stored preference can be learned, but for user "
            f"{user_id!r} none is stored: set one first."
        )
    return found
