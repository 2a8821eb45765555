"""What an answer must be, as a grammar: calls of tools, JSON by a schema, thoughts before it.

This module knows how models write calls: nothing of LangChain, prompts or decoding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_amulet.chat_formats.probe import CallShape, ReplyFormat
from langchain_amulet.grammar import GrammarCompiler, json_rule

ANYTHING = r"/(.|\n)*/"
NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class OutputGrammar:
    """What an answer may be.

    Attributes:
        calls: Tools of which it may be calls, as OpenAI's function schemas.
        schema: A JSON schema for its text; None leaves the text free.
        must_call: Whether it has to be calls.
        several: Whether it may be several calls.
    """

    calls: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None
    must_call: bool = False
    several: bool = True

    @property
    def is_free(self) -> bool:
        """Whether nothing has to be kept to."""
        is_strict = any(tool.get("strict") for tool in self.calls)
        is_held = self.must_call or is_strict or bool(self.calls and not self.several)
        return self.schema is None and not is_held

    def rules(self, reply: ReplyFormat, compiler: GrammarCompiler, is_thinking: bool) -> str:
        """The grammar of the answer.

        Args:
            reply: How the model writes calls and thoughts.
            compiler: Spells texts for the model's tokenizer.
            is_thinking: Whether the prompt ends within a thought.
        """
        rules = {"body": "calls" if self.must_call else self._body(reply, compiler)}
        if self.calls:
            rules |= _call_rules(reply.shape, self.calls, self.several, compiler)
        rules["start"] = _thought(reply, compiler, is_thinking) + " body"
        return "\n".join(f"{name}: {rule}" for name, rule in rules.items())

    def turn(self, reply: ReplyFormat, compiler: GrammarCompiler) -> int | None:
        """The token by which the answer turns to calls instead of to its schema.

        A model that wants to say something else than a call begins neither a call nor JSON, so
        what these two tokens have of the probability says little. What all other tokens have
        together is for the answer.

        Returns:
            None if there is no such choice, or if it isn't made by a token of its own.
        """
        is_choice = bool(self.calls) and self.schema is not None and not self.must_call
        return compiler.token(reply.region.get("open", "")) if is_choice else None

    def _body(self, reply: ReplyFormat, compiler: GrammarCompiler) -> str:
        if self.schema is not None:
            return json_rule(self.schema) + (" | calls" if self.calls else "")
        is_bare = reply.shape.before.startswith("{")
        return r"/([^{\s](.|\n)*)?/ | calls" if is_bare else f"{ANYTHING} calls?"


def output_is_told_apart(
    output: OutputGrammar, reply: ReplyFormat, compiler: GrammarCompiler
) -> bool:
    """Whether calls can be told from free text while they are written.

    They begin with a control token, or with a bracket that no text begins with.
    """
    if output.must_call or output.schema is not None:
        return True
    opening = reply.region.get("open", "")
    return reply.shape.before.startswith("{") or compiler.token(opening) is not None


def _thought(reply: ReplyFormat, compiler: GrammarCompiler, is_thinking: bool) -> str:
    if reply.thinking is None or compiler.token(reply.thinking.closing) is None:
        return ""
    opening, closing = map(compiler.spell, (reply.thinking.opening, reply.thinking.closing))
    thought = rf"{ANYTHING} {closing} /\n{{0,2}}/"
    return thought if is_thinking else f"({opening} {thought})?"


def _call_rules(
    shape: CallShape,
    tools: Sequence[Mapping[str, Any]],
    several: bool,
    compiler: GrammarCompiler,
) -> dict[str, str]:
    names = [f"call_{index}" for index in range(len(tools))]
    more = several and shape.between is not None
    rules = {
        "calls": " ".join(
            part
            for part in (
                compiler.spell(shape.before),
                "call",
                f"({compiler.spell(shape.between or '')} call)*" if more else "",
                compiler.spell(shape.after),
            )
            if part
        ),
        "call": " | ".join(names),
    }
    for name, tool in zip(names, tools, strict=True):
        written = json.dumps(tool["name"], ensure_ascii=False)[1:-1]
        arguments = json_rule(_arguments(tool.get("parameters") or NO_ARGUMENTS))
        rules[name] = f"{compiler.spell(written + shape.middle)} {arguments}"
    return rules


def _arguments(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object, which a call's arguments are even where theirs doesn't say so."""
    return {"type": "object", **schema} if "properties" in schema else schema


def tools_note(tools: Sequence[Mapping[str, Any]], shape: CallShape) -> str:
    """Tools in words, for chat templates that don't write any."""
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return (
        "You may call these functions to answer, with arguments as their JSON schemas say:\n"
        f"{listed}\n\nTo call one, write nothing but:\n{shape.write([('NAME', '{...}')])}"
    )


def schema_note(schema: Mapping[str, Any]) -> str:
    """A schema in words: chat templates have no place for one."""
    written = json.dumps(schema, ensure_ascii=False)
    return f"Answer with nothing but JSON that matches this schema:\n{written}"


def only(output: OutputGrammar, name: str) -> OutputGrammar:
    """The output with calls of one tool only."""
    return replace(output, calls=[tool for tool in output.calls if tool["name"] == name])
