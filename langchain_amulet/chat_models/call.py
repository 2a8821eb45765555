"""One call made ready, and each answer that is decoded for it.

A `PreparedCall` is what all answers to a call have in common: the conversation, the settings, the
plan and its prompts. A `Draft` is one answer: a request to the engine, and what makes LangChain's
chunks of the tokens that come.

This module connects settings, prompts and engine: nothing of LangChain's config or callbacks, or of
how a search chooses among answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_formats.base import OutputSpec
from langchain_amulet.chat_formats.codec import ChatCodec
from langchain_amulet.chat_formats.output_grammar import compile_output
from langchain_amulet.chat_formats.regions import Bare, Thinking
from langchain_amulet.chat_formats.turns import Turn, strings_in, without_gap
from langchain_amulet.chat_models.chunk_writer import ChunkWriter
from langchain_amulet.chat_models.length import check_prompts_fit
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.model_handle import ModelHandle, OpenModel
from langchain_amulet.chat_models.prompts import codec_of_call, render
from langchain_amulet.chat_models.response import (
    STREAMED,
    Delivery,
    ResponseBuilder,
    ResponseInfo,
    count_prompts,
)
from langchain_amulet.chat_models.settings import CallSettings
from langchain_amulet.engine import AnyEngine, CacheScope, Constraint, Pause, Request, TokenStream
from langchain_amulet.engine.backends import PROCESS
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.grammar import Resumption
from langchain_amulet.methods.method import plan_of
from langchain_amulet.preferences.echo_guard import EchoGuard, phrases
from langchain_amulet.steering import Plan, strengths
from langchain_amulet.waiting.deadline import Deadline
from langchain_amulet.waiting.procedure import Procedure

Chunks = Procedure[ChatGenerationChunk, None]
"""An answer on its way: gives out its chunks, of which the last one tells what it cost."""


def prepare(
    model_name: str,
    handle: ModelHandle,
    settings: CallSettings,
    messages: Sequence[BaseMessage],
    delivery: Delivery = STREAMED,
    deadline: Deadline | None = None,
    scope: CacheScope = PROCESS,
    waits_for_room: bool = False,
) -> PreparedCall:
    """Plan a call and render the prompts of its plan.

    Args:
        model_name: The model's name as the caller gave it.
        handle: The model, and those beside it that the method names.
        settings: What the call asks for.
        messages: The conversation.
        delivery: How its answers are handed over.
        deadline: When the call fails.
        scope: Whose computed prompts it may make use of.
        waits_for_room: Whether it is queued however many wait.

    Raises:
        ContextLengthError: The messages are far longer than the model's context, or the prompts
            leave no room for the answer.
        RequestError: The messages can't be answered, see `to_turns` and `PromptBuilder`; or there
            are more prompts than may be read at a time.
        ChatTemplateError: There is no chat template, or it refuses the conversation.
        ConfigurationError: A model that the method names can't be used, see
            `ModelHandle.companion`, or nobody can read the calls that are left to the model.
    """
    plan = plan_of(settings.method, settings.guidance)
    handle.check_streams(len(plan.streams))
    model = handle.opened
    codec, turns = codec_of_call(model, settings, messages), to_turns(messages)
    turns, gap = without_gap(turns) if codec.template.continues else (turns, "")
    prompts = render(plan, handle, codec, settings, turns)
    check_prompts_fit(handle, plan, prompts, settings, settings.max_tokens)
    return PreparedCall(
        model_name=model_name,
        model=model,
        codec=codec,
        settings=settings,
        messages=tuple(messages),
        turns=turns,
        plan=plan,
        prompts=prompts,
        gap=gap,
        delivery=delivery,
        deadline=deadline,
        scope=scope,
        waits_for_room=waits_for_room,
    )


def warm_up(call: PreparedCall) -> Chunks:
    """Answer a call for the sake of what is made at first use and kept, whatever its method is."""
    _ = call.model.grammars, call.model.word_pieces
    return call.draft().chunks()


@dataclass(frozen=True)
class PreparedCall:
    """A call that is planned and rendered, from which any number of answers can be drafted.

    Attributes:
        model_name: The model's name as the caller gave it.
        model: The model that answers.
        codec: How it is talked to.
        settings: What the call asks for.
        messages: The conversation.
        turns: The same as chat templates read it.
        plan: How the prompts' distributions become one.
        prompts: Token ids, one tuple per stream of the plan.
        gap: White space behind the answer's beginning that the prompts leave to the answer.
        delivery: How its answers are handed over.
        deadline: When the call fails; None for never.
        scope: Whose computed prompts it may make use of.
        waits_for_room: Whether it is queued however many wait.
    """

    model_name: str
    model: OpenModel
    codec: ChatCodec
    settings: CallSettings
    messages: tuple[BaseMessage, ...]
    turns: Sequence[Turn]
    plan: Plan
    prompts: tuple[tuple[int, ...], ...]
    gap: str = ""
    delivery: Delivery = STREAMED
    deadline: Deadline | None = None
    scope: CacheScope = PROCESS
    waits_for_room: bool = False

    def draft(self, **changes: Any) -> Draft:
        """One answer to this call; ``changes`` are to fields of its request.

        Raises:
            DeadlineError: The time is over.
            CancelledError: The batch that it is part of was called off.
            SchemaError: The answer can't be held to a schema that it must have.
            ConfigurationError: A thought can't be left unsteered with this model.
        """
        request = replace(self.request, constraint=self._constraint(), **changes)
        if self.deadline is not None:
            # Who waits gives up by itself. This is for a reader who doesn't come back.
            self.deadline.check()
        if self.deadline is not None and self.deadline.at < math.inf:
            request = replace(request, timeout=self.deadline.left)
        return Draft(self.model.engine, request, self._response())

    @property
    def preference_texts(self) -> tuple[str, ...]:
        """How the call is to be answered, in words: what has a weight above 0."""
        return tuple(each.text for each in self.settings.preferences if each.weight > 0.0)

    @cached_property
    def request(self) -> Request:
        """What is asked of the engine, but for what each answer has for itself."""
        return Request(
            prompts=self.prompts,
            plan=self.plan,
            sampling=self.settings.sampling,
            max_tokens=self.settings.max_tokens,
            stop_ids=self.codec.stop_ids,
            trace=self.settings.trace,
            pauses=tuple(self._pauses()),
            guard=self._guard(),
            cache_scope=self.scope,
            speculates=self.settings.speculation is not None,
            waits_for_room=self.waits_for_room,
        )

    def _guard(self) -> EchoGuard | None:
        """What keeps steering from reciting preferences; None where it can't or may."""
        if not (self.settings.echo_guard and self.plan.steers):
            return None
        conversation = strings_in([self.turns, self.settings.offered])
        found = phrases((each.text for each in self.settings.preferences), conversation)
        if not found:
            return None
        begun = self.messages[-1].text if self.codec.template.continues else ""
        return EchoGuard(found, self.model.token_bytes, self.model.word_pieces, begun)

    # --- What the model's chat format makes of the call ---

    @cached_property
    def _is_thinking(self) -> bool:
        """Whether answers begin within a thought, as all prompts end alike."""
        return self.codec.is_thinking(self.prompts[0])

    def _pauses(self) -> Iterator[Pause]:
        """Where the answer isn't to be steered: in thoughts, in calls of tools."""
        thinking = self.codec.format.thinking
        if thinking and not self.settings.steer_thinking:
            yield self._thought(thinking)
        if self.settings.may_call and not self.settings.steer_tool_calls:
            yield from self._calls()

    def _thought(self, thinking: Thinking) -> Pause:
        closing = self.model.marker(thinking.closing)
        if closing is None:
            raise ConfigurationError(
                "Thoughts can be left unsteered only where their end is a token of its own, which "
                f"{thinking.closing!r} isn't for this model: use steer_thinking=True."
            )
        opening = self.model.marker(thinking.opening)
        openings = frozenset() if opening is None else frozenset({opening})
        return Pause(openings, closing, self._is_thinking)

    def _calls(self) -> Iterator[Pause]:
        # Where the mark of calls isn't a token of its own, nobody could tell where they begin.
        region = self.codec.format.region
        if isinstance(region, Bare):
            yield Pause(self.model.tokens_beginning_with(region.first), first_only=True)
        elif (opening := self.model.marker(region.opening)) is not None:
            yield Pause(frozenset({opening}), self.model.marker(region.closing))

    # --- What each answer has for itself ---

    def _constraint(self) -> Constraint | None:
        """What holds one answer to its grammar, or to its beginning; None where it is free."""
        grammar = compile_output(
            self._output,
            self.codec.format,
            self.model.grammars,
            is_thinking=self._is_thinking,
            max_tokens=self.settings.max_tokens,
            stop_ids=self.codec.stop_ids,
        )
        return Resumption(self.gap, *self._spelling, grammar) if self.gap else grammar

    @cached_property
    def _output(self) -> OutputSpec:
        """What answers may be."""
        return self.settings.output

    @cached_property
    def _spelling(self) -> tuple[Mapping[int, bytes], int]:
        """Tokens by which an answer may begin with its gap, and how many tokens there are."""
        found = self.model.tokens_beginning_with("".join(sorted(set(self.gap))))
        return {token: self.model.token_bytes.of(token) for token in found}, self.model.logits_width

    def _response(self) -> ResponseBuilder:
        """What makes chunks of one answer's tokens."""
        functions = [tool["function"] for tool in self.settings.offered]
        markers = self.codec.format.markers(with_calls=bool(functions))
        return ResponseBuilder(
            info=self._info,
            token_bytes=self.model.bytes_with(markers),
            # What a schema holds is no talk that a stop string could end.
            stops=() if self.settings.response_format else self.settings.stop,
            parser=self.codec.parser(self.prompts[0], functions, self._output.schema is not None),
            writer=ChunkWriter(self.delivery.output_version),
            in_one_piece=self.delivery.in_one_piece,
            before=self.prompts[0][-1] if self.codec.template.continues else None,
            gap=self.gap,
        )

    @cached_property
    def _info(self) -> ResponseInfo:
        return ResponseInfo(
            model_name=self.model_name,
            method=self.settings.method.name,
            strength=strengths(self.plan),
            prompt_tokens=count_prompts(self.plan, self.prompts),
            input_tokens=max(map(len, self.prompts)),
            logprobs=self.settings.logprobs,
            trace=self.settings.trace,
        )


@dataclass(frozen=True)
class Draft:
    """One answer to be decoded.

    Attributes:
        engine: Who decodes it.
        request: What is asked of the engine.
        response: Makes chunks of its tokens.
    """

    engine: AnyEngine
    request: Request
    response: ResponseBuilder

    def chunks(self) -> Chunks:
        """Decode the answer. Closing the procedure frees its rows."""
        with self.submit() as tokens:
            yield from self.read(tokens)

    def submit(self) -> TokenStream:
        """Ask for the tokens; leaving the stream's ``with`` block frees its rows."""
        return self.engine.submit(self.request)

    def read(self, tokens: TokenStream) -> Chunks:
        """Make chunks of the tokens as they come."""
        if self.response.in_one_piece and not self.response.stops:
            yield from tokens.ended()
        while (token := (yield from tokens.next_token())) is not None:
            yield from self.response.feed(token)
            if self.response.stopped:
                break
        tokens.cancel()  # nobody needs what follows a stop string
        yield from self.response.finish(
            tokens.finish_reason, self._cache_read(tokens), tokens.drafts
        )

    def _cache_read(self, tokens: TokenStream) -> int:
        """Of the longest prompt, by which input tokens are counted, those that were there."""
        lengths = [len(prompt) for prompt in self.request.prompts]
        cached = tokens.cached_tokens  # nothing before the first token
        return cached[lengths.index(max(lengths))] if cached else 0
