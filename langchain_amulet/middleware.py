"""Users' preferences in agents: middleware for LangChain's ``create_agent``.

Needs the extra ``agents``, which brings LangChain itself.

This module knows agents' requests for an answer: nothing of prompts or decoding.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore

from langchain_amulet.chat_models.chat_amulet import ChatAmulet
from langchain_amulet.chat_models.runnables import Fallbacks, Unbound, unbound
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import PreferenceExtractor, as_memory, preference_tools
from langchain_amulet.memory.graph_memory import GraphMemory
from langchain_amulet.memory.resolvers import Resolve
from langchain_amulet.preferences.resolution import (
    USER,
    PreferenceResolver,
    PreferenceSource,
    find_user,
    without_user,
)

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
        learning: Whether the agent gets the tools of `preference_tools`.
        unsupported_model_behavior: What to do where the agent's model, or one of those for when
            it fails, isn't a `ChatAmulet`: it is never sent a preference.

    Raises:
        ConfigurationError: An argument is none of what it may be, or the agent is to remember in
            a memory that can only be asked.
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
        if unsupported_model_behavior not in get_args(Behavior):
            raise ConfigurationError(
                f"unsupported_model_behavior must be one of {', '.join(get_args(Behavior))}, not "
                f"{unsupported_model_behavior!r}: use one of those."
            )
        self._behavior = unsupported_model_behavior
        self._memory = None if memory is None else as_memory(memory)
        self._kept = GraphMemory()
        if learning:
            self._kept = GraphMemory(self._memory)
            self.tools = preference_tools(self._kept)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Have the model answer in the style of the user who asks."""
        asks = self._asks(request)
        return handler(_styled(request, [ask.find() if ask else None for ask in asks]))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """The same without blocking the event loop."""
        asks = self._asks(request)
        found = [await ask.afind() if ask else None for ask in asks]
        return await handler(_styled(request, found))

    def _asks(self, request: ModelRequest[Any]) -> list[_Ask | None]:
        """What is to be found out for each model that may answer; None if it can't be steered."""
        whole = unbound(request.model)
        return [self._ask(request, whole, unbound(model, whole.config)) for model in _models(whole)]

    def _ask(self, request: ModelRequest[Any], whole: Unbound, bare: Unbound) -> _Ask | None:
        if not isinstance(bare.model, ChatAmulet):
            self._report(bare.model)
            return None
        sources = replace(bare.model.sources, memory=self._memory_for(request, bare.model))
        kwargs = {**bare.kwargs, **whole.kwargs, **request.model_settings}
        user = {USER: find_user(bare.config, kwargs, request.runtime.context)}
        return _Ask(request.messages, sources, kwargs | user, bare.config)

    def _memory_for(self, request: ModelRequest[Any], model: ChatAmulet) -> PreferenceSource:
        store = request.runtime.store
        if self._memory is None and store is None and model.memory is not None:
            return model.memory
        return self._kept.over(store) if self._memory is None else self._memory

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
        warnings.warn(message, stacklevel=3)


class ExtractionMiddleware(AgentMiddleware[Any, Any, Any]):
    """Has what users say they wish remembered, after each turn and beside the conversation.

    Args:
        extractor: Who reads it; it isn't closed here.
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


@dataclass(frozen=True)
class _Ask:
    """How to find out what a model is to prefer."""

    written: Sequence[BaseMessage]
    sources: PreferenceResolver
    kwargs: dict[str, Any]
    config: RunnableConfig

    def find(self) -> Settings:
        """What the model prefers, for it not to search again."""
        return {**self.sources.find(self.kwargs, self.config, self.messages), USER: None}

    async def afind(self) -> Settings:
        """The same without blocking the event loop."""
        found = await self.sources.afind(self.kwargs, self.config, self.messages)
        return {**found, USER: None}

    def messages(self) -> Sequence[BaseMessage]:
        """The conversation."""
        return self.written


def _models(whole: Unbound) -> Iterable[Runnable[Any, Any]]:
    """The models that may answer: one, and those for when it fails."""
    model = whole.model
    return model.runnables if isinstance(model, RunnableWithFallbacks) else [model]


def _styled(request: ModelRequest[Any], found: Sequence[Settings | None]) -> ModelRequest[Any]:
    """The request with what was found for each model, and nothing for those it is nothing to."""
    whole = unbound(request.model)
    if not isinstance(whole.model, RunnableWithFallbacks):
        settings = {**request.model_settings, **(found[0] or {})}
        return request.override(model_settings=settings)
    # The agent's settings reach all of them, so each is told by itself.
    models = [
        model.bind(**{**whole.kwargs, **(settings or {})})
        for model, settings in zip(whole.model.runnables, found, strict=True)
    ]
    fallbacks = Fallbacks.of(whole.model, models)
    config = request.model.config if isinstance(request.model, RunnableBindingBase) else None
    return request.override(
        model=cast("Any", fallbacks.with_config(config) if config else fallbacks),
        model_settings=without_user(request.model_settings),
    )
