"""Where a call finds its preference, and in whose name it asks.

From the nearest place to the farthest:

1. the call's keyword argument ``preference``;
2. ``configurable`` of its config;
3. ``metadata`` of its config;
4. what is stored for its user, who is looked for in the same three places under ``user_id``, and
   then in the context of the graph that is running;
5. what the model was made with.

The first place that says anything counts, and ``None`` says: no preference. The last two are the
standing preference, on top of which that of the call is put, instead of in its place, if asked.

This module knows LangChain's config, and LangGraph's runtime where a program uses it: nothing of
stores, prompts or models.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol, runtime_checkable

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_amulet.errors import PreferenceWarning, RequestError
from langchain_amulet.preferences.preference import Preference, as_preferences

PREFERENCE, STANDING, COMPOSE, USER = "preference", "standing_preference", "compose", "user_id"
"""The names under which a call carries what it prefers, what is below it, and its user."""

UNSAID = object()
"""What a place says that says nothing: None says something."""

Messages = Callable[[], Sequence[BaseMessage]]
"""A call's messages, made when they are needed."""


@runtime_checkable
class PreferenceSource(Protocol):
    """Who knows what users prefer."""

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """What applies now; none for an unknown user.

        Args:
            user_id: Whose preferences.
            about: The last message that a human wrote.
        """
        ...

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """The same without blocking the event loop."""
        ...


@dataclass(frozen=True)
class PreferenceResolver:
    """The places beyond a call's own where it may find its preference.

    Attributes:
        memory: Who knows the users' preferences; None for nobody.
        default: What counts where nothing is stored.
        compose: Whether a call's preference is put on top of the standing one.
    """

    memory: PreferenceSource | None = None
    default: tuple[Preference, ...] = ()
    compose: bool = False

    def find(
        self, kwargs: Mapping[str, Any], config: RunnableConfig | None, messages: Messages
    ) -> dict[str, Any]:
        """What a call prefers, as keyword arguments for it; its user isn't one.

        In arguments it reaches the cache key, callbacks and every way of streaming; in the config
        alone it reaches none of them. The memory is asked at most once, and not again for a call
        that has these arguments.

        Raises:
            PreferenceError: What was found isn't a preference, or can't be a user's id.
            RequestError: There is a user, and no memory to know them.
        """
        search = self._search(kwargs, config)
        if self.memory is None or search.user_id is None:
            return search.end()
        return search.end(self.memory.get(search.user_id, last_question(messages())))

    async def afind(
        self, kwargs: Mapping[str, Any], config: RunnableConfig | None, messages: Messages
    ) -> dict[str, Any]:
        """The same without blocking the event loop."""
        search = self._search(kwargs, config)
        if self.memory is None or search.user_id is None:
            return search.end()
        return search.end(await self.memory.aget(search.user_id, last_question(messages())))

    def _search(self, kwargs: Mapping[str, Any], config: RunnableConfig | None) -> _Search:
        self._check_user(kwargs)
        said = _first(PREFERENCE, _places(kwargs, config))
        given = None if said is UNSAID else as_preferences(said)
        is_told = STANDING in kwargs
        if given is None and not self.default:
            _point_out(PREFERENCE, config)
        compose = is_told or bool(kwargs.get(COMPOSE, self.compose))
        is_open = not is_told and (given is None or (compose and given != ()))
        is_asked = is_open and self.memory is not None
        user_id = find_user(config, kwargs) if is_asked else None
        if is_asked and user_id is None:
            _point_out(USER, config)
        return _Search(
            given=given,
            standing=as_preferences(kwargs[STANDING]) if is_told else self.default,
            compose=compose,
            user_id=user_id,
        )

    def _check_user(self, kwargs: Mapping[str, Any]) -> None:
        if self.memory is None and kwargs.get(USER) is not None:
            raise RequestError(
                "A call in a user's name needs a model with a memory, but user_id is "
                f"{kwargs[USER]!r} and there is none: make it with ChatAmulet(memory=...)."
            )


@dataclass(frozen=True)
class _Search:
    """One call's search, but for the question to the memory.

    Attributes:
        given: What the call itself prefers; empty for nothing at all, None if it doesn't say.
        standing: What counts where nothing is stored.
        compose: Whether what is given is put on top of the standing preference.
        user_id: Whose stored preferences are needed; None if nobody's are.
    """

    given: tuple[Preference, ...] | None
    standing: tuple[Preference, ...]
    compose: bool
    user_id: str | None

    def end(self, stored: tuple[Preference, ...] = ()) -> dict[str, Any]:
        """What was found, even if it is nothing: the search is over."""
        standing = stored or self.standing
        own, below = (standing, ()) if self.given is None else (self.given, standing)
        # Nothing on top means nothing at all: None turns off what is stored, too.
        layers = {STANDING: below if own else ()} if self.compose else {}
        return {PREFERENCE: own, **layers}


def without_user(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A call's keyword arguments without its user, who is nothing to the model."""
    return {name: value for name, value in kwargs.items() if name != USER}


def last_question(messages: Sequence[BaseMessage]) -> str | None:
    """The text of the last message that a human wrote; None if there is none."""
    written = (m.text for m in reversed(messages) if isinstance(m, HumanMessage))
    return next(written, None)


def find_user(
    config: RunnableConfig | None = None,
    kwargs: Mapping[str, Any] | None = None,
    context: Any = None,
) -> str | None:
    """In whose name a call is made; None for nobody's. Whether it can be is the memory's to say.

    Args:
        config: The call's config. That of the runnable that is running counts too.
        kwargs: The call's keyword arguments.
        context: The context of the graph that is running; None to look for it.
    """
    if context is None:
        context = getattr(running_graph(config), "context", None)
    user_id = _first(USER, (*_places(kwargs or {}, config), _user_of(context)))
    return None if user_id is UNSAID else user_id


def running_graph(config: RunnableConfig | None = None) -> Any:
    """LangGraph's ``Runtime`` of the graph that is running, which holds its context and store.

    None outside of a graph. LangGraph isn't imported for it: a graph that runs has done so.
    """
    module = sys.modules.get("langgraph.runtime")
    if module is None:
        return None
    # A config with a `configurable` of its own hides that of the running graph.
    configs = (ensure_config(config), ensure_config())
    values = (value for found in configs for value in found.get("configurable", {}).values())
    return next((value for value in values if isinstance(value, module.Runtime)), None)


def _places(
    kwargs: Mapping[str, Any], config: RunnableConfig | None
) -> tuple[Mapping[str, Any], ...]:
    surroundings = ensure_config(config)
    return kwargs, surroundings.get("configurable", {}), surroundings.get("metadata", {})


def _point_out(name: str, config: RunnableConfig | None) -> None:
    """Warn of what is called nearly ``name``, where nothing is: the answer would go without.

    It can't be refused: ``configurable`` is for all that takes part in a run.
    """
    configurable = ensure_config(config).get("configurable", {})
    if name in configurable:  # None, for nobody
        return
    others = {str(other).casefold(): other for other in configurable}
    starts = (other for other in others if other[:2] == name[:2])  # not "reference"
    for close in get_close_matches(name, starts, n=1, cutoff=0.8):
        warnings.warn(
            f"The model looks for {name!r}, but configurable has {others[close]!r}, which means "
            "nothing to it: rename it if it is meant for the model.",
            PreferenceWarning,
            stacklevel=2,
        )


def _user_of(context: Any) -> Mapping[str, Any]:
    """What a graph's context says of its user: its schema may be any class."""
    if isinstance(context, Mapping):
        return context
    return {USER: getattr(context, USER)} if hasattr(context, USER) else {}


def _first(name: str, places: Iterable[Mapping[str, Any]]) -> Any:
    return next((place[name] for place in places if name in place), UNSAID)
