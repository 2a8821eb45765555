"""Tools, structure and arguments bound to a model, in any order and with nothing lost.

LangChain's own bindings hand ``bind_tools`` on to the bare model, and so forget what was bound
before. These keep it.

This module knows LangChain's runnables: nothing of how calls are answered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable, RunnableConfigurableFields
from langchain_core.tools import BaseTool

from langchain_amulet.structured import Structure, assembled, structure_arguments
from langchain_amulet.tools import as_tool


class TakesTools:
    """Whatever has a ``bind`` of its own can take tools and schemas by it."""

    @abstractmethod
    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The same with arguments for every call."""

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The same with tools for every call.

        Args:
            tools: Functions, Pydantic classes, tools, or schemas.
            tool_choice: "auto" or None leaves it to the model; "any" or True makes it call one;
                "none" keeps the tools away; a name makes it call that one. A call that must be
                made is decoded under a grammar, so that it is always valid.
            strict: Whether calls that needn't be made are decoded under a grammar, too.
            **kwargs: Further arguments of every call, such as ``preference``.

        Raises:
            ToolError: A tool can't be read as one.
        """
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        schemas = [as_tool(tool, strict) for tool in tools]
        return self.bind(tools=schemas, **choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Structure = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable that answers with objects, always valid by the schema.

        Args:
            schema: A Pydantic class, a TypedDict or a JSON schema; None for any JSON object,
                with ``method="json_mode"``.
            method: "function_calling" has the model call a tool; "json_schema" tells it the
                schema; "json_mode" leaves it to the caller to ask for JSON.
            include_raw: Whether to answer with a dict of ``raw``, ``parsed`` and
                ``parsing_error``.
            strict: As in `bind_tools`; answers are valid in any case.
            **kwargs: Further arguments of every call, such as ``preference``.

        Raises:
            SchemaError: There is no such method, or the schema is missing.
        """
        arguments, parser = structure_arguments(schema, method, strict)
        return assembled(self.bind(**arguments, **kwargs), parser, include_raw)


class BoundAmulet(TakesTools, RunnableBinding[LanguageModelInput, AIMessage]):
    """A model with arguments bound to it, which stay when tools come on top."""

    @classmethod
    def lc_id(cls) -> list[str]:
        """As any other binding: what is bound is serialised with it."""
        return RunnableBinding.lc_id()

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The same with further arguments for every call."""
        return RunnableBinding.bind(self, **kwargs)

    def with_preference(self, preference: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The same with another preference for every call."""
        return self.bind(preference=preference)


class ConfigurableAmulet(TakesTools, RunnableConfigurableFields):  # type: ignore[type-arg]
    """A model with fields that a call's config sets, which it still does when tools come on top."""

    def bind(self, **kwargs: Any) -> BoundAmulet:
        """The same with arguments for every call."""
        return BoundAmulet(bound=self, kwargs=kwargs, config={})

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> BoundAmulet:
        """The same with a config for every call."""
        return BoundAmulet(
            bound=self, kwargs={}, config=merge_configs(config, cast("RunnableConfig", kwargs))
        )


@dataclass(frozen=True)
class Unbound:
    """A model with what was bound to it.

    Attributes:
        model: The model itself, its fields set by the config.
        kwargs: Arguments for every call.
        config: The config for every call.
    """

    model: Runnable[Any, Any]
    kwargs: dict[str, Any]
    config: RunnableConfig


def unbound(model: Runnable[Any, Any]) -> Unbound:
    """Take bindings and configurable fields off a model, as a call would that is made now."""
    kwargs: dict[str, Any] = {}
    config = RunnableConfig()
    while isinstance(model, (RunnableBindingBase, DynamicRunnable)):
        if isinstance(model, RunnableBindingBase):
            kwargs, config = {**model.kwargs, **kwargs}, merge_configs(model.config, config)
            model = model.bound
        else:
            model, config = model.prepare(config)
    return Unbound(model, kwargs, config)
