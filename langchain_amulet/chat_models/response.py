"""From the engine's tokens to LangChain's chunks: what they say, and at the end what they cost.

A `ResponseBuilder` is fed one answer's tokens: a detokenizer makes text of them, an output parser
takes that apart, and a `ChunkWriter` writes each part as a chunk.

This module knows tokens and metadata: nothing of how prompts are made or tokens decoded, nor of
threads and event loops.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, cast

from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from langchain_amulet.chat_formats.output_parser import (
    OutputParser,
    OutputPart,
    PlainTextParser,
    joined,
)
from langchain_amulet.chat_formats.stop_strings import StopStrings
from langchain_amulet.chat_models.chunk_writer import ChunkWriter
from langchain_amulet.engine import DraftCounts, Token
from langchain_amulet.steering import Plan

PROVIDER = "amulet"
"""What LangChain calls the company behind a model."""


@dataclass(frozen=True)
class ResponseInfo:
    """What is known of an answer before it begins.

    Attributes:
        model_name: The model's name as the caller gave it.
        method: The steering method's name.
        strength: See `strengths`.
        prompt_tokens: Tokens of the prompts, by kind: see `count_prompts`.
        input_tokens: Tokens of the longest prompt.
        logprobs: Whether to add log-probabilities.
        trace: Whether to add probabilities before and after steering.
    """

    model_name: str
    method: str
    strength: float | list[float] | None
    prompt_tokens: Mapping[str, int]
    input_tokens: int
    logprobs: bool = False
    trace: bool = False


def count_prompts(plan: Plan, prompts: Sequence[Sequence[int]]) -> dict[str, int]:
    """Prompt tokens of the conversation alone, and of the streams with preferences in them."""
    counts = {"base": 0, "preference": 0}
    for stream, prompt in zip(plan.streams, prompts, strict=True):
        counts["preference" if stream.preferences else "base"] += len(prompt)
    return counts


@dataclass(frozen=True)
class Delivery:
    """How an answer is handed to LangChain.

    Attributes:
        output_version: With "v1" a chunk's content is a numbered block, see `ChunkWriter`.
        in_one_piece: Whether nobody looks at it before it is whole.
    """

    output_version: str | None = None
    in_one_piece: bool = False


STREAMED = Delivery()


@dataclass
class ResponseBuilder:
    """One answer as it grows.

    `feed` it every token, until there are no more or `stopped` says so; then `finish` it.

    Attributes:
        info: What is known of the answer before it begins.
        token_bytes: What each token stands for.
        stops: Texts before which what is said ends; what is thought or called doesn't end at them.
        parser: Tells what is said from thoughts and calls of tools.
        writer: Makes chunks of these parts.
        in_one_piece: Whether nothing is shown before the end, and then in as few chunks as can be.
        before: The token that the answer goes on from; None where it begins a text of its own.
        gap: White space with which it begins and which was there already.
    """

    info: ResponseInfo
    token_bytes: TokenBytes
    stops: Sequence[str] = ()
    parser: OutputParser = field(default_factory=PlainTextParser)
    writer: ChunkWriter = field(default_factory=ChunkWriter)
    in_one_piece: bool = False
    before: int | None = None
    gap: str = ""
    _tokens: list[tuple[int, Token]] = field(default_factory=list)
    _length: int = 0  # characters of the answer, of all kinds
    _thoughts: int = 0  # tokens
    _silent: int = 0  # tokens since the last that showed anything
    _shown: int = 0  # characters of what was said and thought and was passed on
    _told: int = 0  # tokens of which log-probabilities and trace were passed on
    _kept: list[OutputPart] = field(default_factory=list)  # of an answer in one piece

    def __post_init__(self) -> None:
        """Start without text."""
        self._text = Detokenizer(self.token_bytes, self.before, self.gap)
        self._said = StopStrings(self.stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found, after which no token counts."""
        return self._said.found

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens so far."""
        return tuple(token for _, token in self._tokens)

    def feed(self, token: Token) -> list[ChatGenerationChunk]:
        """Add a token; returns what there is to show, often nothing."""
        text = self._text.feed(token.id)
        self._length += len(text)
        # Behind bytes that turn out to be no character, which are shown with what follows them.
        own = len(self.token_bytes.of(token.id).decode("utf-8", "ignore"))
        self._tokens.append((self._length - (min(own, len(text)) or len(text)), token))
        parts = self.parser.feed(text)
        self._count(parts)
        shown = self._before_stop(parts) if self.stops else parts
        if self.in_one_piece:
            self._kept += shown
            return []
        return self._written(shown)

    def finish(
        self, reason: str | None, cache_read: int = 0, drafts: DraftCounts | None = None
    ) -> list[ChatGenerationChunk]:
        """End the answer; returns what was held back, and a chunk of usage and metadata.

        Args:
            reason: Why decoding ended; a stop string overrides it, and calls of tools are told
                apart from an end of text, as OpenAI does.
            cache_read: Tokens of the longest prompt that weren't computed.
            drafts: What came of speculation, if there was any.
        """
        text = self._text.flush()
        self._length += len(text)
        parts = self._before_stop([*self.parser.feed(text), *self.parser.finish()])
        chunks = self._written(joined([*self._kept, *parts, *self._released()]))
        metadata = self._metadata(self._finish(reason))
        if drafts is not None:
            metadata["speculation"] = drafts._asdict()
        return [*chunks, self.writer.last(self._usage(cache_read), metadata)]

    def _written(self, parts: Sequence[OutputPart]) -> list[ChatGenerationChunk]:
        """The chunks of these parts; what is told of their tokens goes with the last of them."""
        if not (parts and (self.info.logprobs or self.info.trace)):
            return [self.writer.write(part) for part in parts]
        self._shown += sum(len(part.text) for part in parts if part.kind in ("text", "thought"))
        *others, last = parts
        told = self._told_of_tokens(self._certain)
        return [*map(self.writer.write, others), self.writer.write(last, told)]

    @property
    def _certain(self) -> int:
        """How many tokens certainly belong to what is shown, wherever a stop string may begin."""
        if not self.stops:
            return len(self._tokens)
        # Parsers leave characters out and add none to what is said: whatever is still held back
        # begins behind as many characters of the answer as were passed on.
        return bisect_left(self._tokens, self._shown, key=itemgetter(0))

    def _told_of_tokens(self, until: int) -> dict[str, Any]:
        """What was asked for of the tokens up to here, and wasn't told, as metadata of a chunk."""
        if until <= self._told:
            return {}
        tokens, self._told = self._tokens[self._told : until], until
        told: dict[str, Any] = {}
        if self.info.logprobs:
            told["logprobs"] = {"content": [self._logprob(token) for _, token in tokens]}
        if self.info.trace:
            told["trace"] = [self._trace(token) for _, token in tokens]
        return told

    def _before_stop(self, parts: Sequence[OutputPart]) -> list[OutputPart]:
        """The parts up to a stop string in what is said; what may become one is held back."""
        if not self.stops:
            return list(parts)
        shown: list[OutputPart] = []
        for part in parts:
            if part.kind == "text" or self._said.found:
                if text := self._said.feed(part.text):
                    shown.append(OutputPart("text", text))
            else:
                shown += [*self._released(), part]
        return shown

    def _released(self) -> list[OutputPart]:
        """What was held back and turned out to be no stop string, as something else follows."""
        text = self._said.flush()
        return [OutputPart("text", text)] if text else []

    def _finish(self, reason: str | None) -> str | None:
        if self.stopped:
            return "stop"
        return "tool_calls" if reason == "stop" and self.writer.calls else reason

    def _count(self, parts: Sequence[OutputPart]) -> None:
        """Tokens of thoughts; one that shows nothing, such as a marker, goes with the next."""
        self._silent += 1
        if parts:
            self._thoughts += self._silent if parts[0].kind == "thought" else 0
            self._silent = 0

    def _usage(self, cache_read: int) -> UsageMetadata:
        # Of all prompts only the longest is as long as the conversation: who trims or summarises by
        # these numbers would take a sum for it. What each stream cost is told in the details.
        prompt, written = self.info.input_tokens, len(self._tokens)
        asked = {kind: count for kind, count in self.info.prompt_tokens.items() if count}
        details = {**asked, "cache_read": cache_read}
        usage = {
            "input_tokens": prompt,
            "output_tokens": written,
            "total_tokens": prompt + written,
            "input_token_details": details,  # LangChain's type leaves room for further keys
        }
        thoughts = {"output_token_details": {"reasoning": self._thoughts}} if self._thoughts else {}
        return cast("UsageMetadata", {**usage, **thoughts})

    def _metadata(self, reason: str | None) -> dict[str, Any]:
        kls = [token.kl for _, token in self._tokens]
        metadata: dict[str, Any] = {
            "model_name": self.info.model_name,
            "model_provider": PROVIDER,
            "finish_reason": reason,
            "method": self.info.method,
            "strength": self.info.strength,
            "mean_kl": math.fsum(kls) / len(kls) if kls else 0.0,
        }
        agreements = [token.agreement for _, token in self._tokens if token.agreement is not None]
        if agreements:
            metadata["agreement"] = math.fsum(agreements) / len(agreements)
        if self.info.logprobs and not self._told:
            metadata["logprobs"] = {"content": []}  # of an answer without tokens, too
        if self.info.trace and not self._told:
            metadata["trace"] = []
        return metadata | self._told_of_tokens(len(self._visible))

    @property
    def _visible(self) -> list[Token]:
        """The tokens whose text was shown: those of a stop string weren't."""
        end = self._length - self._said.cut
        return [token for start, token in self._tokens if start < end or not self.stopped]

    def _logprob(self, token: Token) -> dict[str, Any]:
        likeliest = [self._spelled(*top) for top in token.top_logprobs if top[1] > -math.inf]
        return {**self._spelled(token.id, token.logprob), "top_logprobs": likeliest}

    def _spelled(self, token_id: int, logprob: float) -> dict[str, Any]:
        return {**self._spelling(token_id), "logprob": logprob}

    def _spelling(self, token_id: int) -> dict[str, Any]:
        """A token as text, and as bytes: of a character over several tokens, each has a part."""
        spelled = self.token_bytes.of(token_id)
        return {"token": spelled.decode("utf-8", "replace"), "bytes": list(spelled)}

    def _trace(self, token: Token) -> dict[str, Any]:
        trace = token.trace
        return {
            **self._spelling(token.id),
            "base": trace and trace.base,
            "pref": trace and trace.pref,
            "steered": trace and trace.steered,
            "kl": token.kl,
        }
