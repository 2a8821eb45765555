"""`ChatFormat`: all that a model family decides of its answers, in one place.

How a call is written, what its grammar is, how it is read and what tells it apart from text all
follow from the one object, so that what is decoded under a grammar is read back, and what the model
is told of its own calls is what it is to write.

This module knows texts and grammars: nothing of any family, of prompts, tokens or LangChain.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self

from langchain_amulet.chat_formats.calls import Function, FunctionCall
from langchain_amulet.chat_formats.output_parser import OutputParser, PlainTextParser, RegionParser
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.regions import Bare, CallRegion, Thinking
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.grammar import GrammarCompiler, json_rule

ANYTHING = r"/(.|\n)*/"
"""Free text, as a grammar's symbol."""

CALLS = re.compile(r"^\s*[?!]?calls\b[^:\n]*:", re.MULTILINE)
"""The beginning of the rule ``calls``, as a grammar has it."""


@dataclass(frozen=True)
class OutputSpec:
    """What an answer may be.

    Attributes:
        functions: Tools of which it may be calls.
        schema: A JSON schema for its text; None leaves the text free.
        must_call: Whether it has to be calls.
        several: Whether it may be several calls.
    """

    functions: Sequence[Function] = ()
    schema: Mapping[str, Any] | None = None
    must_call: bool = False
    several: bool = True

    @property
    def is_free(self) -> bool:
        """Whether nothing has to be kept to."""
        is_strict = any(function.get("strict") for function in self.functions)
        is_held = self.must_call or is_strict or bool(self.functions and not self.several)
        return self.schema is None and not is_held

    def only(self, name: str) -> OutputSpec:
        """The same with calls of one tool only."""
        functions = [function for function in self.functions if function["name"] == name]
        return replace(self, functions=functions)


@dataclass(frozen=True)
class ChatFormat(ABC):
    """How a model family writes tool calls and thoughts.

    A family is a frozen dataclass that says the four abstract things, and that can be made without
    arguments: so it writes where a chat template says nothing. What differs between its models are
    fields, and `learn` finds their values. A family whose answers aren't text with regions of calls
    and thoughts in it overrides `grammar` and `parser`, too.

    Attributes:
        name: What the family is called in settings.
        mark: A text that stands in the calls of this family and of no other. Where a chat template
            writes no calls, but speaks of it or has it for a token, they are taken for this one's.
        inner_tokens: Control tokens within answers, which a chat template may also write where a
            turn begins or ends: answers go on behind them, and none begins by one.
        is_headed: Whether an answer says by a token what it goes on with, so that calls are told
            from text while they are decoded, though no token of their own begins them.
        thinking: The markers of thoughts; None if the model has none.
        said: Markers around what is said, which aren't shown.
    """

    name: ClassVar[str]
    mark: ClassVar[str] = ""
    inner_tokens: ClassVar[frozenset[str]] = frozenset()
    is_headed: ClassVar[bool] = False

    thinking: Thinking | None = field(default=None, kw_only=True)
    said: frozenset[str] = field(default=frozenset(), kw_only=True)

    # --- What each family says ---

    @property
    @abstractmethod
    def region(self) -> CallRegion:
        """Where calls stand in an answer, and so what tells them apart from text."""

    @abstractmethod
    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of these calls, one or more, as the model is to write it."""

    @abstractmethod
    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """An answer of calls as rules of a grammar, in llguidance's dialect of Lark.

        Args:
            functions: The tools that may be called.
            several: Whether there may be several calls.
            compiler: Its `spell` makes symbols of texts. Those of JSON schemas `json_rule` makes.

        Returns:
            Lines ``name: rule``, of which the rule ``calls`` is the answer. The names ``start``,
            ``thought`` and ``body`` are taken.
        """

    @abstractmethod
    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads the text between two markers of calls, and perhaps text behind bare ones.

        Args:
            functions: The tools that may be called, which say of what types arguments are.
        """

    # --- What follows from that; a family may know better ---

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The family as a chat template writes it, from what it makes of made-up calls.

        Returns:
            None if the template's calls aren't of this family.
        """
        return None

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """Texts that end parts of calls which no JSON schema bounds, control tokens included.

        An answer that must be whole within its tokens is brought to its end by these.

        Args:
            functions: The tools that may be called.
        """
        return ()

    @property
    def call_example(self) -> str:
        """A call as a model is told to write one whose chat template tells nothing of tools."""
        return self.write_calls([FunctionCall("NAME", {"ARGUMENT": "VALUE"})])

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart.

        Those that are control tokens, whose text otherwise isn't shown, reach the parser as text.

        Args:
            with_calls: Whether the answer may be calls.
        """
        thoughts = (self.thinking.opening, self.thinking.closing) if self.thinking else ()
        return frozenset(thoughts) | self.said | (self.region.texts if with_calls else frozenset())

    @property
    def part_ends(self) -> frozenset[str]:
        """Control tokens behind which an answer goes on: inner ones, and the end of a thought."""
        return self.inner_tokens | ({self.thinking.closing} if self.thinking else frozenset())

    def is_thinking(self, start: str) -> bool:
        """Whether an answer begins within a thought, by ``start``, what its prompt ends with."""
        return self.thinking is not None and self.thinking.is_open(start)

    def parser(
        self, start: str, functions: Sequence[Function] = (), is_structured: bool = False
    ) -> OutputParser:
        """What takes one answer apart.

        Args:
            start: What the prompt ends with, from where the answer's turn begins.
            functions: The tools that may be called. Without any, what looks like a call is text.
            is_structured: Whether what is said is held to a schema, in whose values markers of
                thoughts and calls are text like any other.
        """
        if not functions and self.thinking is None and not self.said:
            return PlainTextParser()
        region = self.region if functions else None
        call_parser = partial(self.call_parser, functions)
        return RegionParser(
            self.thinking, region, call_parser, self.is_thinking(start), self.said, is_structured
        )

    def grammar(self, output: OutputSpec, compiler: GrammarCompiler, is_thinking: bool) -> str:
        """The grammar of a whole answer: a thought perhaps, then calls, or what is said.

        Args:
            output: What the answer may be.
            compiler: Spells texts for the model's tokenizer.
            is_thinking: Whether the answer begins within a thought.

        Raises:
            ConfigurationError: `call_grammar` lacks the rule for calls.
        """
        body = "calls" if output.must_call else self._body(output)
        thought = self._thought(compiler, is_thinking)
        lines = [f"start: {'thought' if thought else ''} body", *thought, f"body: {body}"]
        if output.functions:
            lines.append(self._calls(output.functions, output.several, compiler))
        return "\n".join(lines)

    def calls_alone(self, functions: Sequence[Function], compiler: GrammarCompiler) -> str:
        """The grammar of an answer that is a call and nothing else.

        Raises:
            ConfigurationError: `call_grammar` lacks the rule for calls.
        """
        return f"start: calls\n{self._calls(functions, False, compiler)}"

    def _calls(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        rules: object = self.call_grammar(functions, several, compiler)
        if not (isinstance(rules, str) and CALLS.search(rules)):
            raise ConfigurationError(
                "A chat format's call_grammar must have a rule 'calls', but that of "
                f"{self.name!r} has none: return lines such as 'calls: call+' and 'call: ...'."
            )
        return rules

    def _body(self, output: OutputSpec) -> str:
        if output.schema is not None:
            return json_rule(output.schema) + (" | calls" if output.functions else "")
        if isinstance(self.region, Bare):
            # Whatever begins like a call has to become one.
            return rf"/([^{re.escape(self.region.first)}\s](.|\n)*)?/ | calls"
        return f"{ANYTHING} calls?"

    def _thought(self, compiler: GrammarCompiler, is_thinking: bool) -> list[str]:
        """The rule ``thought``, and what it is made of; nothing where an answer isn't to think."""
        if self.thinking is None:
            return []
        opening, closing = map(compiler.spell, (self.thinking.opening, self.thinking.closing))
        if compiler.is_plain(self.thinking.closing):
            # Text that may be anything may spell this, too, and then has ended. None is begun
            # under a grammar, as what the model says may speak of the marker.
            text = f"thought_text[lazy]: /(?s:.*)/ {closing}"
            return [r"thought: thought_text /\n{0,2}/", text] if is_thinking else []
        thought = rf"{ANYTHING} {closing} /\n{{0,2}}/"
        if is_thinking:
            return [f"thought: {thought}"]
        unopened = f" | {closing}" if self.thinking.is_always_closed else ""
        return [f"thought: ({opening} {thought}{unopened})?"]
