"""From token ids to text that can be shown: whole characters only.

`TokenBytes` says which bytes a token stands for. `Detokenizer` joins the bytes of one answer, holds
back what may still turn out to be half a character, and gives out the rest at once. Each token
costs the same, however long the answer already is.

This module knows a tokenizer only: nothing of prompts, messages, models or chunks.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import Any

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
"""How sentencepiece-style tokenizers write a byte that no token of theirs covers."""


class TokenBytes:
    """The bytes that each token of a tokenizer stands for. Safe to share between threads."""

    def __init__(self, tokenizer: Any, shown: Collection[str] = ()) -> None:
        """Look up tokens in ``tokenizer``, of the transformers library, fast or slow.

        Special tokens have no bytes but for those whose text is among ``shown``, or a part of one
        of these: a marker may be a token with text around it.
        """
        self._tokenizer = tokenizer
        self._shown = "\0".join(shown)
        self._known: dict[int, bytes] = {}

    def of(self, token_id: int) -> bytes:
        """The token's bytes within a text; empty for special tokens and ids without a token."""
        if token_id not in self._known:
            self._known[token_id] = self._spell(token_id, self._decode_after_anchor)
        return self._known[token_id]

    def after(self, previous: int | None, token_id: int) -> bytes:
        """The token's bytes behind another one.

        Args:
            previous: The last token that had any bytes; None if the text begins with this one.
                Sentencepiece-style tokenizers then strip the space that marks a word.
            token_id: The token.
        """
        if self._is_byte_level:
            return self.of(token_id)
        if previous is None:
            return self._spell(token_id, lambda token: self._decode([token]))
        if self._marks_ends_of_words:
            return self._spell(token_id, lambda token: self._added([previous], token))
        return self.of(token_id)

    def _spell(self, token_id: int, decode: Callable[[int], bytes]) -> bytes:
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        if token_id in self._special_ids:
            return token.encode() if token and token in self._shown else b""
        if not isinstance(token, str):
            return token if isinstance(token, bytes) else b""
        if self._is_byte_level:
            return _from_byte_level(token)
        if byte := BYTE_TOKEN.fullmatch(token):
            return bytes.fromhex(byte[1])
        return decode(token_id)

    def _decode_after_anchor(self, token_id: int) -> bytes:
        return self._added(self._anchor, token_id)

    def _added(self, before: list[int], token_id: int) -> bytes:
        """What the token adds to the text of these."""
        alone, together = self._decode(before), self._decode([*before, token_id])
        if not together.startswith(alone):
            return self._decode([token_id])
        return together.removeprefix(alone)

    def _decode(self, ids: list[int]) -> bytes:
        text = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).encode("utf-8", "replace")

    @cached_property
    def _anchor(self) -> list[int]:
        """A token with text, behind which others are spelled as they are within a text."""
        letter = self._tokenizer.encode("a", add_special_tokens=False)
        # A vocabulary of whole words may not have the letter, and an unknown token has no text.
        candidates = (*reversed(letter), *range(self._tokenizer.vocab_size))
        return next(([int(index)] for index in candidates if self._decode([int(index)])), [])

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        added = self._tokenizer.added_tokens_decoder
        return frozenset(self._tokenizer.all_special_ids) | {
            index for index, token in added.items() if token.special
        }

    @cached_property
    def _is_byte_level(self) -> bool:
        """Whether tokens are spelled in GPT-2's alphabet of bytes."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:  # a slow tokenizer
            return hasattr(self._tokenizer, "byte_decoder")
        # Where nothing decodes, tokens are still spelled as they were before they were merged.
        spelled_by = backend.pre_tokenizer if backend.decoder is None else backend.decoder
        return "ByteLevel" in _steps(spelled_by)

    @cached_property
    def _marks_ends_of_words(self) -> bool:
        """Whether the token before may decide if a space comes first; unknown decoders may, too."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        steps = _steps(backend.decoder) if backend else frozenset()
        return not steps.isdisjoint({"BPEDecoder", CUSTOM})


CUSTOM = "custom"
"""A step that isn't one of the tokenizers library, but Python."""


def _steps(component: Any) -> frozenset[str]:
    """The kinds of steps that a part of a fast tokenizer is made of; none if it has no such part.

    The library tells them only in what it would save: ``{"type": "Sequence", "decoders": [...]}``
    for several, or ``{"type": "ByteLevel", ...}`` for one.
    """
    if component is None:
        return frozenset()
    try:
        state = json.loads(component.__getstate__())
    except Exception:  # the library's own, for steps in Python, which can't be saved
        return frozenset({CUSTOM})
    return frozenset(_kinds(state))


def _kinds(state: Any) -> Iterator[str]:
    if isinstance(state, Mapping):
        if isinstance(state.get("type"), str):
            yield state["type"]
        for part in state.values():
            yield from _kinds(part)
    elif isinstance(state, list):
        for part in state:
            yield from _kinds(part)


class Detokenizer:
    """The text of one answer, fed token by token.

    Joined, what `feed` and `flush` return is the text of all tokens as UTF-8, whatever way the text
    was split into tokens. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self, tokens: TokenBytes, before: int | None = None, gap: str = "") -> None:
        """Start a text.

        Args:
            tokens: How tokens are spelled.
            before: The token that it goes on from; None where it begins with its own first one.
            gap: What it may begin with and isn't shown, as it is there already.
        """
        self._tokens, self._gap = tokens, gap.encode()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = before  # the last token that had any bytes

    def feed(self, token_id: int) -> str:
        """Add a token; returns what can be shown now, which may be nothing."""
        spelled = self._tokens.after(self._last, token_id)
        self._last = token_id if spelled else self._last
        return self._utf8.decode(self._shown(spelled) if self._gap else spelled)

    def flush(self) -> str:
        """End the text; returns what was held back."""
        return self._utf8.decode(b"", final=True)

    def _shown(self, spelled: bytes) -> bytes:
        """A token's bytes without those of the gap."""
        pairs = zip(spelled, self._gap, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._gap = self._gap[common:] if common == len(spelled) else b""
        return spelled[common:]


def _from_byte_level(token: str) -> bytes:
    """Undo GPT-2's writing of bytes as printable characters; other text is taken as it is."""
    try:
        return bytes(BYTE_OF[character] for character in token)
    except KeyError:
        return token.encode("utf-8", "replace")


def _byte_alphabet() -> Mapping[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, other bytes for U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    shifted = {chr(0x100 + place): byte for place, byte in enumerate(others)}
    return MappingProxyType({chr(byte): byte for byte in printable} | shifted)


BYTE_OF = _byte_alphabet()
"""The byte that each character of a byte-level token stands for."""
