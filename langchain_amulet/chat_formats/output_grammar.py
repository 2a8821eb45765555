"""From what an answer must be, and how its model writes, to the grammar that it is held to.

This module knows when an answer can be held to anything: nothing of how any family writes, of
LangChain or decoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from langchain_amulet.chat_formats.base import ChatFormat, OutputSpec
from langchain_amulet.chat_formats.calls import Function
from langchain_amulet.chat_formats.regions import Bare
from langchain_amulet.errors import ContextLengthError, SchemaError
from langchain_amulet.grammar import Grammar, GrammarCompiler

FREE = {"type": "object"}
"""The arguments of a call, whatever they are."""

TOLD = 5
"""How many tools are named at the most, with what their calls take."""


def compile_output(
    output: OutputSpec,
    chat_format: ChatFormat,
    compiler: GrammarCompiler,
    *,
    is_thinking: bool,
    max_tokens: int,
    stop_ids: frozenset[int],
) -> Grammar | None:
    """What holds one answer to what it must be.

    Args:
        output: What it must be.
        chat_format: How the model writes calls and thoughts.
        compiler: Makes grammars over the model's tokens.
        is_thinking: Whether the answer begins within a thought.
        max_tokens: The most tokens that it may have.
        stop_ids: Tokens that end it.

    Returns:
        None where the answer is free, or where calls that it needn't make can't be told from its
        text while it is decoded.

    Raises:
        SchemaError: The answer's schema, or that of each tool that may be called, can't be decoded
            under; the message says why.
        ContextLengthError: ``max_tokens`` is too small for any valid answer.
    """
    if output.is_free or not _is_told_apart(output, chat_format, compiler):
        return None
    output = _holdable(output, chat_format, compiler)
    rules = chat_format.grammar(output, compiler, is_thinking)
    ends = chat_format.endings(output.functions)
    thinking = chat_format.thinking
    if thinking and (is_thinking or not compiler.is_plain(thinking.closing)):
        ends = (thinking.closing, *ends)
    turn = turn_to_calls(output, chat_format, compiler)
    try:
        return compiler.compile(rules, max_tokens, stop_ids, ends, turn)
    except ContextLengthError as error:
        return compile_output(
            _fitting(output, chat_format, compiler, max_tokens, error),
            chat_format,
            compiler,
            is_thinking=is_thinking,
            max_tokens=max_tokens,
            stop_ids=stop_ids,
        )
    except SchemaError as error:
        told = _explained(output, error, compiler)
        raise told from told.__cause__


def _fitting(
    output: OutputSpec,
    chat_format: ChatFormat,
    compiler: GrammarCompiler,
    max_tokens: int,
    error: ContextLengthError,
) -> OutputSpec:
    """An output that must be a call, with the tools alone whose calls are short enough.

    Raises:
        ContextLengthError: That is no way out; the message says what a call of each takes.
    """
    enough = _enough(output.functions, chat_format, compiler)
    short = [name for name, count in enough.items() if count and count <= max_tokens]
    if not output.must_call or len(short) in (0, len(enough)):
        raise ContextLengthError(f"{error}{_told(enough)}") from error
    return replace(output, functions=[each for each in output.functions if each["name"] in short])


def _explained(output: OutputSpec, error: SchemaError, compiler: GrammarCompiler) -> SchemaError:
    """The error in our own words where it is one schema's: the answer's, or that of a tool."""
    if not output.must_call and output.schema is not None:
        return compiler.explained(error, output.schema)
    return error if len(output.functions) > 1 else _about(output.functions[0], error, compiler)


def _enough(
    functions: Sequence[Function], chat_format: ChatFormat, compiler: GrammarCompiler
) -> dict[str, int | None]:
    """How many tokens are enough for a call of each tool; None if it takes far too many."""
    rules = {each["name"]: chat_format.calls_alone([each], compiler) for each in functions}
    ends = {each["name"]: chat_format.endings([each]) for each in functions}
    return {name: compiler.shortest(rules[name], ends[name]) for name in rules}


def _told(enough: Mapping[str, int | None]) -> str:
    """The same in words, of a few of the tools; empty where there are none."""
    told = [f"{count or 'far more'} for {name!r}" for name, count in [*enough.items()][:TOLD]]
    others = f", and there are {len(enough) - TOLD} other tools" if len(enough) > TOLD else ""
    return f" For a call are enough: {', '.join(told)}{others}." if told else ""


def _holdable(output: OutputSpec, chat_format: ChatFormat, compiler: GrammarCompiler) -> OutputSpec:
    """The output without tools whose arguments no grammar can hold, and that have to be valid.

    Where calls are the model's choice, such a tool's arguments are free instead, unless it is
    strict. What one tool asks for is no reason to refuse the others.

    Raises:
        SchemaError: No tool is left.
    """
    functions: list[Function] = []
    reason: SchemaError | None = None
    for function in output.functions:
        try:
            compiler.check(chat_format.calls_alone([function], compiler))
        except SchemaError as error:
            reason = reason or _about(function, error, compiler)
            if not output.must_call and not function.get("strict"):
                functions.append({**function, "parameters": FREE})
        else:
            functions.append(function)
    if reason is not None and not functions:
        raise reason
    return replace(output, functions=functions) if reason is not None else output


def _about(function: Function, error: SchemaError, compiler: GrammarCompiler) -> SchemaError:
    """Why a tool's arguments can't be held, with the tool's name."""
    told = compiler.explained(error, function.get("parameters", FREE))
    named = SchemaError(f"{told} These are the arguments of {function['name']!r}.")
    named.__cause__ = told.__cause__
    return named


def turn_to_calls(
    output: OutputSpec, chat_format: ChatFormat, compiler: GrammarCompiler
) -> int | None:
    """The token by which an answer turns to calls instead of to its schema.

    A model that wants to say something else than a call begins neither a call nor JSON, so what
    these two tokens have of the probability says little. What all other tokens have together is
    for the answer.

    Returns:
        None if there is no such choice, or if it isn't made by a token of its own.
    """
    is_choice = bool(output.functions) and output.schema is not None and not output.must_call
    return _opening_token(chat_format, compiler) if is_choice else None


def _is_told_apart(output: OutputSpec, chat_format: ChatFormat, compiler: GrammarCompiler) -> bool:
    """Whether calls can be told from free text while they are written.

    They begin with a control token, or with a character that no text then begins with, or each part
    of an answer says what it is.
    """
    is_bare = isinstance(chat_format.region, Bare)
    if output.must_call or output.schema is not None or is_bare or chat_format.is_headed:
        return True
    return _opening_token(chat_format, compiler) is not None


def _opening_token(chat_format: ChatFormat, compiler: GrammarCompiler) -> int | None:
    region = chat_format.region
    return None if isinstance(region, Bare) else compiler.token(region.opening)
