"""Users' preferences in agents: middleware for LangChain's ``create_agent``.

Needs the extra ``agents``, which brings LangChain itself.

This module knows agents' requests for an answer: nothing of prompts or decoding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.store.base import BaseStore

from langchain_amulet.chat_models.cache_scope import CACHE_USER
from langchain_amulet.chat_models.chat_amulet import ChatAmulet
from langchain_amulet.chat_models.runnables import Fallbacks, Unbound, unbound
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import PreferenceExtractor, as_memory, as_store, preference_tools
from langchain_amulet.memory.coercion import AgentStore
from langchain_amulet.memory.resolvers import Resolve
from langchain_amulet.preferences.resolution import (
    PreferenceSource,
    find_user,
    without_user,
)
from langchain_amulet.preferences.user_id import USER
from langchain_amulet.validation.checks import as_flag
from langchain_amulet.validation.packages import needing, warn
from langchain_amulet.validation.wording import quoted
from langchain_amulet.waiting.procedure import Procedure, arun, run

with needing("agents", "Middleware for agents"):
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
    from langgraph.runtime import Runtime

Behavior = Literal["ignore", "warn", "raise"]
"""What to do about a model that can't be steered: answer plainly, warn of it, or refuse."""

Settings = dict[str, Any]
"""Arguments for a model's call."""


class PreferenceMiddleware(AgentMiddleware[Any, Any, Any]):
    """Has an agent answer each user in their own style, and remember it if asked.

    ::

        agent = create_agent(llm, tools, middleware=[PreferenceMiddleware()],
                             store=store, context_schema=Context)
        agent.invoke({"messages": [...]}, context=Context(user_id="ada"))

    The user is named by ``user_id`` in the ``configurable`` or ``metadata`` of the config, or in
    the agent's context. A preference in the config wins over what is stored.

    Args:
        memory: What `ChatAmulet` takes for one; None for the agent's own store.
        learning: Whether the agent gets the tools of `preference_tools`, which write to it.
        unsupported_model_behavior: What to do where the agent's model, or one of those for when
            it fails, isn't a `ChatAmulet`: it is never sent a preference.

    Raises:
        ConfigurationError: An argument is none of what it may be, or the agent is to remember in
            a memory that can't be written to.
    """

    def __init__(
        self,
        memory: PreferenceSource | BaseStore | Resolve | None = None,
        *,
        learning: bool = False,
        unsupported_model_behavior: Behavior = "warn",
    ) -> None:
        """Ask nothing yet."""
        super().__init__()
        if not isinstance(
            unsupported_model_behavior, str
        ) or unsupported_model_behavior not in get_args(Behavior):
            raise ConfigurationError(
                f"unsupported_model_behavior must be one of {', '.join(get_args(Behavior))}, not "
                f"{quoted(unsupported_model_behavior)}: use one of those."
            )
        self._behavior = unsupported_model_behavior
        self._memory = None if memory is None else as_memory(memory)
        self._agent_store = AgentStore()
        if as_flag("learning", learning):
            if self._memory is not None:
                self._agent_store = AgentStore(as_store(self._memory))
            self.tools = preference_tools(self._agent_store)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Have the model answer in the style of the user who asks."""
        return handler(run(self._personalized(request)))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """See `wrap_model_call`."""
        return await handler(await arun(self._personalized(request)))

    def _personalized(self, request: ModelRequest[Any]) -> Procedure[None, ModelRequest[Any]]:
        """The request with what its user prefers, for each model that may answer it."""
        whole = unbound(request.model)
        settings = []
        for model in _models(whole):
            bare = unbound(model, whole.config)
            settings.append((yield from self._settings(request, whole, bare)))
        return _with_settings(request, settings)

    def _settings(
        self, request: ModelRequest[Any], whole: Unbound, bare: Unbound
    ) -> Procedure[None, Settings | None]:
        """What one model is to prefer, for it not to search again; None if it can't be steered."""
        if not isinstance(bare.model, ChatAmulet):
            self._report(bare.model)
            return None
        kwargs = {**bare.kwargs, **whole.kwargs, **request.model_settings}
        user_id = find_user(bare.config, kwargs, request.runtime.context)
        kwargs[USER] = user_id
        resolver = replace(bare.model.sources, memory=self._memory_for(request, bare.model))
        found = yield from resolver.finding(kwargs, bare.config, lambda: request.messages)
        return {**found, USER: None, CACHE_USER: user_id}

    def _memory_for(self, request: ModelRequest[Any], model: ChatAmulet) -> PreferenceSource:
        store = request.runtime.store
        if self._memory is not None:
            return self._memory
        if store is None and model.memory is not None:
            return model.memory
        return self._agent_store.of(store)

    def _report(self, model: object) -> None:
        if self._behavior == "ignore":
            return
        message = (
            f"PreferenceMiddleware steers a ChatAmulet, not a {type(model).__name__}, which "
            "answers without the user's preference: use a ChatAmulet, or "
            "unsupported_model_behavior='ignore'."
        )
        if self._behavior == "raise":
            raise ConfigurationError(message)
        warn(message)


class ExtractionMiddleware(AgentMiddleware[Any, Any, Any]):
    """Has what users say they prefer remembered, after each turn and beside the conversation.

    Args:
        extractor: Reads what they say; it isn't closed here.
    """

    def __init__(self, extractor: PreferenceExtractor) -> None:
        """Read nothing yet."""
        super().__init__()
        self._extractor = extractor

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> None:
        """Hand on what the user wrote last; waits for nothing."""
        user_id = find_user(context=runtime.context)
        if user_id is not None:
            written = [m for m in state["messages"] if isinstance(m, HumanMessage)]
            self._extractor.submit(user_id, written[-1:])

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> None:
        """See `after_agent`."""
        self.after_agent(state, runtime)


def _models(whole: Unbound) -> Iterable[Runnable[Any, Any]]:
    """The models that may answer: one, and those for when it fails."""
    model = whole.model
    return model.runnables if isinstance(model, RunnableWithFallbacks) else [model]


def _with_settings(
    request: ModelRequest[Any], settings: Sequence[Settings | None]
) -> ModelRequest[Any]:
    """The request with settings for each model, and none for those that can't be steered."""
    whole = unbound(request.model)
    if not isinstance(whole.model, RunnableWithFallbacks):
        merged = {**request.model_settings, **(settings[0] or {})}
        return request.override(model_settings=merged)
    # The agent's settings reach all of them, so what is for one is bound to it.
    models = [
        model.bind(**{**whole.kwargs, **(own or {})})
        for model, own in zip(whole.model.runnables, settings, strict=True)
    ]
    fallbacks = Fallbacks.of(whole.model, models)
    config = request.model.config if isinstance(request.model, RunnableBindingBase) else None
    return request.override(
        model=cast("Any", fallbacks.with_config(config) if config else fallbacks),
        model_settings=without_user(request.model_settings),
    )
