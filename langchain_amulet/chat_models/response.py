"""From the engine's tokens to LangChain's chunks: what they say, and at the end what they cost.

This module knows tokens and metadata: nothing of how prompts are made or tokens decoded, and
nothing of threads or event loops, so that both kinds of caller share it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from langchain_amulet.chat_formats.output_parser import OutputParser, PlainTextParser
from langchain_amulet.chat_formats.tool_call_parser import OutputPart
from langchain_amulet.chat_models.chunks import ChunkWriter
from langchain_amulet.engine import Token
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
        logprobs: Whether to add log-probabilities.
        trace: Whether to add probabilities before and after steering.
    """

    model_name: str
    method: str
    strength: float | list[float] | None
    prompt_tokens: Mapping[str, int]
    logprobs: bool = False
    trace: bool = False


def count_prompts(plan: Plan, prompts: Sequence[Sequence[int]]) -> dict[str, int]:
    """Prompt tokens of the conversation alone, and of the streams with preferences in them."""
    counts = {"base": 0, "preference": 0}
    for stream, prompt in zip(plan.streams, prompts, strict=True):
        counts["preference" if stream.preferences else "base"] += len(prompt)
    return counts


@dataclass
class ResponseBuilder:
    """One answer as it grows, fed by one reader.

    ``feed`` it every token, until there are no more or ``stopped`` says so; then ``finish`` it.
    """

    report: ResponseInfo
    token_bytes: TokenBytes
    stops: Sequence[str] = ()
    reader: OutputParser | PlainTextParser = field(default_factory=PlainTextParser)
    writer: ChunkWriter = field(default_factory=ChunkWriter)
    _tokens: list[tuple[int, Token]] = field(default_factory=list)
    _shown: int = 0
    _thoughts: int = 0  # tokens
    _silent: int = 0  # tokens since the last that showed anything
    _calls: int = 0  # of tools, that can be read

    def __post_init__(self) -> None:
        """Start without text."""
        self._text = Detokenizer(self.token_bytes, self.stops)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was found, after which no token counts."""
        return self._text.stopped

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens so far."""
        return tuple(token for _, token in self._tokens)

    def feed(self, token: Token) -> list[ChatGenerationChunk]:
        """Add a token; returns what there is to show, often nothing."""
        self._tokens.append((self._shown + self._text.held, token))
        text = self._text.feed(token.id)
        self._shown += len(text)
        pieces = self.reader.feed(text)
        self._count(pieces)
        return self._write(pieces)

    def finish(self, reason: str | None) -> list[ChatGenerationChunk]:
        """End the answer; returns what was held back, and a chunk of usage and metadata.

        Args:
            reason: Why decoding ended; a stop string overrides it, and calls of tools are told
                apart from an end of text, as OpenAI does.
        """
        text = self._text.flush()
        self._shown += len(text)
        pieces = [*self.reader.feed(text), *self.reader.finish()]
        chunks = self._write(pieces)
        return [*chunks, self.writer.last(self._usage, self._metadata(self._finish(reason)))]

    def _write(self, pieces: Sequence[OutputPart]) -> list[ChatGenerationChunk]:
        kinds = [piece.kind for piece in pieces]
        self._calls += kinds.count("call") - kinds.count("broken")
        return [self.writer.write(piece) for piece in pieces]

    def _finish(self, reason: str | None) -> str | None:
        if self.stopped:
            return "stop"
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _count(self, pieces: Sequence[OutputPart]) -> None:
        """Tokens of thoughts; one that shows nothing, such as a marker, goes with the next."""
        self._silent += 1
        if pieces:
            self._thoughts += self._silent if pieces[0].kind == "thought" else 0
            self._silent = 0

    @property
    def _usage(self) -> UsageMetadata:
        prompt, written = sum(self.report.prompt_tokens.values()), len(self._tokens)
        details = {kind: count for kind, count in self.report.prompt_tokens.items() if count}
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
            "model_name": self.report.model_name,
            "model_provider": PROVIDER,
            "finish_reason": reason,
            "method": self.report.method,
            "strength": self.report.strength,
            "mean_kl": math.fsum(kls) / len(kls) if kls else 0.0,
        }
        agreements = [token.agreement for _, token in self._tokens if token.agreement is not None]
        if agreements:
            metadata["agreement"] = math.fsum(agreements) / len(agreements)
        if self.report.logprobs:
            metadata["logprobs"] = {"content": [self._logprob(token) for token in self._visible]}
        if self.report.trace:
            metadata["trace"] = [self._trace(token) for token in self._visible]
        return metadata

    @property
    def _visible(self) -> list[Token]:
        """The tokens whose text was shown: those of a stop string weren't."""
        return [token for start, token in self._tokens if start < self._shown or not self.stopped]

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
