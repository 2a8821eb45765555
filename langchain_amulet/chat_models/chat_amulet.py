"""`ChatAmulet`: a local chat model that answers every caller in the style of their preference.

This module connects LangChain to the parts, and does nothing by itself: what may be set is in
`settings`, what becomes of a call in `call`, of its tokens in `response`, of its model in
`model_handle`, what traces and caches are told in `description`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from types import TracebackType
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor
from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from typing_extensions import Self

from langchain_amulet.chat_models.call import prepare, prompt_builder
from langchain_amulet.chat_models.description import Described
from langchain_amulet.chat_models.drafts import Answering
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.model_handle import ModelHandle
from langchain_amulet.chat_models.runnables import Bindable
from langchain_amulet.chat_models.scoring import TakesAnswers
from langchain_amulet.chat_models.search import answering
from langchain_amulet.chat_models.tools import as_tools
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import as_memory
from langchain_amulet.preferences.preference import PreferenceLike, as_preferences, check_lengths
from langchain_amulet.preferences.resolution import (
    PreferenceResolver,
    PreferenceSource,
    without_user,
)
from langchain_amulet.validation import explained
from langchain_amulet.version import VERSION


class ChatAmulet(Bindable, Described, TakesAnswers):  # type: ignore[misc]
    """A local chat model, steered while it decodes by what the user prefers.

    Settings, with their defaults and meanings, are those of `chat_models.settings`: see
    ``help(AnswerSettings)`` and ``help(LoadSettings)``, or the tables of docs/chat-model.md under
    "API reference". Every field of `AnswerSettings` can also be set by a call, as a keyword
    argument. The preference may come in ``configurable`` or ``metadata`` of its config, too::

        llm = ChatAmulet(model="pocket")
        llm.invoke("How do I sleep better?", preference="Keep it short.")
        llm.invoke("How do I sleep better?", {"metadata": {"preference": "Be uplifting."}})

    Weights are loaded at first use, and once per process.

    Attributes:
        memory: Who knows what users prefer: a `PreferenceMemory`, a LangGraph store, or a
            function of a user's id, sync or async.
        streaming: Whether ``invoke`` decodes by way of streaming, so that callbacks see tokens;
            False keeps ``stream`` from streaming, too.
        max_retries: Accepted, as other chat models have it; a local model has nothing to retry.

    Raises:
        ConfigurationError: A field is unknown or has a value that can't work.
    """

    model_config = ConfigDict(frozen=False, extra="forbid", protected_namespaces=())

    memory: Annotated[PreferenceSource, BeforeValidator(as_memory)] | None = Field(
        default=None, exclude=True, repr=False
    )
    # None, as LangChain takes False for a wish once a copy has been made of the model's fields.
    streaming: bool | None = None
    max_retries: int | None = None

    _handle: ModelHandle = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Check the fields; loads nothing."""
        with explained(ConfigurationError, type(self).model_fields):
            super().__init__(**fields)

    @model_validator(mode="after")
    def _set_up_amulet(self) -> Self:
        self._add_version("langchain-amulet", VERSION)
        self._handle = ModelHandle(self.model, self.load_options)
        return self

    # --- Life ---

    def close(self) -> None:
        """Let the weights go; later calls raise `EngineClosedError`. Copies are closed with it."""
        self._handle.close()

    def __enter__(self) -> Self:
        """Close on leaving the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the weights go."""
        self.close()

    def with_preference(self, preference: PreferenceLike) -> Self:
        """The same model on the same weights, with another preference of its own.

        Raises:
            PreferenceError: It is malformed or too long.
        """
        preferences = as_preferences(preference)
        check_lengths(preferences, self.max_preference_chars)
        return self.model_copy(update={"preference": preferences})

    # --- Calls: the preference moves from the config to where everything below can see it ---

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer in the style that the call or its config asks for."""
        return super().invoke(input, config, stop=stop, **self._lift(input, config, kwargs))

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer in the style that the call or its config asks for."""
        lifted = await self._alift(input, config, kwargs)
        return await super().ainvoke(input, config, stop=stop, **lifted)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream an answer in the style that the call or its config asks for."""
        yield from super().stream(input, config, stop=stop, **self._lift(input, config, kwargs))

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream an answer in the style that the call or its config asks for."""
        lifted = await self._alift(input, config, kwargs)
        async for chunk in super().astream(input, config, stop=stop, **lifted):
            yield chunk

    def stream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Any = "v2",
        **kwargs: Any,
    ) -> Any:
        """Stream events of an answer; version "v2" passes through `astream` by itself."""
        lifted = self._lift(input, config, kwargs) if version == "v3" else kwargs
        return super().stream_events(input, config, version=version, **lifted)

    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Any = "v2",
        **kwargs: Any,
    ) -> Any:
        """Stream events of an answer; version "v2" passes through `astream` by itself."""
        if version == "v3":
            return self._astream_events_v3(input, config, kwargs)
        return super().astream_events(input, config, version=version, **kwargs)

    async def _astream_events_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> Any:
        lifted = await self._alift(input, config, kwargs)
        return await super().astream_events(input, config, version="v3", **lifted)

    def _lift(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The call's arguments, with what it prefers in place of its user."""
        found = self.sources.find(kwargs, config, lambda: self._messages(input))
        return without_user(kwargs) | found

    async def _alift(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The same without blocking the event loop."""
        found = await self.sources.afind(kwargs, config, lambda: self._messages(input))
        return without_user(kwargs) | found

    def _messages(self, input: LanguageModelInput) -> list[BaseMessage]:
        return self._convert_input(input).to_messages()

    @property
    def sources(self) -> PreferenceResolver:
        """Where calls that don't say what they prefer may find it."""
        return PreferenceResolver(self.memory, self.preference, self.compose)

    # --- Decoding ---

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # In one piece LangChain makes v1 blocks itself, and better.
        return generate_from_stream(self._prepare(messages, stop, kwargs).chunks())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = await self._aprepare(messages, stop, kwargs)
        async with aclosing(call.achunks()) as chunks:
            return generate_from_stream(iter([chunk async for chunk in chunks]))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        call = self._prepare(messages, stop, kwargs, self.output_version)
        with closing(call.chunks()) as chunks:
            for chunk in chunks:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = await self._aprepare(messages, stop, kwargs, self.output_version)
        async with aclosing(call.achunks()) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _prepare(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
        output_version: str | None = None,
    ) -> Answering:
        """The call, loaded, checked and rendered."""
        model = kwargs.get("model") or self.model
        settings = self.for_call(stop, kwargs)
        call = prepare(model, self._answering(kwargs), settings, messages, output_version)
        return answering(settings.method, call)

    async def _aprepare(self, *arguments: Any) -> Answering:
        """The same off the event loop, as the first call loads the weights.

        Only decoding takes rows: a task that is cancelled while it waits leaves nothing behind.
        """
        return await run_in_executor(None, self._prepare, *arguments)

    def _answering(self, kwargs: Mapping[str, Any]) -> ModelHandle:
        return self._handle.of(kwargs.get("model") or self.model)

    # --- What LangChain asks of a model ---

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text, by the model's own tokenizer."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        ids = self._handle.opened.tokenizer.encode(text, add_special_tokens=False)
        return [int(index) for index in ids]

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of the conversation as it is prompted, without any preference."""
        builder = prompt_builder(self._handle.opened, self, as_tools(tools))
        return len(builder.build(to_turns(messages), ()))
