"""From what an answer must be, and how its model writes, to the grammar that it is held to.

This module knows when an answer can be held to anything: nothing of how any family writes, of
LangChain or decoding.
"""

from __future__ import annotations

from langchain_amulet.chat_formats.base import ChatFormat, OutputSpec
from langchain_amulet.chat_formats.regions import Bare
from langchain_amulet.grammar import Grammar, GrammarCompiler


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
        SchemaError: A schema can't be decoded under; the message says why.
        ContextLengthError: ``max_tokens`` is too small for any valid answer.
    """
    if output.is_free or not _is_told_apart(output, chat_format, compiler):
        return None
    rules = chat_format.grammar(output, compiler, is_thinking)
    thinking = chat_format.thinking
    closing = compiler.token(thinking.closing) if thinking else None
    ends = () if closing is None else (closing,)
    return compiler.compile(
        rules, max_tokens, stop_ids, ends, turn_to_calls(output, chat_format, compiler)
    )


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

    They begin with a control token, or with a character that no text then begins with.
    """
    if output.must_call or output.schema is not None or isinstance(chat_format.region, Bare):
        return True
    return _opening_token(chat_format, compiler) is not None


def _opening_token(chat_format: ChatFormat, compiler: GrammarCompiler) -> int | None:
    region = chat_format.region
    return None if isinstance(region, Bare) else compiler.token(region.opening)
