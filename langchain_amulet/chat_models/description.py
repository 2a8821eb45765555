"""What a chat model says of itself: to traces, caches and serialisers, and of what it can do.

A cache must tell users apart, so its key shows their preferences; traces may be read by others,
so what they see can be kept without.

This module knows settings and LangChain's hooks for them: nothing of how calls are answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Self, cast

from langchain_core.language_models import ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.load import dumpd

from langchain_amulet.chat_models.cache_scope import CACHE_USER
from langchain_amulet.chat_models.deadline import BATCH, DEADLINE
from langchain_amulet.chat_models.load_settings import LoadSettings
from langchain_amulet.chat_models.model_handle import writes_thoughts
from langchain_amulet.chat_models.response import PROVIDER
from langchain_amulet.chat_models.settings import AnswerSettings, ModelSettings, as_stops
from langchain_amulet.engine import declared_context
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory.coercion import check_pickled
from langchain_amulet.preferences.resolution import PREFERENCE, STANDING
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.validation.wording import quoted

REDACTED = "[redacted]"
"""What traces show in place of preferences."""

PRIVATE = (PREFERENCE, STANDING)
"""Arguments that hold preferences."""


def hidden(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments without what it prefers, for where they are shown."""
    private = (name for name in PRIVATE if arguments.get(name))
    return {**arguments, **dict.fromkeys(private, REDACTED)}


class Described(AnswerSettings, LoadSettings, ModelSettings, BaseChatModel):
    """A chat model's settings as the rest of LangChain sees them."""

    @property
    def _llm_type(self) -> str:
        return "chat-amulet"

    # --- To caches ---

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """Which model answers and how, as plain data."""
        names = {*LoadSettings.model_fields, *AnswerSettings.model_fields}
        chosen = self.model_dump(include=names, exclude={"stop"})
        # LangChain overwrites "stop" by that of the call.
        return {**chosen, "model_id": resolve_model(self.model), "stop_strings": self.stop}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """All that an answer depends on besides the conversation: what caches tell calls apart by.

        Where two calls are to be answered alike, it doesn't matter which of them set what.
        """
        model_id = resolve_model(self._model_name(kwargs))
        settings = self.for_call(stop, kwargs)
        return repr((self._llm_type, model_id, self.load_options, settings, self.output_version))

    def _model_name(self, kwargs: Mapping[str, Any]) -> str:
        """The name of the model that a call is for."""
        name = kwargs.get("model")
        if name is None:
            return self.model
        if not isinstance(name, str):
            raise ConfigurationError(
                f"model must be the name of one, not of type {type(name).__name__}: use a local "
                "folder or a repository on the Hub, or leave it out."
            )
        return name or self.model

    # --- To traces ---

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        for hidden in (BATCH, CACHE_USER, DEADLINE):
            kwargs.pop(hidden, None)
        return self._shown(super()._get_invocation_params(stop=stop, **kwargs))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        stops = list(self.stop if stop is None else as_stops(stop))
        params = super()._get_ls_params(stop=stops or None, **kwargs)
        params["ls_provider"] = PROVIDER
        if not self.redact_preferences:
            return params
        # These take the place of what the call's metadata says, where they may have come from.
        own = hidden({name: kwargs[name] for name in PRIVATE if name in kwargs})
        return cast("LangSmithParams", {**params, **own})

    def _shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as traces may show them."""
        return hidden(params) if self.redact_preferences else dict(params)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields that ``repr`` shows, as traces may show them."""
        shown = self._shown(dict(cast("Any", super().__repr_args__())))
        return shown.items()

    # --- To serialisers ---

    def __getstate__(self) -> dict[Any, Any]:
        """What is pickled: settings, and the memory where it can be.

        Raises:
            ConfigurationError: The memory can't be pickled.
        """
        check_pickled(
            self.memory,
            "a model's",
            "pickle a model_copy(update={'memory': None}), and set memory again where it is "
            "loaded.",
        )
        return super().__getstate__()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether `langchain_core.load` can write and read it: settings only, no weights."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where `langchain_core.load` finds the class: the room, whatever its files are called."""
        return ["langchain_amulet", "chat_models"]

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Settings that aren't plain data by themselves, as plain data."""
        return self.model_dump(include={PREFERENCE, "method"})

    @cached_property
    def _serialized(self) -> dict[str, Any]:
        """The model as traces show it."""
        written = dumpd(self)
        return {**written, "kwargs": self._shown(written["kwargs"])}

    # --- To whoever changes it ---

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field to what a new model would have for this value; traces show what it is now.

        LangChain's own fields are set as they are, as they are for any chat model.

        Raises:
            ConfigurationError: There is no such field, or it says which weights are loaded.
            AmuletError: As for a new model with this value; nothing was changed.
        """
        if not (name.startswith("_") or name in BaseChatModel.model_fields):
            if name in LoadSettings.model_fields:
                raise ConfigurationError(
                    f"{name} is fixed once a model is made, and can't become {quoted(value)}: make "
                    f"another one, with ChatAmulet({name}=...)."
                )
            value = self._checked(name, value)
            self.__dict__.pop("_serialized", None)
        super().__setattr__(name, value)

    def _checked(self, name: str, value: Any) -> Any:
        """A field's value as a new model would have it, beside the settings that are there."""
        settings = ModelSettings if name in ModelSettings.model_fields else AnswerSettings
        kept = {field: getattr(self, field) for field in settings.model_fields}
        with explained(ConfigurationError, type(self).model_fields):
            return getattr(settings.model_validate({**kept, name: value}), name)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other settings, which aren't checked; traces show what it is now."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("_serialized", None)
        return copy

    # --- What it can do ---

    def _resolve_model_profile(self) -> ModelProfile:
        model_id = resolve_model(self.model)
        context = declared_context(model_id, self.revision)
        window = {"max_input_tokens": context, "max_output_tokens": context} if context else {}
        thinks = writes_thoughts(model_id, self.chat_template)
        profile = {
            "name": self.model,
            **window,
            **dict.fromkeys(_ABILITIES, True),
            **dict.fromkeys(_INABILITIES, False),
            **({} if thinks is None else {"reasoning_output": thinks}),
        }
        return cast("ModelProfile", profile)


_ABILITIES = (
    "open_weights",
    "text_inputs",
    "text_outputs",
    "tool_calling",
    "tool_choice",
    "tool_call_streaming",
    "structured_output",
    "temperature",
)
_INABILITIES = (
    "image_inputs",
    "image_url_inputs",
    "pdf_inputs",
    "audio_inputs",
    "video_inputs",
    "image_tool_message",
    "pdf_tool_message",
    "image_outputs",
    "audio_outputs",
    "video_outputs",
    "attachment",
)
