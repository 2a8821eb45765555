"""Chat formats by name, and which of them a chat template writes.

This module knows which families there are: nothing of how any of them writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import FunctionCall
from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.families.apertus import Apertus
from langchain_amulet.chat_formats.families.command import Command
from langchain_amulet.chat_formats.families.deepseek import DeepSeek
from langchain_amulet.chat_formats.families.deepseek_dsml import DeepSeekDsml
from langchain_amulet.chat_formats.families.delimited import Delimited
from langchain_amulet.chat_formats.families.functionary import Functionary
from langchain_amulet.chat_formats.families.functionary_v3_2 import FunctionaryV32
from langchain_amulet.chat_formats.families.gemma import Gemma
from langchain_amulet.chat_formats.families.glm import Glm
from langchain_amulet.chat_formats.families.gpt_oss import GptOss
from langchain_amulet.chat_formats.families.granite import Granite
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.families.jamba import Jamba
from langchain_amulet.chat_formats.families.kimi import Kimi
from langchain_amulet.chat_formats.families.kimi_k3 import KimiK3
from langchain_amulet.chat_formats.families.lfm2 import Lfm2
from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.families.minimax import MiniMax
from langchain_amulet.chat_formats.families.minimax_m3 import MiniMaxM3
from langchain_amulet.chat_formats.families.mistral import Mistral
from langchain_amulet.chat_formats.families.olmo import Olmo
from langchain_amulet.chat_formats.families.phi import Phi
from langchain_amulet.chat_formats.families.pythonic import Pythonic
from langchain_amulet.chat_formats.families.qwen_coder import QwenCoder
from langchain_amulet.chat_formats.families.seed_oss import SeedOss
from langchain_amulet.chat_formats.families.tagged import Tagged
from langchain_amulet.chat_formats.families.xlam import XLam
from langchain_amulet.chat_formats.output_parser import joined
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.response_template import OwnResponseTemplate
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.registry import Registry, place_of
from langchain_amulet.validation.wording import choose, message_of, quoted

Family = TypeVar("Family", bound=type[ChatFormat])


SHIPPED = (
    GptOss,
    Gemma,
    QwenCoder,
    Glm,
    MiniMax,
    MiniMaxM3,
    SeedOss,
    DeepSeekDsml,
    Mistral,
    DeepSeek,
    Kimi,
    KimiK3,
    Command,
    Phi,
    Granite,
    Jamba,
    Apertus,
    Functionary,
    FunctionaryV32,
    Lfm2,
    Olmo,
    Hermes,
    XLam,
    Llama,
    Delimited,
    Tagged,
    Pythonic,
)
"""The families of this package, in the order in which they are asked."""


def _check_family(name: str, family: Any) -> None:
    """Refuse what can't be a family before any template is asked about it."""
    if not (isinstance(family, type) and issubclass(family, ChatFormat)):
        raise ConfigurationError(
            f"A chat format must be a subclass of ChatFormat, not {quoted(family)}: register the "
            "class."
        )
    try:
        _check_instance(family())
    except TypeError as error:
        raise ConfigurationError(
            "A chat format must say all that ChatFormat asks for, and have defaults for its "
            f"fields, but of {family.__name__} is said: {message_of(error)}. Add what is missing."
        ) from error
    if family.name != name:
        raise ConfigurationError(
            f"A chat format must be registered by its own name, but {place_of(family)}, which is "
            f"{family.name!r}, is brought as {name!r}: mend the package that brings it."
        )


def _check_instance(chat_format: ChatFormat) -> None:
    """Refuse a format without a name, and one that caches can't tell from others."""
    kind = type(chat_format)
    name = getattr(kind, "name", None)
    if not (isinstance(name, str) and name):
        raise ConfigurationError(
            f"A chat format must have a name, which of {kind.__name__} is {name!r}: set the class "
            "attribute name."
        )
    try:
        hash(chat_format)
    except TypeError as error:
        raise ConfigurationError(
            "A chat format must have fields that don't change, so that it can be told from others, "
            f"but of {kind.__name__} is said: {message_of(error)}. Use tuples and frozensets."
        ) from error


def format_registry() -> Registry[type[ChatFormat]]:
    """A registry with the package's own families."""
    registry: Registry[type[ChatFormat]] = Registry(
        "chat format", "langchain_amulet.chat_formats", _check_family
    )
    for family in SHIPPED:
        registry.add(family.name, family)
    return registry


FORMATS = format_registry()
"""All families. A decorator needs one place to register in; this is it."""


def register(family: Family) -> Family:
    """Make a family known by its ``name``; returns it, so that it can be a decorator.

    Raises:
        ConfigurationError: It lacks something that a chat format must have, or its name is
            another one's.
    """
    FORMATS.add(getattr(family, "name", ""), family)
    return family


def families() -> tuple[type[ChatFormat], ...]:
    """All families, in the order in which they are asked if a template's calls are theirs.

    Those of this package come last, as others are more particular; of others the newest is first.

    Raises:
        ConfigurationError: Another package's family can't be imported, or isn't one.
    """
    shipped = {family.name for family in SHIPPED}
    others = [FORMATS[name] for name in FORMATS if name not in shipped]
    return (*reversed(others), *SHIPPED)


def family_of(name: str) -> type[ChatFormat]:
    """The family of that name.

    Raises:
        ConfigurationError: There is none.
    """
    if name not in FORMATS:
        raise ConfigurationError(
            f"chat_format must be one of {', '.join(sorted(FORMATS))}, a ChatFormat or None, not "
            f"{quoted(name)}: {choose(name, FORMATS)} one of those, or register the format first."
        )
    return FORMATS[name]


def as_chat_format(value: Any) -> ChatFormat | str | None:
    """A chat format, or the name of one; None for that which the chat template writes.

    Raises:
        ConfigurationError: No format has that name, or it is something else.
    """
    if isinstance(value, str):
        return family_of(value).name
    if isinstance(value, ChatFormat):
        _check_instance(value)
        return value
    if value is None:
        return None
    raise ConfigurationError(
        f"chat_format must be a ChatFormat, the name of one or None, not {quoted(value)}: pass an "
        "instance, or a name that was registered."
    )


Origin = Literal["chosen", "written", "spoken", "unread", "guessed"]
"""How a format was found: it was chosen, or a chat template writes calls in it; or writes none, or
with a mistake, but speaks of its marker or has it for a token; or nothing tells of it, since the
template writes calls that no family reads, or no calls."""

READ = FunctionCall(f"{PROBE}_read", {f"{PROBE}_key": f"{PROBE}_value"})
"""A made-up call that has to be read: another one than those by which families learn, so that what
belongs to a call isn't taken for what stands around all of them."""


@dataclass(frozen=True)
class FoundFormat:
    """The format of a model's answers.

    Attributes:
        format: The format.
        origin: How it was found.
    """

    format: ChatFormat
    origin: Origin


def find_format(template: ChatTemplate, chosen: ChatFormat | str | None = None) -> FoundFormat:
    """The format of the answers that go with a chat template.

    Args:
        template: The chat template, which tells a family's details by what it writes.
        chosen: A format, which is taken as it is; the name of a family, whose details the template
            tells as far as it writes calls of that family; or None for the family whose calls it
            writes, such that they are read again, or speaks of. Where that is none it is Hermes.
    """
    if isinstance(chosen, ChatFormat):
        return FoundFormat(chosen, "chosen")
    sample = TemplateSample(template)
    asked = families() if chosen is None else (family_of(chosen),)
    learnt = [*filter(None, (family.learn(sample) for family in asked))]
    if chosen is not None:
        found = FoundFormat(learnt[0] if learnt else asked[0](), "chosen")
    else:
        read = next((each for each in learnt if _reads(each, sample)), None)
        found = FoundFormat(read, "written") if read else _untold(sample, learnt)
    chat_format = found.format
    if chat_format.thinking is None:
        chat_format = replace(chat_format, thinking=sample.thinking, said=sample.said_markers)
    own = sample.response_template if chosen is None else None
    if own is None:
        return replace(found, format=chat_format)
    thinking, ends = chat_format.thinking, template.ends
    reader = OwnResponseTemplate(own, chat_format, ends, thinking=thinking)
    return FoundFormat(reader, "written")


def _reads(chat_format: ChatFormat, sample: TemplateSample) -> bool:
    """Whether a format reads a call as the template writes it, up to where answers end."""
    texts = {name: {"type": "string"} for name in READ.arguments}
    function = {"name": READ.name, "parameters": {"type": "object", "properties": texts}}
    parser = chat_format.parser("", [function])
    answer = sample.without_end(sample.answer([READ]), chat_format.part_ends)
    parts = [*parser.feed(answer), *parser.finish()]
    called = [part for part in joined(parts) if part.kind not in ("text", "thought")]
    if [part.kind for part in called] != ["call", "arguments"]:
        return False
    name, arguments = called
    try:
        return name.text == READ.name and json.loads(arguments.text) == READ.arguments
    except ValueError:
        return False


def _untold(sample: TemplateSample, learnt: Sequence[ChatFormat]) -> FoundFormat:
    """The format where a template writes no calls that a family reads.

    Args:
        sample: What the template writes.
        learnt: The families whose calls these look like, though none of them could read one.
    """
    if sample.one_call:
        # Templates are copied with mistakes in them, and their models write as they were trained.
        meant = next((type(each) for each in learnt if each.mark), None)
        return FoundFormat(meant(), "spoken") if meant else FoundFormat(Hermes(), "unread")
    marked = (each for each in families() if each.mark and sample.speaks_of(each.mark))
    spoken = next(marked, None)
    return FoundFormat(spoken(), "spoken") if spoken else FoundFormat(Hermes(), "guessed")
