"""What families have in common whose calls are made of fixed strings and of what a call says.

A `CallShape` knows the strings, and so writes calls and says what a grammar takes; the family adds
where calls stand, and what reads them.

This module knows shapes: nothing of how any of them writes arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function, FunctionCall
from langchain_amulet.chat_formats.markup import closing_of, opening_of, spelled
from langchain_amulet.chat_formats.regions import Bare, CallRegion, Marked
from langchain_amulet.grammar import GrammarCompiler


class CallShape(Protocol):
    """The fixed strings of calls."""

    @property
    def before(self) -> str:
        """What comes before the first call."""
        ...

    @property
    def after(self) -> str:
        """What comes after the last call."""
        ...

    @property
    def between(self) -> str | None:
        """What comes between two; None if an answer can hold one only."""
        ...

    @property
    def lead(self) -> str:
        """The markers in front of the first call, without what is part of the call."""
        ...

    @property
    def first(self) -> str:
        """The sign that calls without markers begin with; empty if they begin with a name."""
        ...

    @property
    def tags(self) -> frozenset[str]:
        """The markers anywhere in calls."""
        ...

    def write(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of calls."""
        ...

    def grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The rules of an answer of calls, see `ChatFormat.call_grammar`."""
        ...

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """See `ChatFormat.endings`."""
        ...


def separator(shape: CallShape) -> str:
    """What comes between two calls: they stand below each other where an answer can hold one."""
    return f"{shape.after}\n{shape.before}" if shape.between is None else shape.between


def sequence_rules(
    shape: CallShape, names: Sequence[str], several: bool, compiler: GrammarCompiler
) -> list[str]:
    """The rules ``calls`` and ``call``: one of the rules with these names, or one after the other.

    Args:
        shape: What comes around calls.
        names: A rule for each tool, which is written by the caller.
        several: Whether there may be more than one call, if the shape has that.
        compiler: What spells markup.
    """
    is_many = several and shape.between is not None
    more = f"({spelled(shape.between or '', compiler)} call)*" if is_many else ""
    parts = (spelled(shape.before, compiler), "call", more, spelled(shape.after, compiler))
    return [f"calls: {' '.join(filter(None, parts))}", f"call: {' | '.join(names)}"]


@dataclass(frozen=True)
class ShapedCallFormat(ChatFormat):
    """A family whose calls have a shape.

    Attributes:
        shape: How calls are written.
        tokens: Which texts in it are control tokens, as far as is known.
    """

    shape: CallShape
    tokens: frozenset[str] = frozenset()

    @property
    def region(self) -> CallRegion:
        """Between the outermost markers; at an answer's beginning if there are none."""
        shape, opening = self.shape, opening_of(self.shape.lead, self.tokens)
        if not opening:
            return Bare(shape.first)
        return Marked(opening, closing_of(shape.after, shape.between, opening, self.tokens))

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart, those within calls included."""
        within = self.tokens | self.shape.tags if with_calls else frozenset()
        return super().markers(with_calls) | within

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of these calls."""
        return self.shape.write(calls)

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """An answer of calls as rules of a grammar."""
        return self.shape.grammar(functions, several, compiler)

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What ends the calls, or parts of them that could go on for ever."""
        return self.shape.endings(functions)
