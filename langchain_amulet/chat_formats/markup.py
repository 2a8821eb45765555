"""What families write around calls: markers, and places where each call has something of its own.

A piece of markup is a text. Two characters in it, which no model's markup has, stand for what
differs from call to call: `NUMBER` for a call's number, `ID` for one that is made up for it.

This module knows texts: nothing of names, arguments or any family.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from langchain_amulet.chat_formats.turns import shared_start
from langchain_amulet.grammar import GrammarCompiler

NUMBER, ID = "\ue000", "\ue001"

SLOTS = {NUMBER: "[0-9]+", ID: r"[A-Za-z0-9_.:-]+"}
"""What is read in such a place, as patterns."""

WRITTEN = {NUMBER: "[0-9]{1,2}", ID: "[A-Za-z0-9]{9}"}
"""What is decoded there: less, so that it comes to an end."""

MADE_UP = "call00000"
"""An id that is made up, but for the call's number at its end: nine letters, as Mistral's are."""

TAG = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]{3,}\]|[\w:]+\[(?=\{)")
"""A marker, even where the tokenizer has no token for it."""

BRACKETS = "}], \t\r\n"
"""What JSON ends with, and what separates it."""


def filled(markup: str, number: int) -> str:
    """The markup of the call with this number, counted from 0."""
    identity = f"{MADE_UP[: -len(str(number))]}{number}"
    return markup.replace(NUMBER, str(number)).replace(ID, identity)


def spelled(markup: str, compiler: GrammarCompiler) -> str:
    """The markup as symbols of a grammar, for any call."""
    parts = re.split(f"({'|'.join(SLOTS)})", markup)
    symbols = (
        f"/{WRITTEN[part]}/" if part in WRITTEN else compiler.spell(part) for part in parts if part
    )
    return " ".join(symbols)


def pattern(markup: str) -> str:
    """A pattern for the markup, in which white space may be more, less or other."""
    words = markup.split()
    return r"\s*" + r"\s*".join(map(_word, words)) + (r"\s*" if words else "")


def tags(*markups: str) -> frozenset[str]:
    """The markers in pieces of markup."""
    return frozenset(tag for markup in markups for tag in TAG.findall(markup))


def shared_end(one: str, other: str) -> str:
    """What both texts end with."""
    size = next(
        (i for i, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return one[len(one) - size :]


def opening_of(lead: str, tokens: Collection[str]) -> str:
    """The marker that tells calls from text, of what stands in front of them.

    One that is a token tells where calls are while they are decoded, so it is better than all of
    what stands there; so is a tag, which no text holds by chance.
    """
    token = max((each for each in tokens if lead.startswith(each)), key=len, default="")
    tag = TAG.match(lead)
    return token or (tag[0] if tag else lead)


def closing_of(end: str, between: str | None, opening: str, tokens: Collection[str]) -> str:
    """The marker behind which an answer goes on as text; empty if its end alone ends calls.

    Args:
        end: What stands behind the last call.
        between: What stands between two calls; None if there is one only.
        opening: The marker in front of the first call.
        tokens: Which markers are control tokens.
    """
    front, again, _ = (between or "").partition(opening)
    if again:  # each call has markers of its own
        return _last_marker(end[: shared_start(end, front)], tokens)
    closing = _last_marker(end, tokens)
    return "" if between and closing in between else closing


def _last_marker(text: str, tokens: Collection[str]) -> str:
    text = text.strip().lstrip(BRACKETS)
    token = max((each for each in tokens if text.endswith(each)), key=len, default="")
    tag = re.search(rf"(?:{TAG.pattern})\Z", text)
    return token or (tag[0] if tag else text)


def _word(word: str) -> str:
    return "".join(SLOTS.get(character, re.escape(character)) for character in word)
