"""Grammars over the tokens of one tokenizer, compiled to the constraints of single answers.

This module knows tokenizers and llguidance: nothing of tools, prompts or decoding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from functools import cached_property, lru_cache
from typing import Any

import llguidance.hf
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from tokenizers import Tokenizer, decoders
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from langchain_amulet.errors import ConfigurationError, SchemaError
from langchain_amulet.grammar.constraint import SEARCHED, Beginning, Grammar
from langchain_amulet.grammar.fault_words import words_for
from langchain_amulet.grammar.guidance_words import reason_of
from langchain_amulet.grammar.json_schema import asked_patterns, json_rule, text_forms
from langchain_amulet.grammar.pattern_faults import refusal
from langchain_amulet.grammar.schema_tree import Schema, unheld
from langchain_amulet.grammar.shared_matcher import SharedMatcher
from langchain_amulet.grammar.shortest_ending import EndingSearch
from langchain_amulet.grammar.smallest_fault import smallest_fault
from langchain_amulet.grammar.vocabulary import Vocabulary
from langchain_amulet.validation.checks import check_count, check_type, check_whole

KEPT = 64
"""How many compiled grammars are kept for the next request with the same one."""

MOST_STATES = 250_000
"""How much matchers of one grammar find out together, each about 400 bytes: the tokens of a text
whose characters are counted take some 15."""


class GrammarCompiler:
    """Grammars over the tokens of one tokenizer. Safe to share between threads."""

    def __init__(self, tokenizer: Any, vocabulary: int, *, is_timed: bool = True) -> None:
        """Nothing slow is done yet.

        Args:
            tokenizer: Whose tokens they are over.
            vocabulary: The width of the logits.
            is_timed: Whether a search for a way out that goes on is given up by the clock, beside
                being counted. Not where several processes have to come to the same tokens.
        """
        check_count("vocabulary", vocabulary, 1)
        check_type("tokenizer", tokenizer, PreTrainedTokenizerBase)
        self._tokenizer, self._width, self._is_timed = tokenizer, vocabulary, is_timed
        self._begin = lru_cache(maxsize=KEPT)(self._beginning)
        self._checked = lru_cache(maxsize=KEPT)(self._matcher)

    def prepare(self) -> None:
        """Do now what the first grammar would wait for, a second with a large vocabulary.

        Raises:
            ConfigurationError: The tokenizer is of no known kind.
        """
        _ = self._vocabulary

    def compile(
        self,
        lark: str,
        max_tokens: int,
        stops: frozenset[int],
        ends: Sequence[str] = (),
        turn: int | None = None,
    ) -> Grammar:
        """The constraint of one request: it serves that one only.

        Args:
            lark: Made of `spell` and `json_rule`; its rule ``start`` is the whole answer.
            max_tokens: The most tokens the answer may have.
            stops: Tokens that end it.
            ends: Texts that end a part of it that could go on for ever, control tokens included.
            turn: A token that is chosen for its own sake, see `Grammar`.

        Raises:
            SchemaError: A schema in it can't be decoded under; the message says why.
            ContextLengthError: ``max_tokens`` is too small for any valid answer.
        """
        check_type("lark", lark, str)
        check_whole("A grammar", lark, SchemaError)
        check_type("stops", stops, Set)
        check_count("max_tokens", max_tokens)
        check_type("ends", ends, list, tuple)
        for text in ends:
            check_type("A text that ends a part", text, str)
            check_whole("A text that ends a part", text, SchemaError)
        beginning = self._begin(lark, max_tokens, tuple(ends))
        return Grammar(beginning, self._vocabulary, max_tokens, stops, turn)

    def shortest(self, lark: str, ends: Sequence[str] = ()) -> int | None:
        """How many tokens the shortest answer has; None if it has more than `SEARCHED`.

        Args:
            lark: As for `compile`.
            ends: Likewise.

        Raises:
            SchemaError: A schema in it can't be decoded under; the message says why.
        """
        way_out = self._begin(lark, SEARCHED, tuple(ends)).way_out
        return None if way_out is None else len(way_out)

    def check(self, lark: str) -> None:
        """Find out whether answers can be held to a grammar.

        Raises:
            SchemaError: They can't; the message says why.
        """
        check_type("lark", lark, str)
        check_whole("A grammar", lark, SchemaError)
        self._checked(lark)

    def explained(self, error: SchemaError, schema: Mapping[str, Any]) -> SchemaError:
        """An error in our own words, about the part of a schema that isn't held and its place.

        Args:
            error: What was raised for a grammar with the schema in it.
            schema: The schema as its author wrote it.

        Returns:
            The same error where it isn't the schema by itself, or where that is told already.
        """
        fault = smallest_fault(schema, self._refused_schema)
        words = words_for(fault) if fault else ""
        if fault is None or not words:
            return error
        told = unheld(words)
        told.__cause__ = ValueError(fault.reason)
        return told

    def _refused_schema(self, schema: Schema) -> str:
        """Why a schema isn't held; empty if it is, or if that is told before there is a grammar."""
        try:
            return self._reason("start: " + json_rule(schema))
        except SchemaError:
            return ""

    def spell(self, text: str) -> str:
        """A text as a grammar's symbols; control tokens in it are written as such."""
        check_type("text", text, str)
        parts = self._controls.split(text) if self._added else [text]
        return " ".join(
            f"<[{self._added[part]}]>" if part in self._added else json.dumps(part)
            for part in parts
            if part
        )

    def is_plain(self, text: str) -> bool:
        """Whether no control token stands in a text."""
        return not (self._added and self._controls.search(text))

    def token(self, text: str) -> int | None:
        """The token that a marker is by itself; None if it is spelled with several."""
        check_type("text", text, str)
        return self._added.get(text)

    def _beginning(self, lark: str, max_tokens: int, ends: tuple[str, ...]) -> Beginning:
        matcher = SharedMatcher(lambda: self._matcher(lark))
        spelled = [self._letters(end) for end in ends]
        guide = EndingSearch(self._vocabulary, spelled, text_forms(lark))
        try:
            way_out = guide.start(matcher.copy(), max_tokens, self._is_timed)
        except SchemaError as error:
            # Its masks take such a text for the token, which it then takes no more.
            token = self._controls.search(lark) if self._added else None
            if token is None:
                raise
            raise unheld(
                f"{token[0]!r} is a token of the model's own, which can't be held to as a text"
            ) from error
        return Beginning(lark, ends, matcher, guide, way_out, self._is_timed)

    def _letters(self, text: str) -> tuple[int, ...]:
        """A text as tokens: control tokens by themselves, all else letter by letter."""
        parts = self._controls.split(text) if self._added else [text]
        tokens: list[int] = []
        for part in filter(None, parts):
            known = self._added.get(part)
            tokens += self._vocabulary.letters(part) if known is None else [known]
        return tuple(tokens)

    def _matcher(self, lark: str) -> LLMatcher:
        reason = self._reason(lark)
        if not reason:
            # Silent, as it would warn on standard error, past Python's warnings and logs.
            limits = LLParserLimits(max_lexer_states=MOST_STATES, verbose_errors=False)
            grammar = LLMatcher.grammar_from_lark(lark)
            matcher = LLMatcher(self._tokens, grammar, log_level=0, limits=limits)
            if not matcher.is_error():
                return matcher
            reason = reason_of(matcher.get_error())
        raise refusal(reason, asked_patterns(lark))

    def _reason(self, lark: str) -> str:
        """Why a grammar isn't taken, as far as that is known before it is compiled, or nothing."""
        grammar = LLMatcher.grammar_from_lark(lark)
        failed, reasons = LLMatcher.validate_grammar_with_warnings(grammar, self._tokens)
        return reason_of(" ".join(reasons)) if failed else ""

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._tokens)

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
            return llguidance.hf.from_tokenizer(_decoding(self._tokenizer), n_vocab=self._width)
        except (ValueError, RuntimeError, OverflowError) as error:
            raise ConfigurationError(
                "Answers can be held to a schema only where the tokenizer is a fast one of known "
                f"kind, but for {self._tokenizer.name_or_path!r}: {error}. Leave the schema and "
                "tool_choice out, or choose another model."
            ) from error


def _decoding(tokenizer: Any) -> Any:
    """The tokenizer with a decoder, by which llguidance tells how tokens are spelled.

    Some tokenizers have none, though what they do before they merge bytes tells it as well.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is not None:
        return tokenizer
    whole = Tokenizer.from_str(backend.to_str())  # a copy: the tokenizer itself is the caller's
    if "ByteLevel" in repr(whole.pre_tokenizer):
        whole.decoder = decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=whole, eos_token=tokenizer.eos_token)
