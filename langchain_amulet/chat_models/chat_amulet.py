"""`ChatAmulet`: a local chat model that answers every caller in the style of their preference.

This module connects LangChain to the parts, and does nothing by itself: what may be set is in
`settings` and `load_settings`, what becomes of a call in `call` and `search`, of many in `batches`,
of its tokens in `response`, of its weights in `lifetime`, what traces and caches are told in
`description`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    get_buffer_string,
)
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, PrivateAttr, model_validator

from langchain_amulet.chat_formats.chat_template import CONTINUE
from langchain_amulet.chat_formats.turns import check_characters
from langchain_amulet.chat_models.batches import Batching
from langchain_amulet.chat_models.cache_scope import CACHE_USER, TELLS_APART, cache_scope
from langchain_amulet.chat_models.call import Chunks, prepare
from langchain_amulet.chat_models.call_input import as_prompt
from langchain_amulet.chat_models.deadline import (
    BATCH,
    DEADLINE,
    call_deadline,
    in_time,
)
from langchain_amulet.chat_models.environment import from_environment
from langchain_amulet.chat_models.lifetime import Loadable
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.misplaced import warn_of_misplaced, warn_of_unused_strength
from langchain_amulet.chat_models.model_handle import ModelHandle
from langchain_amulet.chat_models.other_names import OTHER_NAMES
from langchain_amulet.chat_models.prompts import codec_for, prompt_builder
from langchain_amulet.chat_models.response import Delivery
from langchain_amulet.chat_models.runnables import Bindable
from langchain_amulet.chat_models.scoring import check_examples, estimator_for, fit, score
from langchain_amulet.chat_models.search import answer
from langchain_amulet.chat_models.tools import as_tools
from langchain_amulet.errors import (
    ChatTemplateError,
    ConfigurationError,
    DeadlineError,
    RequestError,
)
from langchain_amulet.fitting.answer_scores import AnswerScore
from langchain_amulet.fitting.estimator import Estimator
from langchain_amulet.fitting.examples import Applies, Examples, FittedPreferences, always
from langchain_amulet.preferences.preference import (
    AnyPreference,
    PreferenceLike,
    as_preferences,
    check_lengths,
)
from langchain_amulet.preferences.resolution import (
    PreferenceResolver,
    check_config,
    configurable_in,
    find_user,
    named_user,
    without_user,
)
from langchain_amulet.validation.checks import as_flag, check_callable, check_type
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.version import VERSION
from langchain_amulet.waiting.procedure import Procedure, arun, astream, run, stream
from langchain_amulet.waiting.threads import Workers
from langchain_amulet.waiting.wait import in_executor

MOST_LOOKUPS = 64
"""How many threads ask a memory at a time for calls that have a timeout: one that hangs keeps
them, and calls that come later wait for one of them until their own timeout."""

NOT_LOOKED_UP = (
    "By then the memory hadn't said what the user prefers: mend it, or give it a timeout of its "
    "own, as PreferenceMemory has."
)
"""What is said besides of a call whose time was over before the model was asked."""


class ChatAmulet(Bindable, Batching, Loadable):  # type: ignore[misc]
    """A local chat model, steered while it decodes by what the user prefers.

    Settings, with their defaults and meanings, are those of `chat_models.settings` and
    `chat_models.load_settings`: see ``help(AnswerSettings)``, ``help(LoadSettings)`` and
    ``help(ModelSettings)``, or the tables of docs/chat-model.md under "API reference". Every field
    of `AnswerSettings` can also be set by a call, as a keyword argument. The preference may come in
    ``configurable`` or ``metadata`` of its config, too::

        llm = ChatAmulet(model="pocket")
        llm.invoke("How do I sleep better?", preference="Keep it short.")
        llm.invoke("How do I sleep better?", {"metadata": {"preference": "Be uplifting."}})

    Weights are loaded at first use, and once per process.

    Raises:
        ConfigurationError: A field is unknown or has a value that can't work.
    """

    model_config = ConfigDict(frozen=False, extra="forbid", protected_namespaces=())

    _asking: tuple[int, Workers] = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Check the fields; loads nothing."""
        fields = from_environment(fields) | fields
        with explained(ConfigurationError, type(self).model_fields, others=OTHER_NAMES):
            super().__init__(**fields)

    @model_validator(mode="after")
    def _set_up_amulet(self) -> Self:
        self._add_version("langchain-amulet", VERSION)
        self._asking = id(self.memory), Workers(MOST_LOOKUPS)
        return self

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
        return super().invoke(
            input, config, stop=stop, **run(self._resolved(input, config, kwargs))
        )

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """Answer in the style that the call or its config asks for."""
        resolved = await arun(self._resolved(input, config, kwargs))
        return await super().ainvoke(input, config, stop=stop, **resolved)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream an answer in the style that the call or its config asks for."""
        yield from super().stream(
            input, config, stop=stop, **run(self._resolved(input, config, kwargs))
        )

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream an answer in the style that the call or its config asks for."""
        resolved = await arun(self._resolved(input, config, kwargs))
        async for chunk in super().astream(input, config, stop=stop, **resolved):
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
        check_type("version", version, str)
        resolved = run(self._resolved(input, config, kwargs)) if version == "v3" else kwargs
        return super().stream_events(input, config, version=version, **resolved)

    def astream_events(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        version: Any = "v2",
        **kwargs: Any,
    ) -> Any:
        """Stream events of an answer; version "v2" passes through `astream` by itself."""
        check_type("version", version, str)
        if version == "v3":
            return self._astream_events_v3(input, config, kwargs)
        return super().astream_events(input, config, version=version, **kwargs)

    async def _astream_events_v3(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> Any:
        resolved = await arun(self._resolved(input, config, kwargs))
        return await super().astream_events(input, config, version="v3", **resolved)

    def _resolved(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> Procedure[None, dict[str, Any]]:
        """The call's arguments, with what it prefers, its user for the cache, and its deadline.

        The last two have to be arguments, as LangChain lies between this and decoding.
        """
        check_config(config)
        if "stream" in kwargs:  # LangChain's own, which it only asks whether it is true
            as_flag("stream", kwargs["stream"])
        if configurable := configurable_in(config):
            warn_of_misplaced(configurable, kwargs, self)
        deadline = call_deadline(kwargs, self.timeout)
        finding = self.sources.finding(kwargs, config, partial(self._messages, input))
        try:
            found = yield from in_time(finding, deadline, self._lookups)
        except DeadlineError as error:
            raise DeadlineError(f"{error} {NOT_LOOKED_UP}") from None
        timed = {} if deadline is None else {DEADLINE: deadline}
        warn_of_unused_strength(kwargs, found)
        # What an earlier search found stays, as by now it may have taken the user out.
        user = kwargs[CACHE_USER] if CACHE_USER in kwargs else self._user(kwargs, config)
        return without_user(kwargs) | found | {CACHE_USER: user} | timed

    @property
    def _lookups(self) -> Workers:
        """Threads that ask the memory; not those of a copy with another one, which may hang."""
        if self._asking[0] != id(self.memory):  # one that is asked lives, and keeps its id
            self._asking = id(self.memory), Workers(MOST_LOOKUPS)
        return self._asking[1]

    def _user(self, kwargs: Mapping[str, Any], config: RunnableConfig | None) -> object:
        """In whose name a call is made; None where that makes no difference."""
        if self.memory is not None:
            return find_user(config, kwargs)
        # Without a memory a config's user_id is another program's, and may be anything.
        is_needed = self.cache_scope == "user"
        return named_user(config, kwargs, use=TELLS_APART) if is_needed else None

    def _messages(self, input: LanguageModelInput) -> list[BaseMessage]:
        return self._convert_input(input).to_messages()

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        return as_prompt(super()._convert_input, model_input)

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
        whole = self._answer(messages, stop, kwargs, Delivery(in_one_piece=True))
        return generate_from_stream(stream(whole))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        whole = self._answer(messages, stop, kwargs, Delivery(in_one_piece=True))
        async with aclosing(astream(whole)) as chunks:
            return generate_from_stream(iter([chunk async for chunk in chunks]))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages, stop, kwargs, Delivery(self.output_version))
        with closing(stream(answer)) as chunks:
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
        answer = self._answer(messages, stop, kwargs, Delivery(self.output_version))
        async with aclosing(astream(answer)) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def _answer(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
        delivery: Delivery,
    ) -> Chunks:
        """Check the call, load the model, render the prompts; then decode.

        The first call loads the weights, so all of that is done off the event loop. Only decoding
        takes rows: a task that is cancelled while it waits leaves nothing behind.
        """
        deadline = call_deadline(kwargs, self.timeout)
        name = self._model_name(kwargs)
        handle = self._handle.of(name)
        scope = cache_scope(self.cache_scope, kwargs.get(CACHE_USER))

        def begun() -> Chunks:
            settings = self.for_call(stop, kwargs)
            of_batch = BATCH in kwargs
            call = prepare(name, handle, settings, messages, delivery, deadline, scope, of_batch)
            return answer(call)

        def whole() -> Chunks:
            yield from (yield in_executor(begun, handle.workers))

        yield from in_time(whole(), deadline)

    def _handle_for(self, kwargs: Mapping[str, Any]) -> ModelHandle:
        """The model that a call is for."""
        return self._handle.of(self._model_name(kwargs))

    # --- Answers that are given instead of decoded ---

    def score(
        self,
        input: LanguageModelInput,
        answer: AIMessage | str,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AnswerScore:
        """How likely an answer would be, token by token: base, prompted and steered.

        Nothing is decoded. Thoughts aren't scored, tool calls are.

        Args:
            input: The conversation, as for ``invoke``.
            answer: What is answered.
            config: As for ``invoke``: it may bring the preference or the user.
            **kwargs: As for ``invoke``, such as ``preference`` and ``method``.

        Raises:
            RequestError: As ``invoke``, and if the chat template can't write the answer.
        """
        return run(self._score(input, answer, config, kwargs))

    async def ascore(
        self,
        input: LanguageModelInput,
        answer: AIMessage | str,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AnswerScore:
        """How likely an answer would be; see `score`."""
        return await arun(self._score(input, answer, config, kwargs))

    def fit(
        self,
        preferences: Sequence[AnyPreference] | PreferenceLike,
        examples: Examples,
        *,
        applies: Applies[AnyPreference] = always,
        deviation: float = 1.0,
        **kwargs: Any,
    ) -> FittedPreferences[AnyPreference]:
        """Fit preferences to answers that a user liked, or chose over others.

        One preference is given its strength, several their weights; all else stays as it is.
        What they were is where the fit starts from: the method's strength where they have none.

        Args:
            preferences: Those by which answers are steered, as for ``invoke``.
            examples: What was liked and what was chosen.
            applies: Whether a preference counts for a conversation with this last question.
            deviation: How far from where it starts the fit is expected to end, as a standard
                deviation. The smaller it is, the more examples it takes to get there.
            **kwargs: As for ``invoke``, such as ``method``.

        Raises:
            RequestError: There is no preference, it isn't one, or an example can't be read.
        """
        return run(self._fit(preferences, examples, applies, deviation, kwargs))

    async def afit(
        self,
        preferences: Sequence[AnyPreference] | PreferenceLike,
        examples: Examples,
        *,
        applies: Applies[AnyPreference] = always,
        deviation: float = 1.0,
        **kwargs: Any,
    ) -> FittedPreferences[AnyPreference]:
        """Fit preferences to answers that a user liked, or chose over others; see `fit`."""
        return await arun(self._fit(preferences, examples, applies, deviation, kwargs))

    def _score(
        self,
        input: LanguageModelInput,
        answer: AIMessage | str,
        config: RunnableConfig | None,
        kwargs: Mapping[str, Any],
    ) -> Procedure[None, AnswerScore]:
        resolved = yield from self._resolved(input, config, kwargs)
        settings, handle = self.for_call(None, resolved), self._handle_for(resolved)
        scoring = score(handle, settings, self._messages(input), answer)
        return (yield from in_time(scoring, resolved.get(DEADLINE)))

    def _fit(
        self,
        preferences: Sequence[AnyPreference] | PreferenceLike,
        examples: Examples,
        applies: Applies[AnyPreference],
        deviation: float,
        kwargs: Mapping[str, Any],
    ) -> Procedure[None, FittedPreferences[AnyPreference]]:
        estimator: Estimator[AnyPreference] = estimator_for(self, preferences, deviation, kwargs)
        check_examples(examples)
        check_callable("applies", applies)
        settings = self.for_call(None, {**kwargs, "preference": estimator.plain})
        conversations = [self._messages(input) for input, _ in examples.all]
        handle = self._handle_for(kwargs)
        return (yield from fit(handle, settings, estimator, conversations, examples, applies))

    # --- What LangChain asks of a model ---

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of a text, by the model's own tokenizer."""
        check_type("text", text, str, error=RequestError)
        check_characters([{"content": text}])
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        ids = self._handle.opened.tokenizer.encode(text, add_special_tokens=False)
        return [int(index) for index in ids]

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of the conversation as it is prompted, without any preference.

        Of messages that can't be prompted, such as none or those with a picture, it is the tokens
        of what they say: who trims a conversation counts any part of it.
        """
        # Parts of a conversation may end with anything, and so with nothing that can be continued.
        variables = {k: v for k, v in self.chat_template_kwargs.items() if k != CONTINUE}
        settings = self.model_copy(update={"chat_template_kwargs": variables})
        codec = codec_for(self._handle.opened, settings)
        builder = prompt_builder(codec, settings, as_tools(tools))
        given = self._messages(messages)
        try:
            return len(builder.build(to_turns(given), ()))
        except (RequestError, ChatTemplateError):
            said = [each for each in given if each.type != "remove"]  # which isn't said to anybody
            return len(self.get_token_ids(get_buffer_string(said)))
