r"""Regular expressions such that whoever reads them by any common dialect takes what is written.

JavaScript, whose dialect JSON Schema refers to, means ASCII by ``\w`` and ``\d``; Python and Rust,
and so pydantic, mean all of Unicode, each a little more or less. So a pattern is held to what all
of them take: ASCII letters for ``\w``, and for ``\W`` what is a letter to none of them. A name of a
property chooses by its pattern what its value must be: it is told by what any of them takes.

This module knows regular expressions, and how to refuse one: nothing of JSON, of what schemas ask
or of grammars.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

from pydantic_core import SchemaError, SchemaValidator, core_schema

from langchain_amulet.grammar.schema_tree import unheld

_ANY_WORD = r"[\p{Alphabetic}\p{M}\p{N}\p{Pc}\p{Cn}\x{200c}\x{200d}]"
_ANY_DIGIT = r"[\p{Nd}\p{Cn}]"
# Not assigned (Cn) are characters that a newer version of Unicode may make letters or digits.
_ALL_SPACE = r"\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_ANY_SPACE = rf"[{_ALL_SPACE}\x{{1c}}-\x{{1f}}\x{{85}}\x{{feff}}]"
_WORD, _DIGIT, _SPACE = "[0-9A-Za-z_]", "[0-9]", f"[{_ALL_SPACE}]"

BY_ALL: Mapping[str, str] = MappingProxyType(
    {
        "w": _WORD, "d": _DIGIT, "s": _SPACE,
        "W": f"[^{_ANY_WORD}]", "D": f"[^{_ANY_DIGIT}]", "S": f"[^{_ANY_SPACE}]",
        ".": r"[^\n\r\x{2028}\x{2029}]",
    }
)  # fmt: skip
"""What all dialects take for a class of characters; lines have the most ends in JavaScript's."""

BY_ANY: Mapping[str, str] = MappingProxyType(
    {
        "w": _ANY_WORD, "d": _ANY_DIGIT, "s": _ANY_SPACE,
        "W": f"[^{_WORD}]", "D": f"[^{_DIGIT}]", "S": f"[^{_SPACE}]",
        "$": r"\n?$",
    }
)  # fmt: skip
"""What any of them takes for it. To Python a text may end before an end of a line, too."""

PART = re.compile(
    r"\[(\^?)((?:\\.|[^\\\]])*+)\]|\[(?:\\.|[^\\\]])*+\\?\Z|\\([dswDSW])|\\.|[.$]", re.DOTALL
)
"""A class, what it leaves out or lists, one that doesn't end, so that none is looked for within it,
a class by a letter, another escape, and two signs."""

MEMBER = re.compile(r"(-?)\\([dswDSW])(-?)|\\.|\[", re.DOTALL)
"""Of what a class lists, a class by a letter with hyphens beside it, another escape, a bracket."""

LONGEST = 20_000
"""The most characters of a pattern: to read one takes time, in which nothing else is done."""

ANYTHING = r"\x{0}-\x{10ffff}"

DOTS_TAKE_ALL = re.compile(r"\(\?[a-z]{0,9}s[a-z]{0,9}\)")
"""How a pattern begins whose dots are any characters. JavaScript doesn't read it."""

OPERATIONS = ("&&", "--", "~~")
"""What sets classes against each other in Rust's dialect, and is signs or a range to others."""


POSSESSIVE = re.compile(r"(?:[*+?]|\{\d+(?:,\d*)?\})\+")
"""A repetition that gives nothing back to what follows, in Python's dialect."""

WORD_ENDS = (r"\<", r"\>")
"""Where words begin and end in Rust's dialect, and signs to others."""


def check_meaning(pattern: str, told: str) -> None:
    """Refuse a pattern that means different things to its readers.

    Args:
        pattern: The pattern.
        told: It in words.

    Raises:
        SchemaError: It does; the message says by which part.
    """
    if len(pattern) > LONGEST:
        raise unheld(
            f"{told} has {len(pattern)} characters, and patterns may have {LONGEST}: list values "
            "in an enum, or ask for less"
        )
    parts = [*PART.finditer(pattern)]
    reads = cache(lambda: is_read(pattern))  # it may be asked for each class
    repeated = POSSESSIVE.search(PART.sub("a", pattern))
    meanings = [
        (repeated[0], f"{repeated[0][:-1]} means the same") if repeated else None,
        *((found[0], f"{found[0][1:]} is a sign") for found in parts if found[0] in WORD_ENDS),
        *(_two_meanings_of(found[2], reads) for found in parts if found[2] is not None),
    ]
    for what, remedy in filter(None, meanings):
        raise unheld(
            f"{told} has {what}, which means different things to those who read it: {remedy} to all"
        )


def for_all(pattern: str) -> str:
    """A pattern, in Rust's dialect, of what all its readers find it in."""
    dots = {".": "."} if DOTS_TAKE_ALL.match(pattern) else {}
    return _said(pattern, {**BY_ALL, **dots}, BY_ANY)


def for_any(pattern: str) -> str:
    """A pattern, in Rust's dialect, of all that any of its readers finds it in."""
    return _said(pattern, BY_ANY, BY_ALL)


def finds_by_all(pattern: str) -> Callable[[str], bool]:
    """What tells whether surely all readers find a pattern in a text."""
    found = _search(for_all(pattern))
    return found or (lambda text: False)


def finds_by_any(pattern: str) -> Callable[[str], bool]:
    """What tells whether any reader may find a pattern in a text."""
    found = _search(for_any(pattern))
    return found or (lambda text: True)


def is_read(pattern: str) -> bool:
    """Whether a pattern is one in Rust's dialect."""
    return _search(pattern) is not None


def _search(pattern: str) -> Callable[[str], bool] | None:
    """What finds a pattern by Rust's dialect, in time linear in the text; None if it isn't one."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python
    except SchemaError:
        return None


def _said(pattern: str, meanings: Mapping[str, str], opposite: Mapping[str, str]) -> str:
    """A pattern with other words for what its readers take differently.

    Args:
        pattern: The pattern.
        meanings: The words.
        opposite: The words for what a class leaves out.
    """

    def part(found: re.Match[str]) -> str:
        negation, members, letter = found.groups()
        if members is None:
            return meanings.get(letter or found[0], found[0])
        return f"[{negation}{_listed(members, opposite if negation else meanings)}]"

    return PART.sub(part, pattern)


def _listed(members: str, meanings: Mapping[str, str]) -> str:
    """What a class lists, in other words. A bracket is a sign to those who read it at all."""

    def member(found: re.Match[str]) -> str:
        before, letter, after = found.groups()
        if letter is None:
            return r"\[" if found[0] == "[" else found[0]
        # Beside a class a hyphen is a sign, likewise.
        hyphen = {"-": r"\-", "": ""}
        return hyphen[before] + meanings[letter] + hyphen[after]

    letters = {found[2] for found in MEMBER.finditer(members)}
    if any(letter and letter.swapcase() in letters for letter in letters):
        return ANYTHING  # to each reader, though they draw the line in different places
    return MEMBER.sub(member, members)


def _two_meanings_of(members: str, is_read: Callable[[], bool]) -> tuple[str, str] | None:
    """What in a class means different things, and what doesn't; None if it means one thing.

    Args:
        members: What the class lists.
        is_read: Whether its pattern is one in Rust's dialect.
    """
    signs = re.sub(r"\\.", "a", members, flags=re.DOTALL)
    two = next((each for each in OPERATIONS if each in signs), None)
    if not members:
        return "a class that begins with ]", r"\] is a sign"
    if two:
        return f"{two} within a class", f"\\{two[0]} is a sign"
    if "[" in signs and is_read():
        return "[ within a class", r"\[ is a sign"
    return None
