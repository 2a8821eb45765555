"""A grammar on one answer: which tokens may come next, so that the whole parses.

Grammars are written in llguidance's dialect of Lark, with JSON schemas in them. A mask is put on
the combined scores only, never on a stream, so an answer can be steered and still be valid.

This module knows tokenizers and grammars: nothing of tools, prompts, LangChain or steering.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from torch import Tensor

from langchain_amulet.closing import JsonPlace
from langchain_amulet.errors import ConfigurationError, ContextLengthError, SchemaError

JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line with a space after commas and colons: as ``json.dumps`` and chat templates write it."""

MARGIN = 16
"""Tokens kept, besides those of one more whole answer, for what a token may newly oblige to."""

LOOK_EVERY = 16
"""After how many tokens the way to the end is measured, while it is far."""


class Grammar:
    """What one answer may be: a `Constraint` that also ends the answer in time.

    As the last tokens draw near it takes the shortest way to a valid end that it knows.
    """

    def __init__(
        self,
        compiler: GrammarCompiler,
        lark: str,
        max_tokens: int,
        stops: Collection[int],
        ends: Sequence[int] = (),
    ) -> None:
        """Start at the beginning of an answer.

        Raises:
            SchemaError: The grammar can't be compiled.
            ContextLengthError: No valid answer was found that fits into ``max_tokens``.
        """
        self._compiler = compiler
        self._matcher = compiler.matcher(lark)
        self._stops = sorted(stops)
        self._ends = ends
        self._left = max_tokens
        self._place = JsonPlace()
        self._way_out: deque[int] | None = None  # once it is taken, it is followed to the end
        self._shortest = len(self._find_way_out(max_tokens + 1))
        self._reserve = MARGIN + self._shortest
        if self._shortest > max_tokens:
            raise ContextLengthError(
                f"max_tokens must leave room for a whole answer, but {max_tokens} tokens are too "
                "few for the shortest one that matches the schema: raise max_tokens."
            )

    def allowed(self) -> Tensor:
        """Which tokens may come next: bool, shape ``[vocabulary]``; stops where it may end."""
        if self._way_out is None and self._is_time_to_look():
            self._look_for_the_end()
        if self._way_out is not None:
            return self._only([self._way_out[0]] if self._way_out else self._stops)
        mask = self._compiler.mask(self._matcher)
        mask[self._stops] = self._matcher.is_accepting()
        return mask

    def accept(self, token: int) -> None:
        """Move on by one emitted token."""
        if not self._matcher.consume_token(token):
            raise ValueError(self._matcher.get_error() or f"token {token} doesn't fit the grammar")
        self._place = self._after(self._place, token)
        self._left -= 1
        if self._way_out:
            self._way_out.popleft()

    def _is_time_to_look(self) -> bool:
        """Now and then while the end is far, at each token when it is near."""
        return self._left <= 2 * (self._shortest + self._reserve) or self._left % LOOK_EVERY == 0

    def _look_for_the_end(self) -> None:
        """Take the way out once there is time for little else."""
        found = self._find_way_out(self._left + 1)
        self._shortest = len(found)
        if self._left <= self._shortest + self._reserve:
            self._way_out = found

    def _find_way_out(self, limit: int) -> deque[int]:
        """Tokens to the end by the shortest way known, ``limit`` of them at most."""
        matcher, place, found = self._matcher.deep_copy(), self._place, deque[int]()
        used: Counter[int] = Counter()
        while len(found) < limit and not (matcher.is_accepting() or matcher.is_stopped()):
            token = self._best(self._compiler.mask(matcher), place.preferred(used))
            matcher.consume_token(token)
            used.update(self._compiler.spelled(token))
            place = self._after(place, token)
            found.append(token)
        return found

    def _best(self, mask: Tensor, preferred: bytes) -> int:
        for token in (*self._ends, *self._compiler.single(preferred)):
            if mask[token]:
                return token
        return int(mask.int().argmax())

    def _after(self, place: JsonPlace, token: int) -> JsonPlace:
        """Control tokens stand between strings."""
        spelled = self._compiler.spelled(token)
        return place.after(spelled) if spelled else JsonPlace()

    def _only(self, tokens: Sequence[int]) -> Tensor:
        mask = torch.zeros(self._compiler.vocabulary, dtype=torch.bool)
        mask[list(tokens)] = True
        return mask


class GrammarCompiler:
    """Grammars over the tokens of one tokenizer. Safe to share between threads."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """Make grammars for logits of width ``vocabulary``; nothing slow is done yet."""
        self.vocabulary = vocabulary
        self._tokenizer = tokenizer

    def compile(
        self, lark: str, max_tokens: int, stops: frozenset[int], ends: Sequence[int] = ()
    ) -> Grammar:
        """The constraint of one request: it serves that one only.

        Args:
            lark: Made of `spell` and `json_rule`; its rule ``start`` is the whole answer.
            max_tokens: The most tokens the answer may have.
            stops: Tokens that end it.
            ends: Tokens that end a part of it that could go on for ever.

        Raises:
            SchemaError: A schema in it can't be decoded under; the message says why.
            ContextLengthError: ``max_tokens`` is too small for any valid answer.
        """
        return Grammar(self, lark, max_tokens, stops, ends)

    def spell(self, text: str) -> str:
        """A text as a grammar's symbols; control tokens in it are written as such."""
        parts = self._controls.split(text) if self._added else [text]
        return " ".join(
            f"<[{self._added[part]}]>" if part in self._added else json.dumps(part)
            for part in parts
            if part
        )

    def token(self, text: str) -> int | None:
        """The token that a marker is by itself; None if it is spelled with several."""
        return self._added.get(text)

    def matcher(self, lark: str) -> LLMatcher:
        """A matcher at the start of the grammar."""
        grammar = LLMatcher.grammar_from_lark(lark)
        failed, reasons = LLMatcher.validate_grammar_with_warnings(grammar, self._tokens)
        matcher = None if failed else LLMatcher(self._tokens, grammar, log_level=0)
        if matcher is None or matcher.is_error():
            reason = " ".join(reasons) or (matcher.get_error() if matcher else "")
            reason = reason.partition("failed to compile JSON schema:")[2] or reason
            raise SchemaError(
                "A schema must be one that answers can be held to while they are written, but: "
                f"{reason.strip().splitlines()[0]}. Take that out of the schema, or check it "
                "afterwards."
            )
        return matcher

    def mask(self, matcher: LLMatcher) -> Tensor:
        """Which tokens the grammar takes next, bool ``[vocabulary]``."""
        packed = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(packed, count=self.vocabulary, bitorder="little")
        return torch.from_numpy(bits.astype(np.bool_))

    def spelled(self, token: int) -> bytes:
        """A token's bytes; control tokens have none."""
        special = self._tokens.is_special_token(token)
        return b"" if special else self._tokens.decode_bytes([token])

    def single(self, characters: bytes) -> list[int]:
        """Tokens that are one of these characters, in their order."""
        return [self._singles[character] for character in characters if character in self._singles]

    @cached_property
    def _singles(self) -> Mapping[int, int]:
        spelled = ((index, self.spelled(index)) for index in range(self._tokens.vocab_size))
        found: dict[int, int] = {}
        for index, text in spelled:
            if len(text) == 1:
                found.setdefault(text[0], index)
        return found

    @cached_property
    def _added(self) -> Mapping[str, int]:
        return {t.content: index for index, t in self._tokenizer.added_tokens_decoder.items()}

    @cached_property
    def _controls(self) -> re.Pattern[str]:
        longest_first = sorted(self._added, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    @cached_property
    def _tokens(self) -> LLTokenizer:
        try:
            return llguidance.hf.from_tokenizer(self._tokenizer, n_vocab=self.vocabulary)
        except (ValueError, RuntimeError) as error:
            raise ConfigurationError(
                "Answers can be held to a schema only where the tokenizer is a fast one of known "
                f"kind, but for {self._tokenizer.name_or_path!r}: {error}. Leave the schema and "
                "tool_choice out, or choose another model."
            ) from error


def json_rule(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a symbol of a grammar.

    Objects that list properties and don't speak of others have no others: what is written is
    valid by the schema all the same, and a model can't go on inventing.
    """
    closed = dict(schema) if _is_composed(schema) else _closed(schema)
    return f"%json {json.dumps({**closed, 'x-guidance': JSON_STYLE})}"


def _is_composed(schema: Any) -> bool:
    """Whether objects in it are put together of parts, which closing would set against another."""
    if isinstance(schema, list):
        return any(map(_is_composed, schema))
    if not isinstance(schema, Mapping):
        return False
    joins = "properties" in schema and not schema.keys().isdisjoint(("anyOf", "oneOf", "$ref"))
    if joins or "allOf" in schema or "patternProperties" in schema:
        return True
    return any(map(_is_composed, schema.values()))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {
        key: value if key in ("const", "enum", "default", "examples") else _closed(value)
        for key, value in schema.items()
    }
    is_object = isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object"
    return {"additionalProperties": False, **inner} if is_object else inner
