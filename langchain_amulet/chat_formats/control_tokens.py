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

from langchain_amulet.chat_formats.turns import Turn, map_strings
from langchain_amulet.errors import RequestError

UNKNOWN = "\ue000"
"""A character that no text has: it is for private use."""


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
        made = {*self.tokenizer.encode(text, add_special_tokens=False)} - self._unknown
        is_spelled = any(name in text for name, index in self.ids.items() if index in self._unknown)
        return is_spelled or not made.isdisjoint(self.ids.values())

    def may_arise(self, text: str) -> bool:
        """Whether control tokens stand in a text, or might once a template takes words out of it.

        Those that begin with a letter aren't looked for between other words: any text has letters.
        """
        return self.stand_in(text) or not self._openings.isdisjoint(text)

    def taken_out(self, turn: Turn) -> Turn:
        """The turn without control tokens, and without what they might be made of.

        An assistant's content stays, as templates find thoughts and tool calls in it by such
        tokens and write them anew.
        """
        changed: Turn = self.harmless(turn)
        return {**changed, "content": turn["content"]} if turn["role"] == "assistant" else changed

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

    def _without(self, text: str) -> str:
        for control in sorted(self.ids, key=len, reverse=True):
            text = text.replace(control, ".")
        text = "".join("." if character in self._openings else character for character in text)
        # What stood around a token that was taken out may now spell another one.
        return "." if self.stand_in(text) else text
