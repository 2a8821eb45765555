"""How one model is talked to: its chat template writes prompts, its chat format reads answers.

This module knows which format goes with which template, and keeps what was found out about both:
nothing of models, settings or LangChain.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function
from langchain_amulet.chat_formats.chat_template import NOTHING, ChatTemplate
from langchain_amulet.chat_formats.history import with_history
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.probe import in_its_dialect
from langchain_amulet.chat_formats.registry import Origin, families, find_format
from langchain_amulet.errors import ConfigurationError

KEPT = 16
"""How many codecs are kept. Bounded, as calls may bring templates and variables of their own."""


@dataclass(frozen=True)
class ChatCodec:
    """A chat template and the format of the answers that go with it.

    Attributes:
        template: Writes prompts; it loses nothing of what tools did before.
        format: Reads answers, and says how calls are written.
        origin: How the format was found.
    """

    template: ChatTemplate
    format: ChatFormat
    origin: Origin = "chosen"

    def check_read(self) -> None:
        """Refuse to leave calls to the model where nobody could tell them from an answer.

        Raises:
            ConfigurationError: The template writes calls in a way that no family reads.
        """
        if self.origin == "unread":
            raise ConfigurationError(
                "Tools can be left to a model's choice only where a chat format reads its calls, "
                "but none reads those that this chat template writes, and they would pass for "
                "answers: pass chat_format=..., the name of a format or one of your own, or a "
                "tool_choice other than 'auto'."
            )

    def start(self, prompt: Sequence[int]) -> str:
        """What a prompt ends with, from where the answer's turn begins.

        That is what stands behind its last control token, the markers of thoughts and what else is
        within answers aside: a template may open a thought or not by what a conversation says.
        """
        template = self.template
        if template.continues:
            return ""
        names = {index: text for text, index in template.controls.ids.items()}
        thinking = self.format.thinking
        inner = {"", *self.format.part_ends, thinking.opening if thinking else ""}
        start = len(prompt)
        while start and names.get(prompt[start - 1], "") in inner:
            start -= 1
        if not start:
            return template.generation_prompt
        return str(template.tokenizer.decode(prompt[start - 1 :], skip_special_tokens=False))

    def is_thinking(self, prompt: Sequence[int]) -> bool:
        """Whether the answer to a prompt begins within a thought."""
        return self.format.is_thinking(self.start(prompt))

    def parser(
        self,
        prompt: Sequence[int],
        functions: Sequence[Function] = (),
        is_structured: bool = False,
    ) -> OutputParser:
        """What takes the answer to a prompt apart, see `ChatFormat.parser`."""
        return self.format.parser(self.start(prompt), functions, is_structured)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer: the model's own, and the template's end of a turn."""
        template = self.template
        found = {*template.stops, template.tokenizer.eos_token_id, template.turn_end}
        kept = {template.controls.ids.get(text) for text in self.format.part_ends}
        return frozenset(token for token in found - kept if token is not None)


class CodecCache:
    """The codecs of one tokenizer: what a template does is found out once. Safe to share."""

    def __init__(self, tokenizer: Any, stops: frozenset[int] = frozenset()) -> None:
        """Keep codecs of one model.

        Args:
            tokenizer: Its tokenizer, of the transformers library; it isn't changed.
            stops: Tokens that end its answers, whatever chat templates write.
        """
        # Not a method: a cycle would keep the tokenizer until the garbage is collected.
        self._made = lru_cache(maxsize=KEPT)(partial(_make, tokenizer, stops))

    def codec(
        self,
        template: str | None = None,
        variables: Mapping[str, Any] = NOTHING,
        chat_format: ChatFormat | str | None = None,
    ) -> ChatCodec:
        """The codec for these settings.

        Args:
            template: A Jinja template, or the name of one of the tokenizer's; None for its own.
            variables: What else the template is given.
            chat_format: A format or the name of one; None for that which the template writes.

        Raises:
            ChatTemplateError: There is no template.
        """
        # Families that are registered later may be those of templates that were looked at before.
        asked = families() if chat_format is None else ()
        key = _Key(template, _frozen(variables), chat_format, asked, variables)
        return self._made(key)


@dataclass(frozen=True)
class _Key:
    template: str | None
    frozen: Any
    chat_format: ChatFormat | str | None
    families: tuple[type[ChatFormat], ...]
    variables: Mapping[str, Any] = field(compare=False)


def _make(tokenizer: Any, stops: frozenset[int], key: _Key) -> ChatCodec:
    # Copied, as what is kept must not change when the caller changes a list in it.
    variables = copy.deepcopy(dict(key.variables))
    template = ChatTemplate(tokenizer, key.template, variables, stops=stops)
    template = in_its_dialect(template)
    found = find_format(template, key.chat_format)
    template = replace(template, inner=found.format.inner_tokens)
    return ChatCodec(with_history(template, found.format), found.format, found.origin)


def _frozen(value: Any) -> Any:
    """The value such that it can be looked up; unlike values differ, 1 and True included."""
    if isinstance(value, Mapping):
        return tuple((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return (type(value), *map(_frozen, value))
    try:
        hash(value)
    except TypeError:
        return object()  # equal to nothing, so that what can't be looked up is made anew
    return type(value), value
