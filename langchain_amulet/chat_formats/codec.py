"""How one model is talked to: its chat template writes prompts, its chat format reads answers.

This module knows which format goes with which template, and keeps what was found out about both:
nothing of models, settings or LangChain.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

from langchain_amulet.chat_formats.base import ChatFormat, Function
from langchain_amulet.chat_formats.chat_template import NOTHING, ChatTemplate
from langchain_amulet.chat_formats.history import with_history
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.registry import families, find_format

KEPT = 16
"""How many codecs are kept. Bounded, as calls may bring templates and variables of their own."""


@dataclass(frozen=True)
class ChatCodec:
    """A chat template and the format of the answers that go with it.

    Attributes:
        template: Writes prompts; it loses nothing of what tools did before.
        format: Reads answers, and says how calls are written.
    """

    template: ChatTemplate
    format: ChatFormat

    @cached_property
    def is_thinking(self) -> bool:
        """Whether answers begin within a thought."""
        return self.format.is_thinking(self.template.generation_prompt)

    def parser(self, functions: Sequence[Function] = ()) -> OutputParser:
        """What takes one answer apart, in which these tools may be called."""
        return self.format.parser(self.template.generation_prompt, functions)


class CodecCache:
    """The codecs of one tokenizer: what a template does is found out once. Safe to share."""

    def __init__(self, tokenizer: Any) -> None:
        """Keep codecs of ``tokenizer``, of the transformers library; it isn't changed."""
        # Not a method: a cycle would keep the tokenizer until the garbage is collected.
        self._made = lru_cache(maxsize=KEPT)(partial(_make, tokenizer))

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


def _make(tokenizer: Any, key: _Key) -> ChatCodec:
    # Copied, as what is kept must not change when the caller changes a list in it.
    template = ChatTemplate(tokenizer, key.template, copy.deepcopy(dict(key.variables)))
    chat_format = find_format(template, key.chat_format)
    return ChatCodec(with_history(template, chat_format), chat_format)


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
