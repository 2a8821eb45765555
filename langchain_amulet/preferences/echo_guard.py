"""Which tokens would have an answer repeat a preference's own words.

Steering makes stronger whatever a preference changes, and much of what it changes is how likely its
own words are. So a steered answer may recite it, to whomever reads the answer. An `EchoGuard` names
the tokens by which that would happen, and those aren't amplified: an answer says them no more
often than that of a model which is only prompted.

What must not be recited are **phrases**: `SIZE` words in a row, whatever their case and whatever
stands between them. Where words aren't separated, as in Chinese or Thai, each character is one.

This module knows texts and the bytes of tokens: nothing of prompts, requests or how a token is
drawn.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_amulet.chat_formats.detokenizer import TokenBytes

SIZE = 3
"""How many words make a phrase; of a preference with two, these are one."""

UNSEPARATED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Characters of scripts without spaces: Thai, Lao, Burmese, Khmer, kana and Han."""

LETTER = rf"[^\W_{UNSEPARATED}]"
WORD = re.compile(rf"[{UNSEPARATED}]|{LETTER}+")
BEGINS_WITH_LETTER = re.compile(LETTER)
ENDS_WITH_LETTER = re.compile(rf"{LETTER}\Z")

SLACK = 16
"""How many bytes that are no words, such as line breaks, may stand within a phrase."""


def echoes(answer: str, preferences: Iterable[str], conversation: Iterable[str] = ()) -> int:
    """How many phrases of preferences an answer repeats; for the arguments see `phrases`."""
    said = _in_a_row(answer)
    return sum(f" {phrase} " in said for phrase in phrases(preferences, conversation))


def phrases(preferences: Iterable[str], conversation: Iterable[str] = ()) -> frozenset[str]:
    """The phrases of preferences that the conversation doesn't hold anyway.

    Args:
        preferences: Texts.
        conversation: All that was said.

    Returns:
        Words in lower case with a space between them.
    """
    said = [_in_a_row(text) for text in conversation]
    found = (phrase for text in preferences for phrase in _phrases(_words(text)))
    return frozenset(phrase for phrase in found if not any(f" {phrase} " in text for text in said))


class WordPieces:
    """A vocabulary by what its tokens add to the words of a text. Safe to share between threads."""

    def __init__(self, token_bytes: TokenBytes, size: int) -> None:
        """Index the tokens below ``size``, which may take a second."""
        self._separate: defaultdict[str, list[int]] = defaultdict(list)
        self._joined: defaultdict[str, list[int]] = defaultdict(list)
        for token in range(size):
            # A part of a character is no piece of a word, whichever way it is completed.
            text = token_bytes.of(token).decode("utf-8", "ignore")
            if piece := " ".join(_words(text)):
                goes_on = BEGINS_WITH_LETTER.match(text)
                (self._joined if goes_on else self._separate)[piece].append(token)

    def tokens(self, piece: str, *, separate: bool, joined: bool) -> Iterator[int]:
        """The tokens that add these words, the first and last of which may be parts of words.

        Args:
            piece: Words with a space between them.
            separate: Whether tokens count that begin a word, whatever stands before them.
            joined: Whether tokens count that would go on with a word before them.
        """
        if separate:
            yield from self._separate.get(piece, ())
        if joined:
            yield from self._joined.get(piece, ())


class EchoGuard:
    """Finds the tokens by which an answer would repeat phrases.

    Args:
        found: Phrases.
        token_bytes: The bytes of the answering model's tokens.
        pieces: The same tokens by the words that they add.
        begun: What the answer goes on from, where its beginning is given.

    Attributes:
        spec: What another process, with the same tokens, can make the same guard of: the other
            arguments, as plain data.
    """

    def __init__(
        self,
        found: Collection[str],
        token_bytes: TokenBytes,
        pieces: WordPieces,
        begun: str = "",
    ) -> None:
        """Watch for these phrases."""
        self._bytes, self._pieces, self._begun = token_bytes, pieces, begun
        self.spec: Mapping[str, Any] = {"found": sorted(found), "begun": begun}
        self._reach = SLACK + max((len(phrase.encode()) for phrase in found), default=0)
        self._by_beginning: defaultdict[str, list[str]] = defaultdict(list)
        for phrase in found:
            for place in range(len(phrase)):
                self._by_beginning[phrase[:place]].append(phrase)
        self._known: dict[tuple[str, bool], frozenset[int]] = {}

    def held(self, tokens: Sequence[int]) -> frozenset[int]:
        """The tokens which, behind those of an answer, would complete a phrase.

        Those count from which its last word begins: once that is begun, it is too late to say
        something else.
        """
        spelled = b"".join(map(self._bytes.of, tokens[-self._reach :]))
        text = spelled.decode("utf-8", "ignore")
        if len(tokens) < self._reach:
            text = self._begun + text
        is_open, said = ENDS_WITH_LETTER.search(text) is not None, _words(text)
        counts = range(min(SIZE, len(said)) + 1)
        tails = (" ".join(said[len(said) - count :]) for count in counts)
        return frozenset().union(*(self._after(tail, is_open) for tail in tails))

    def _after(self, tail: str, is_open: bool) -> frozenset[int]:
        """What completes the phrases that begin with ``tail``, the end of what was said.

        Args:
            tail: Words.
            is_open: Whether the last of them may go on.
        """
        if tail not in self._by_beginning:
            return frozenset()
        key = tail, is_open
        if key not in self._known:  # there are as many as beginnings, however long the answer
            self._known[key] = frozenset(self._completing(tail, is_open))
        return self._known[key]

    def _completing(self, tail: str, is_open: bool) -> Iterator[int]:
        for phrase in self._by_beginning[tail]:
            rest = phrase[len(tail) :]
            is_between = not tail or rest.startswith(" ")
            if not (is_between or is_open):
                continue  # a word that ended as the beginning of another
            last = max(0, phrase.rindex(" ") + 1 - len(tail))
            for end in range(last + 1, len(rest) + 1):
                piece = rest[:end].lstrip()
                yield from self._pieces.tokens(
                    piece, separate=is_between, joined=is_between != is_open
                )


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _in_a_row(text: str) -> str:
    """The words of a text with spaces around each."""
    return f" {' '.join(_words(text))} "


def _phrases(words: Sequence[str]) -> Iterator[str]:
    size = min(SIZE, len(words))
    if size > 1:  # a single word is no more than a style
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size])
