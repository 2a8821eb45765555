"""Where a call finds its preference, and in which user's name it is made.

The first of these that says anything counts, and ``None`` says: no preference.

1. the call's keyword argument ``preference``;
2. ``configurable`` of its config;
3. ``metadata`` of its config;
4. what is stored for its user, who is named by ``user_id`` in the first three, or else in the
   context of the graph that is running;
5. what the model was made with.

The last two are the standing preference, on top of which that of the call is put, instead of in its
place, if the call or the model composes.

A call that a middleware of LangChain makes for its own purposes, such as a summary, is nobody's
answer: there only keyword arguments count.

This module knows LangChain's config, and LangGraph's runtime where a program uses it: nothing of
how preferences are stored, of prompts or of models.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType, NoneType
from typing import Any, Protocol, cast, runtime_checkable
from uuid import UUID

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from langchain_amulet.errors import PreferenceWarning, RequestError
from langchain_amulet.preferences.preference import Preference, as_preferences
from langchain_amulet.preferences.user_id import USER, check_user_id, nearly_user
from langchain_amulet.validation.checks import as_flag, check_type
from langchain_amulet.validation.packages import warn
from langchain_amulet.validation.wording import nearest, quoted
from langchain_amulet.waiting.procedure import Procedure, arun, run
from langchain_amulet.waiting.wait import twins

PREFERENCE, STANDING, COMPOSE = "preference", "standing_preference", "compose"
"""The names under which a call carries what it prefers, and what is below it."""

CONFIGURABLE, METADATA = "configurable", "metadata"
"""The parts of a config that are looked through, the nearest first."""

PARTS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        CONFIGURABLE: (Mapping,),
        METADATA: (Mapping,),
        "tags": (list,),
        "callbacks": (list, BaseCallbackManager),
        "run_id": (UUID, str),
        "max_concurrency": (int,),
    }
)
"""The parts of a config that must be of some type, where LangChain would fail without a word."""

ASKING = (PREFERENCE, STANDING, USER)
"""Arguments by any of which a call asks to be steered."""

INTERNAL = "lc_source"
"""By this key of a config's metadata LangChain marks calls that its middleware makes for itself."""

ABSENT = object()
"""Stands for a value that is nowhere given, as None is a value."""

Messages = Callable[[], Sequence[BaseMessage]]
"""A call's messages, made when they are needed."""


@runtime_checkable
class PreferenceSource(Protocol):
    """Knows what users prefer: all that a chat model needs for its ``memory``.

    `langchain_amulet.memory.PreferenceStore` is one that can be written to.
    """

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """What a user prefers now; nothing for an unknown one.

        Args:
            user_id: Whose preferences.
            about: The last message that a human wrote, on which preferences may depend.
        """
        ...

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """See `get`; for callers in an event loop, which it doesn't block."""
        ...


@dataclass(frozen=True)
class PreferenceResolver:
    """Finds the preference of calls that may leave it to their user or to the model.

    Attributes:
        memory: Knows the users' preferences; None where nothing does.
        default: What counts where nothing is stored.
        compose: Whether a call's preference is put on top of the standing one.
    """

    memory: PreferenceSource | None = None
    default: tuple[Preference, ...] = ()
    compose: bool = False

    def find(
        self, kwargs: Mapping[str, Any], config: RunnableConfig | None, messages: Messages
    ) -> dict[str, Any]:
        """See `finding`; blocks."""
        return run(self.finding(kwargs, config, messages))

    async def afind(
        self, kwargs: Mapping[str, Any], config: RunnableConfig | None, messages: Messages
    ) -> dict[str, Any]:
        """See `finding`; doesn't block the event loop."""
        return await arun(self.finding(kwargs, config, messages))

    def finding(
        self, kwargs: Mapping[str, Any], config: RunnableConfig | None, messages: Messages
    ) -> Procedure[None, dict[str, Any]]:
        """What a call prefers, as keyword arguments for it; its user isn't one.

        In arguments it reaches the cache key, callbacks and every way of streaming; in the config
        alone it reaches none of them. The memory is asked at most once, and not again for a call
        that has these arguments.

        Args:
            kwargs: The call's keyword arguments.
            config: The call's config.
            messages: The call's messages.

        Raises:
            PreferenceError: What was found isn't a preference, or can't be a user's id.
            RequestError: There is a user, and no memory to know them.
        """
        self._check_user(kwargs)
        search = self._search(kwargs, config)
        if self.memory is None or search.user_id is None:
            return search.found()
        about = last_question(messages())
        stored = yield twins(self.memory.get, self.memory.aget, search.user_id, about)
        return search.found(as_preferences(stored))  # a memory may be anybody's

    def _search(self, kwargs: Mapping[str, Any], config: RunnableConfig | None) -> _Search:
        value = _first(PREFERENCE, _mappings(kwargs, config))
        compose = as_flag(COMPOSE, kwargs.get(COMPOSE, self.compose))
        if _is_internal(kwargs, config):
            return _Search(own=(), standing=(), compose=compose, user_id=None)
        own = None if value is ABSENT else as_preferences(value)
        if own is None and not self.default:
            _warn_of_misspelling(PREFERENCE, _parts(config), _nearly_preference)
        is_resolved = STANDING in kwargs  # by an earlier search, such as the middleware's
        compose = compose or is_resolved
        needs_standing = not is_resolved and (own is None or (compose and own != ()))
        user_id = None
        if needs_standing and self.memory is not None:
            user_id = _as_id(_named(_mappings(kwargs, config), _context(config)))
        standing = as_preferences(kwargs[STANDING]) if is_resolved else self.default
        return _Search(own, standing, compose, user_id)

    def _check_user(self, kwargs: Mapping[str, Any]) -> None:
        if self.memory is None and kwargs.get(USER) is not None:
            raise RequestError(
                "A call in a user's name needs a model with a memory, but user_id is "
                f"{quoted(kwargs[USER])} and there is none: make it with ChatAmulet(memory=...)."
            )


@dataclass(frozen=True)
class _Search:
    """Everything about a call's preference but what is stored.

    Attributes:
        own: What the call itself prefers; empty for nothing at all, None if it doesn't say.
        standing: What counts where nothing is stored.
        compose: Whether its own is put on top of the standing preference.
        user_id: Whose stored preferences are needed; None if nobody's are.
    """

    own: tuple[Preference, ...] | None
    standing: tuple[Preference, ...]
    compose: bool
    user_id: str | None

    def found(self, stored: tuple[Preference, ...] = ()) -> dict[str, Any]:
        """What the call prefers. Even nothing is put in: it says that the search is over."""
        standing = stored or self.standing
        own, below = (standing, ()) if self.own is None else (self.own, standing)
        # Nothing on top means nothing at all: None turns off what is stored, too.
        layers = {STANDING: below if own else ()} if self.compose else {}
        return {PREFERENCE: own, **layers}


def check_config(config: object) -> None:
    """Refuse a config that can't be read, by LangChain or here.

    Raises:
        RequestError: It is no dict, a part of it isn't what it must be, see `PARTS`, or no call may
            be made at a time.
    """
    check_type("config", config, Mapping, NoneType, error=RequestError)
    given = config if isinstance(config, Mapping) else {}
    for part, kinds in PARTS.items():
        check_type(f"{part} of the config", given.get(part), *kinds, NoneType, error=RequestError)
    most = given.get("max_concurrency")
    if most is not None and most < 1:
        raise RequestError(
            f"max_concurrency of the config must be at least 1, not {quoted(most)}: give it, or "
            "leave it out for as many calls as keep the model busy."
        )
    handlers = given.get("callbacks")
    if isinstance(handlers, list) and not all(hasattr(each, "raise_error") for each in handlers):
        raise RequestError(
            f"callbacks of the config must be handlers, not {quoted(handlers)}: make them of "
            "LangChain's BaseCallbackHandler."
        )


def configurable_in(config: RunnableConfig | None = None) -> Mapping[str, Any]:
    """What stands in ``configurable`` of a call's config, or of the runnable that is running."""
    return _parts(config)[CONFIGURABLE]


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
    """In whose name a call is made; None for nobody's. See `named_user`.

    Raises:
        PreferenceError: It can't be a user's id.
    """
    return _as_id(named_user(config, kwargs, context))


def named_user(
    config: RunnableConfig | None = None,
    kwargs: Mapping[str, Any] | None = None,
    context: Any = None,
    use: str = "",
) -> object:
    """What stands for a call's user, whether it can be an id or not; None for nobody.

    Tracers, gateways and graphs have a ``user_id`` of their own there, of any type: it is an id
    where it is to be found in a memory. Of a UUID it is the text, of which there is but one.

    Warns of what is called nearly ``user_id`` where nobody is named.

    Args:
        config: The call's config. That of the runnable that is running counts too.
        kwargs: The call's keyword arguments.
        context: The context of the graph that is running; None to look for it.
        use: What a user is looked for, as a sentence for the warning, if not for a preference.
    """
    context = _context(config) if context is None else context
    said = _mappings(kwargs or {}, config)
    named = _named(said, context)
    if named is ABSENT:  # unlike None, which says that it is for nobody
        places = {**_parts(config), "the graph's context": _named_in(context)}
        _warn_of_misspelling(USER, places, nearly_user, use)
        return None
    return named


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


def _mappings(
    kwargs: Mapping[str, Any], config: RunnableConfig | None
) -> tuple[Mapping[str, Any], ...]:
    """Where a call may say something, the nearest first."""
    return kwargs, *_parts(config).values()


def _parts(config: RunnableConfig | None) -> dict[str, Mapping[str, Any]]:
    """The parts of a config that are looked through, the nearest first."""
    surroundings: Mapping[str, Any] = ensure_config(config)
    return {part: surroundings.get(part) or {} for part in (CONFIGURABLE, METADATA)}


def _is_internal(kwargs: Mapping[str, Any], config: RunnableConfig | None) -> bool:
    """Whether a middleware makes this call for itself, and doesn't ask for a preference."""
    is_marked = INTERNAL in _parts(config)[METADATA]
    return is_marked and not any(name in kwargs for name in ASKING)


def _first(name: str, mappings: Iterable[Mapping[str, Any]]) -> Any:
    return next((mapping[name] for mapping in mappings if name in mapping), ABSENT)


def _context(config: RunnableConfig | None) -> Any:
    """The context of the graph that is running; None outside of one."""
    return getattr(running_graph(config), "context", None)


def _named(said: Sequence[Mapping[str, Any]], context: Any) -> object:
    """Whom a call names, or else its graph's context, whose schema may be any class; or ABSENT."""
    named = {USER: getattr(context, USER)} if hasattr(context, USER) else {}
    user = _first(USER, (*said, context if isinstance(context, Mapping) else named))
    return str(user) if isinstance(user, UUID) else user


def _as_id(user: object) -> str | None:
    if user is None or user is ABSENT:
        return None
    check_user_id(user)
    return cast("str", user)


def _named_in(context: Any) -> Mapping[str, Any]:
    """What a graph's context holds, by name."""
    if isinstance(context, Mapping):
        return context
    slots = fields(context) if is_dataclass(context) and not isinstance(context, type) else ()
    return {each.name: getattr(context, each.name, None) for each in slots} or dict(
        getattr(context, "__dict__", {})
    )


def _nearly_preference(part: Mapping[str, Any]) -> str | None:
    others = {str(other).casefold(): other for other in part}
    starts = (other for other in others if other[:2] == PREFERENCE[:2])  # not "reference"
    close = nearest(PREFERENCE, starts, least=0.8)
    return None if close is None else others[close]


def _warn_of_misspelling(
    name: str,
    places: Mapping[str, Mapping[str, Any]],
    nearly: Callable[[Mapping[str, Any]], str | None],
    use: str = "",
) -> None:
    """Warn of what is called nearly ``name``, where nothing is: the answer would go without.

    It can't be refused: these places are for all that takes part in a run.
    """
    if any(name in part for part in places.values()):  # None, for nobody
        return
    for place, part in places.items():  # LangChain copies what is configurable into metadata
        close = nearly(part)
        if close is not None:
            warn(
                f"The model looks for {name!r}, but {place} has {close!r}, which means "
                f"nothing to it: rename it if it is meant for the model.{use and f' {use}'}",
                PreferenceWarning,
            )
            return
