"""Control tokens: which a tokenizer has, and that only a chat template writes them.

This module knows tokenizers and turns: nothing of chat templates or LangChain.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_amulet.chat_formats.long_texts import slices
from langchain_amulet.chat_formats.turns import Turn, map_strings, strings_in
from langchain_amulet.errors import RequestError

UNKNOWN = "\ue000"
"""A character that no text has: it is for private use."""

SIGNS = re.compile(r"^[\W_]+")
"""What a text begins with that isn't a letter or digit."""

ENTITY = re.compile(r"&#?\w+;")
"""A sign as HTML has it, which some templates make that sign of."""

WORDS = frozenset(
    (
        *("name", "content", "reasoning_content", "tool_calls", "tool_call_id", "id"),
        *("type", "function", "arguments", "description", "parameters", "properties", "required"),
        *("items", "enum", "const", "default", "anyOf", "oneOf", "allOf", "$ref", "$defs"),
        *("object", "array", "string", "integer", "number", "boolean", "null"),
    )
)
"""What templates look for in turns and tools, and so can't be called otherwise to try them out."""


@dataclass(frozen=True)
class ControlTokens:
    """The tokens of a tokenizer that may mean something to its model: all that were added to it.

    Attributes:
        tokenizer: A tokenizer of the transformers library.
    """

    tokenizer: Any

    @cached_property
    def ids(self) -> Mapping[str, int]:
        """Each control token's id by its text; white space that was added is no control."""
        return {
            token.content: index
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if not token.content.isspace()
        }

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds them, and whatever else is special to the tokenizer, in a text: longest first."""
        tokens = self.tokenizer.added_tokens_decoder.values()
        special = {token.content for token in tokens if token.special}
        longest_first = sorted(special.union(self.ids), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")  # which is nowhere

    def at_start(self, text: str) -> str:
        """The longest control token that a text begins with; empty if it begins with none."""
        return max((each for each in self.ids if text.startswith(each)), key=len, default="")

    def stand_in(self, text: str) -> bool:
        """Whether the tokenizer would make a control token of a part of this text."""
        parts = slices(text, overlap=2 * self._longest)  # so that each token is whole in one
        ids = (self.tokenizer.encode(part, add_special_tokens=False) for part in parts)
        made = {index for each in ids for index in each} - self._unknown
        is_spelled = any(name in text for name, index in self.ids.items() if index in self._unknown)
        return is_spelled or not made.isdisjoint(self.ids.values())

    def may_arise(self, turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]] | None) -> bool:
        """Whether control tokens stand in texts, or might once a template has written them.

        It may take words out of one, or make a tag of one by putting signs around it, whatever its
        case and the signs in it were. Those that begin with a letter aren't looked for between
        other words: any text has letters.
        """
        texts = dict.fromkeys(strings_in([[{**turn, "role": ""} for turn in turns], tools]))
        whole = "\n".join(texts)
        is_opened = not self._openings.isdisjoint(whole) or ENTITY.search(whole) is not None
        may_be_cut = is_opened or self.stand_in(whole)
        return may_be_cut or any(map(self._may_be_completed, texts))

    def taken_out(self, turn: Turn) -> Turn:
        """The turn without control tokens, and without what they might be made of.

        An assistant's content stays, as templates find thoughts and tool calls in it by such
        tokens and write them anew. Roles are ours.
        """
        kept = ("role", "content") if turn["role"] == "assistant" else ("role",)
        return {**self.harmless(turn), **{key: turn[key] for key in kept}}

    def harmless(self, value: Any) -> Any:
        """Nested lists and dicts without control tokens, keys included."""
        return map_strings(value, self._without)

    def check(self, ids: Sequence[int], harmless: Sequence[int]) -> None:
        """Refuse a prompt in which text of the conversation became control tokens.

        Args:
            ids: The prompt.
            harmless: The prompt of the same conversation without control tokens in it: those that
                it has the template wrote by itself.

        Raises:
            RequestError: The prompt has more of them.
        """
        names = {index: text for text, index in self.ids.items() if index not in self._unknown}
        excess = Counter(i for i in ids if i in names) - Counter(i for i in harmless if i in names)
        if excess:
            raise RequestError(
                "Control tokens in messages must be kept as text, but this chat template makes "
                f"control of {', '.join(repr(names[i]) for i in excess)}: take it out of the "
                "messages, tool calls and tools, or what stands inside of it."
            )

    @cached_property
    def _unknown(self) -> frozenset[int]:
        """What the tokenizer makes of text that it doesn't know, of whatever kind it is.

        It is an added token, too, and says nothing: any word may become it.
        """
        ids = self.tokenizer.encode(UNKNOWN, add_special_tokens=False)
        return frozenset(ids) & {*self.ids.values()}

    @cached_property
    def _openings(self) -> frozenset[str]:
        """The signs that control tokens begin with."""
        starts = {text[0] for text in self.ids}
        return frozenset(sign for sign in starts if not (sign.isalnum() or sign.isspace()))

    @cached_property
    def _insides(self) -> frozenset[str]:
        """The letters and digits of control tokens."""
        return frozenset(map(_bare, self.ids)) - {""}

    @cached_property
    def _tails(self) -> tuple[str, ...]:
        """What is missing of control tokens behind the first, or the first few, of their signs."""
        openings = {text: SIGNS.match(text) for text in self.ids}
        return tuple(
            text[start:]
            for text, opening in openings.items()
            for start in range(1, opening.end() + 1 if opening else 0)
            if text[start:]
        )

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self.ids), default=0)

    def _may_be_completed(self, text: str) -> bool:
        """Whether signs in front of a text, or around it, might make a control token of it."""
        text = text.strip()
        is_short = 0 < len(text) <= self._longest and text not in WORDS
        is_inside = is_short and _bare(text) in self._insides
        return is_inside or text.startswith(self._tails)

    def _without(self, text: str) -> str:
        if self._may_be_completed(text):  # changed such that different names stay different
            text = f"x{text}"
        text = ENTITY.sub(".", text)
        for control in sorted(self.ids, key=len, reverse=True):
            text = text.replace(control, ".")
        text = "".join("." if character in self._openings else character for character in text)
        # What stood around a token that was taken out may now spell another one.
        return "." if self.stand_in(text) else text


def _bare(text: str) -> str:
    """A text without its signs, in lower case."""
    return "".join(filter(str.isalnum, text.lower()))
