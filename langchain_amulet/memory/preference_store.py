"""`PreferenceStore`: what tools, middleware, extractors and the command line need of a store.

`PreferenceMemory` is one, over LangGraph's stores. One of your own need only have the methods; most
easily it gets them from `SimplePreferenceStore`, which leaves loading and saving to be written.

This module doesn't know where or how preferences are kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from langchain_amulet.errors import ConfigurationError, PreferenceError
from langchain_amulet.fitting.examples import Examples, FittedPreferences, Given, PreferenceFitter
from langchain_amulet.memory.limits import Limits
from langchain_amulet.memory.merging import Edit, adding, forgetting, setting, updating
from langchain_amulet.memory.profile import Change, Lifetime, Profile, StoredPreference
from langchain_amulet.preferences.preference import Preference, PreferenceLike
from langchain_amulet.preferences.resolution import PreferenceSource
from langchain_amulet.validation.wording import quoted
from langchain_amulet.waiting.procedure import Procedure, arun, run
from langchain_amulet.waiting.wait import Wait


@runtime_checkable
class PreferenceStore(PreferenceSource, Protocol):
    """A `PreferenceSource` that can be written to.

    Each method has a twin for event loops, with an ``a`` before its name. An error of the store's
    is a `PreferenceStoreError`; what can't be a preference or a user's id, a `PreferenceError`.
    """

    def profile(self, user_id: str) -> Profile | None:
        """Everything that is stored of a user, whether it applies now or not; None for nothing."""
        ...

    async def aprofile(self, user_id: str) -> Profile | None:
        """See `profile`."""
        ...

    def set(self, user_id: str, preference: PreferenceLike) -> None:
        """Have a user prefer this, one thing or several, and nothing else."""
        ...

    async def aset(self, user_id: str, preference: PreferenceLike) -> None:
        """See `set`."""
        ...

    def add(self, user_id: str, preference: PreferenceLike) -> None:
        """Have a user prefer this too. One with the same text, whatever its case, is replaced."""
        ...

    async def aadd(self, user_id: str, preference: PreferenceLike) -> None:
        """See `add`."""
        ...

    def forget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        """Have a user prefer nothing, or not what this text was stored as, whatever its case.

        Returns:
            What was forgotten.
        """
        ...

    async def aforget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        """See `forget`."""
        ...


class BasePreferenceStore(ABC):
    """The methods of a `PreferenceStore`, both ways, over three procedures of a subclass.

    Attributes:
        limits: How many preferences a user may have, how long they are, and how long they last.
    """

    limits: Limits

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """What applies now, in the order in which it was stored; nothing for an unknown user.

        Args:
            user_id: Whose preferences.
            about: The last message that the human wrote; without it, no condition is met.
        """
        return run(self._applying(user_id, about))

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """See `get`."""
        return await arun(self._applying(user_id, about))

    def profile(self, user_id: str) -> Profile | None:
        """Everything that is stored of a user, whether it applies now or not; None for nothing.

        What is over stays in it until something is added or set: see `Profile.lasting`.
        """
        return run(self._profile(user_id))

    async def aprofile(self, user_id: str) -> Profile | None:
        """See `profile`."""
        return await arun(self._profile(user_id))

    def set(self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None) -> None:
        """Have a user prefer this, one thing or several, and nothing else.

        Args:
            user_id: Whose preference.
            preference: What `ChatAmulet` takes for a preference, or a `StoredPreference`.
            expires: When it ends, for those that have no end of their own; seconds if a number.
        """
        run(self._set(user_id, preference, expires))

    async def aset(
        self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None
    ) -> None:
        """See `set`."""
        await arun(self._set(user_id, preference, expires))

    def add(self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None) -> None:
        """Have a user prefer this too. One with the same text is replaced, expired ones go."""
        run(self._add(user_id, preference, expires))

    async def aadd(
        self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None
    ) -> None:
        """See `add`."""
        await arun(self._add(user_id, preference, expires))

    def forget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        """Have a user prefer nothing, or not what this text was stored as, whatever its case.

        Returns:
            What was forgotten.
        """
        return run(self._forget(user_id, text))

    async def aforget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        """See `forget`."""
        return await arun(self._forget(user_id, text))

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
            model: The model that answers the user, a `ChatAmulet`.
            liked: Conversations, each with an answer that the user liked.
            chosen: Conversations, each with the better one of two answers.
            rejected: The same conversations in the same order, each with the worse one.
            **kwargs: As for `ChatAmulet.fit`, such as ``deviation``.

        Raises:
            ConfigurationError: The model can't fit preferences.
            PreferenceError: Nothing is stored for the user.
            RequestError: There are no examples, or they can't be read.
        """
        return run(self._learn(user_id, model, Examples(liked, chosen, rejected), kwargs))

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
        return await arun(self._learn(user_id, model, Examples(liked, chosen, rejected), kwargs))

    # --- What a subclass is to say ---

    @abstractmethod
    def _applying(self, user_id: str, about: str | None) -> Procedure[None, tuple[Preference, ...]]:
        """See `get`."""

    @abstractmethod
    def _profile(self, user_id: str) -> Procedure[None, Profile | None]:
        """See `profile`."""

    @abstractmethod
    def _change(
        self, user_id: str, edit: Edit, *, replaces: bool = False
    ) -> Procedure[None, Change | None]:
        """Change what is stored of a user.

        Args:
            user_id: Whose preferences.
            edit: What to change.
            replaces: Whether all that is there goes, and so needn't be readable.

        Returns:
            The change; None if nothing was to be done.
        """

    # --- What follows from it ---

    def _set(
        self, user_id: str, preference: PreferenceLike, expires: Lifetime
    ) -> Procedure[None, None]:
        edit = setting(self.limits.checked(preference, expires))
        yield from self._change(user_id, edit, replaces=True)

    def _add(
        self, user_id: str, preference: PreferenceLike, expires: Lifetime
    ) -> Procedure[None, None]:
        edit = adding(self.limits.checked(preference, expires), self.limits.max_preferences)
        yield from self._change(user_id, edit)

    def _forget(
        self, user_id: str, text: str | None
    ) -> Procedure[None, tuple[StoredPreference, ...]]:
        change = yield from self._change(user_id, forgetting(text), replaces=text is None)
        return tuple(change.removed.values()) if change else ()

    def _learn(
        self, user_id: str, model: PreferenceFitter, examples: Examples, kwargs: dict[str, Any]
    ) -> Procedure[None, FittedPreferences[StoredPreference]]:
        _check_fitter(model)
        stored = _fittable(user_id, (yield from self._profile(user_id)))
        applies = self.limits.is_met
        fitted: FittedPreferences[StoredPreference] = yield Wait(
            lambda: model.fit(stored, examples, applies=applies, **kwargs),
            lambda: model.afit(stored, examples, applies=applies, **kwargs),
        )
        # Fitting takes its time, in which others write: only what is still there is updated.
        yield from self._change(user_id, updating(fitted.preferences, fitted.field))
        return fitted


def _check_fitter(model: object) -> None:
    """Refuse what can't fit preferences, with `ConfigurationError`."""
    if not hasattr(model, "fit"):
        raise ConfigurationError(
            f"model must be one that can fit preferences, not {quoted(model)}: use the ChatAmulet "
            "that answers the user."
        )


def _fittable(user_id: str, profile: Profile | None) -> tuple[StoredPreference, ...]:
    """The preferences that aren't over.

    Raises:
        PreferenceError: There are none.
    """
    lasting = () if profile is None else profile.lasting
    if not lasting:
        raise PreferenceError(
            "Only the strength of a stored preference can be learned, but for user "
            f"{quoted(user_id)} none is stored: set one first."
        )
    return lasting
