"""Tools, structure and arguments bound to a model, in any order and with nothing lost.

LangChain's own bindings and wrappers hand ``bind_tools`` on to the bare model, and so forget what
was bound before. These keep it.

This module knows LangChain's runnables: nothing of how calls are answered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import (
    ConfigurableField,
    ConfigurableFieldSpec,
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableSerializable,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import (
    DynamicRunnable,
    RunnableConfigurableAlternatives,
    RunnableConfigurableFields,
)
from langchain_core.runnables.utils import AnyConfigurableField
from langchain_core.tools import BaseTool
from pydantic.fields import FieldInfo

from langchain_amulet.chat_models.description import hidden
from langchain_amulet.chat_models.structured_output import (
    Structure,
    assembled,
    check_own_names,
    structure_arguments,
    with_more,
)
from langchain_amulet.chat_models.tools import as_tools
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences.resolution import CONFIGURABLE, METADATA, check_config
from langchain_amulet.validation.checks import as_flag
from langchain_amulet.validation.wording import choose


class _Named:
    """Written by `langchain_core.load` under its own name, so that it is read as what it is."""

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """The module."""
        return cls.__module__.split(".")


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
            ToolError: They are no list, or a tool can't be read as one.
        """
        choice = {} if tool_choice is None else {"tool_choice": tool_choice}
        schemas = as_tools(list(tools) if isinstance(tools, Iterator) else tools, strict)
        return self.bind(tools=list(schemas), **choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Structure = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        allow_truncated: bool = True,
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
            allow_truncated: Whether to answer with an object that was brought to a valid end as
                ``max_tokens`` ran out, with a warning in the log. False raises
                `OutputParserException`, or puts it into ``parsing_error``.
            **kwargs: Further arguments of every call, such as ``preference``.

        Raises:
            SchemaError: There is no such method, the schema is missing, is none or can't be held
                to by this method, or an argument is one that the method sets by itself.
            ConfigurationError: A name is nearly one of these.
        """
        check_own_names(kwargs)
        arguments, parser = structure_arguments(schema, method, strict, allow_truncated)
        has_raw = as_flag("include_raw", include_raw)
        return assembled(self.bind(**with_more(arguments, kwargs, method)), parser, has_raw)


class Wrappable(TakesTools, RunnableSerializable[LanguageModelInput, AIMessage]):
    """A model, bare or bound: what is wrapped around it stays under tools."""

    def with_alisteners(self, **kwargs: Any) -> BoundAmulet:
        """The same with async functions that hear of its runs, see `Runnable.with_alisteners`."""
        return BoundAmulet(**dict(cast("Any", super().with_alisteners(**kwargs))))

    def with_fallbacks(self, fallbacks: Sequence[Runnable[Any, Any]], **kwargs: Any) -> Fallbacks:
        """The same with others for when it fails, see `Runnable.with_fallbacks`."""
        return Fallbacks(runnable=self, fallbacks=fallbacks, **kwargs)

    def configurable_alternatives(self, which: ConfigurableField, **kwargs: Any) -> Any:
        """The same with others beside it, of which a call's config chooses one."""
        return _kept(super().configurable_alternatives(which, **kwargs))


class Bindable(Wrappable):
    """A bare model: what is bound to it or left open stays under tools, too."""

    def bind(self, **kwargs: Any) -> BoundAmulet:
        """The same with arguments for every call, such as ``preference``."""
        # LangChain's own binding hands `bind_tools` on to what it binds, and drops its arguments.
        return BoundAmulet(bound=self, kwargs=kwargs, config={})

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> BoundAmulet:
        """The same with a config for every call."""
        return self.bind().with_config(config, **kwargs)

    def with_listeners(self, **kwargs: Any) -> BoundAmulet:
        """The same with functions that hear of its runs, see `Runnable.with_listeners`."""
        return cast("BoundAmulet", self.bind().with_listeners(**kwargs))

    def with_types(self, **kwargs: Any) -> BoundAmulet:
        """The same with other types of input and output, see `Runnable.with_types`."""
        return cast("BoundAmulet", self.bind().with_types(**kwargs))

    def with_retry(self, **kwargs: Any) -> BoundAmulet:
        """The same, tried again when it fails, see `Runnable.with_retry`."""
        # Within, so that it is the model that is tried again, whatever is bound around it later.
        return BoundAmulet(bound=super().with_retry(**kwargs), kwargs={}, config={})

    def configurable_fields(self, **kwargs: AnyConfigurableField) -> Any:
        """The same with fields that a call's config sets."""
        unknown = sorted(kwargs.keys() - type(self).model_fields.keys())
        # What has fields or alternatives already passes these on to the model in it.
        if unknown and not isinstance(self, DynamicRunnable):
            raise ConfigurationError(
                f"{unknown[0]!r} is no field of the model, so that no config can set it: "
                f"{choose(unknown[0], type(self).model_fields)} one of them."
            )
        return _kept(super().configurable_fields(**kwargs))


class BoundAmulet(_Named, Wrappable, RunnableBinding[LanguageModelInput, AIMessage]):
    """A model with arguments and a config bound to it."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields that ``repr`` shows, as the model's traces may show them."""
        shown = dict(super().__repr_args__())
        if _hides_preferences(self.bound):
            shown["kwargs"] = hidden(self.kwargs)
            config: dict[str, Any] = dict(self.config)
            said = {name: config[name] for name in (CONFIGURABLE, METADATA) if config.get(name)}
            shown["config"] = config | {name: hidden(part) for name, part in said.items()}
        return shown.items()

    def bind(self, **kwargs: Any) -> BoundAmulet:
        """The same with further arguments for every call."""
        return cast("BoundAmulet", RunnableBinding.bind(self, **kwargs))

    def with_preference(self, preference: Any) -> BoundAmulet:
        """The same with another preference for every call."""
        return self.bind(preference=preference)

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> BoundAmulet:
        """The same with more in its config: what is there stays, in ``metadata``, too."""
        check_config(config)
        # LangChain replaces a key of the config whole, and with it a preference in `metadata`.
        merged = merge_configs(self.config, config, cast("RunnableConfig", kwargs))
        return cast("BoundAmulet", super().with_config(merged))

    def configurable_fields(self, **kwargs: AnyConfigurableField) -> BoundAmulet:
        """The same with fields of the model that a call's config sets."""
        # Of the model, not of the binding: that has no such fields.
        model = cast("Bindable", self.bound).configurable_fields(**kwargs)
        return BoundAmulet(**{**dict(self), "bound": model})


class ConfigurableAmulet(_Named, Bindable, RunnableConfigurableFields):  # type: ignore[type-arg]
    """A model with fields that a call's config sets."""

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """Its fields, each with every form in which it may be given."""
        known = type(self.default).model_fields
        fields = {name: _typed(spec, known[name]) for name, spec in self.fields.items()}
        return RunnableConfigurableFields(default=self.default, fields=fields).config_specs


class AlternativeAmulets(_Named, Bindable, RunnableConfigurableAlternatives):  # type: ignore[type-arg]
    """A model with others beside it, of which a call's config chooses one."""


class Fallbacks(_Named, RunnableWithFallbacks[LanguageModelInput, AIMessage]):
    """A model with others for when it fails. What is bound is bound to each of them.

    A config is not: it belongs to the run that tries one after the other.
    """

    @classmethod
    def of(
        cls,
        plain: RunnableWithFallbacks[LanguageModelInput, AIMessage],
        runnables: Sequence[Runnable[LanguageModelInput, AIMessage]],
    ) -> Fallbacks:
        """Other models that take each other's place by the same rules."""
        first, *others = runnables
        return cls(**{**dict(plain), "runnable": first, "fallbacks": others})

    def bind(self, **kwargs: Any) -> Fallbacks:
        """The same with arguments for every call, whoever answers it."""
        return Fallbacks.of(self, [runnable.bind(**kwargs) for runnable in self.runnables])


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


def unbound(model: Runnable[Any, Any], config: RunnableConfig | None = None) -> Unbound:
    """Take bindings and configurable fields off a model, as a call would that is made now.

    Args:
        model: The model.
        config: The config of what the model is part of.
    """
    kwargs: dict[str, Any] = {}
    config = merge_configs(config)
    while isinstance(model, (RunnableBindingBase, DynamicRunnable)):
        if isinstance(model, RunnableBindingBase):
            kwargs, config = {**model.kwargs, **kwargs}, merge_configs(model.config, config)
            model = model.bound
        else:
            model, config = model.prepare(config)
    return Unbound(model, kwargs, config)


def _kept(plain: Any) -> Any:
    """LangChain's wrapper of a model as the one of ours that keeps what it is told."""
    if type(plain) is RunnableConfigurableFields:
        return ConfigurableAmulet(**dict(plain))
    if type(plain) is RunnableConfigurableAlternatives:
        return AlternativeAmulets(**dict(plain))
    return plain  # ours already


def _typed(spec: AnyConfigurableField, field: FieldInfo) -> AnyConfigurableField:
    """The spec with the field's whole type: LangChain takes what the field holds in the end."""
    if not isinstance(spec, ConfigurableField) or spec.annotation is not None:
        return spec
    whole = (field.annotation, *field.metadata)
    return spec._replace(annotation=cast("Any", Annotated)[whole] if field.metadata else whole[0])


def _hides_preferences(runnable: Any) -> bool:
    """Whether what is bound is a model, however wrapped, that doesn't show what it prefers."""
    while runnable is not None and not hasattr(runnable, "redact_preferences"):
        inner = (getattr(runnable, name, None) for name in ("bound", "default", "runnable"))
        runnable = next((each for each in inner if each is not None), None)
    return bool(runnable is not None and runnable.redact_preferences)
