"""A tokenizer's chat template: from a conversation to the token ids that the model reads.

A conversation is a list of turns, the dicts that chat templates read. Whatever they hold stays
text: only the template itself writes control tokens.

This module knows a tokenizer and Jinja templates: nothing of preferences, LangChain or models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import jinja2

from langchain_amulet.errors import ChatTemplateError, RequestError

Turn = dict[str, Any]
"""One message for a chat template: ``role``, ``content``, and what its role adds."""

NOTHING: Mapping[str, Any] = MappingProxyType({})

PROBE = "qzjx"
"""A text that no template writes by itself."""


def join_texts(*texts: str) -> str:
    """The texts that aren't empty, with a blank line between them."""
    return "\n\n".join(text for text in texts if text)


def merge_turns(turns: Sequence[Turn]) -> list[Turn]:
    """Neighbours of the same role as one turn: strict templates want roles to alternate.

    Results of tools stay apart, as each answers a call of its own.
    """
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"] != "tool":
            merged[-1] = _join(merged[-1], turn)
        else:
            merged.append(turn)
    return merged


def fold_system(turns: Sequence[Turn]) -> list[Turn]:
    """The conversation without system turns: their text is put in front of the next user turn."""
    folded: list[Turn] = []
    carried = ""
    for turn in [*turns, {"role": "user", "content": ""}]:
        if turn["role"] == "system":
            carried = join_texts(carried, turn["content"])
        elif turn["role"] == "user" and carried:
            folded.append({**turn, "content": join_texts(carried, turn["content"])})
            carried = ""
        else:
            folded.append(turn)
    return merge_turns(folded if folded[-1]["content"] else folded[:-1])


@dataclass(frozen=True)
class ChatTemplate:
    """A tokenizer's chat template.

    Attributes:
        tokenizer: A tokenizer of the transformers library. From now on it takes all its added
            tokens for control.
        template: A Jinja template, or the name of one of the tokenizer's; None for its own.
        adapt: What makes turns such that the template loses nothing of them.

    Raises:
        ChatTemplateError: There is no template. Also raised later, where the template refuses.
    """

    tokenizer: Any
    template: str | None = None
    adapt: Callable[[Sequence[Turn]], list[Turn]] = list

    def __post_init__(self) -> None:
        """Refuse a tokenizer without a template before anything is decoded."""
        if self.template is None and not self.tokenizer.chat_template:
            raise ChatTemplateError(
                "A chat model's tokenizer must have a chat template, but that of "
                f"{self.tokenizer.name_or_path!r} has none: choose an instruction-tuned model, "
                "or pass chat_template=..., a Jinja template."
            )
        # The library's own guess misses tokens that this template doesn't write but the model
        # knows, such as tags for tool calls.
        self.tokenizer.chat_control_tokens = list(self._controls)

    def encode(
        self,
        turns: Sequence[Turn],
        variables: Mapping[str, Any] = NOTHING,
        tools: Sequence[Mapping[str, Any]] | None = None,
        prompting: bool = True,
    ) -> tuple[int, ...]:
        """Token ids of the conversation, up to where the model is to answer.

        Args:
            turns: The conversation. Its control tokens become ordinary text.
            variables: What else the template is given, such as ``enable_thinking``.
            tools: JSON schemas of tools.
            prompting: Whether an answer is to follow; else the conversation ends as it is.

        Raises:
            ChatTemplateError: The template refuses the conversation.
            RequestError: A control token in a turn can't be kept as text, or half a character is
                in one.
        """
        _check_characters(turns)
        fitted = self._fit(turns, variables)
        ids = self._ids(fitted, variables, tools, prompting)
        if self._holds_control("\n".join(_strings([*turns, *fitted]))):
            # Before calls may become text that is left as it is, and after texts were joined.
            harmless = self._fit([self._neutral(turn) for turn in turns], variables)
            harmless = [self._neutral(turn) for turn in harmless]
            self._check_controls(ids, self._ids(harmless, variables, tools, prompting))
        return ids

    def encode_answer(
        self, answer: Turn, variables: Mapping[str, Any] = NOTHING
    ) -> tuple[int, ...]:
        """Token ids of an answer as the template has it after any prompt, with its end of turn.

        Where the template would change what it has prompted for, as some do with thoughts, the
        answer's text is taken by itself.

        Raises:
            ChatTemplateError: The template refuses the answer.
            RequestError: A control token in the answer can't be kept as text.
        """
        asked: Turn = {"role": "user", "content": "a"}
        prompt = self.encode([asked], variables)
        whole = self.encode([asked, answer], variables, prompting=False)
        if whole[: len(prompt)] == prompt:
            written = whole[len(prompt) :]
        else:
            written = self._encode_alone(answer)
        end = self.tokenizer.eos_token_id if self.turn_end is None else self.turn_end
        said = tuple(takewhile(lambda token: token != end, written))
        return said if end is None else (*said, end)

    def default_system(self, variables: Mapping[str, Any] = NOTHING) -> str:
        """The system message that the template adds where a conversation has none."""
        user = {"role": "user", "content": "a"}
        system = {"role": "system", "content": PROBE}
        if not self._reads_system(variables):
            return ""
        start, _, end = self.text([system, user], variables).partition(PROBE)
        default = self.text([user], variables)
        if not (default.startswith(start) and default.endswith(end)):
            return ""
        return default[len(start) : len(default) - len(end)]

    @cached_property
    def turn_end(self) -> int | None:
        """The control token that the template writes after an answer; None if there is none."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": PROBE}]
        rest = self.text(turns, prompting=False).rpartition(PROBE)[2].lstrip()
        ends = [text for text in self._controls if rest.startswith(text)]
        return self._controls[max(ends, key=len)] if ends else None

    @property
    def source(self) -> str:
        """The template's text, or several of them if they are chosen among by the call."""
        template = self.template or self.tokenizer.chat_template
        named = self.tokenizer.chat_template
        if isinstance(named, Mapping):
            return str(named.get(self.template, self.template) or "\n".join(named.values()))
        return str(template)

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Control tokens that may end an answer."""
        names = {index: text for text, index in self._controls.items()}
        found = {names.get(self.turn_end or -1), self.tokenizer.eos_token}
        return tuple(sorted(text for text in found if text))

    def generation_prompt(self, variables: Mapping[str, Any] = NOTHING) -> str:
        """What the template writes for the model to go on from."""
        turns = [{"role": "user", "content": "a"}]
        whole, without = (self.text(turns, variables, prompting=p) for p in (True, False))
        return whole[len(without) :] if whole.startswith(without) else ""

    def text(
        self,
        turns: Sequence[Turn],
        variables: Mapping[str, Any] = NOTHING,
        prompting: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The conversation as the template writes it; nothing in it is made harmless.

        Raises:
            ChatTemplateError: The template refuses the conversation.
        """
        options = {"add_generation_prompt": prompting, "tokenize": False, "tools": tools}
        return str(self._apply(turns, variables, **options))

    def _fit(self, turns: Sequence[Turn], variables: Mapping[str, Any]) -> list[Turn]:
        turns = self.adapt(merge_turns(turns))
        has_system = any(turn["role"] == "system" for turn in turns)
        if has_system and not self._reads_system(variables):
            return fold_system(turns)
        return merge_turns(turns)

    def _reads_system(self, variables: Mapping[str, Any]) -> bool:
        """Whether a system turn gets into the prompt: some templates refuse it, some drop it."""
        turns = [{"role": "system", "content": PROBE}, {"role": "user", "content": "a"}]
        try:
            return PROBE in self.text(turns, variables)
        except ChatTemplateError:
            return False

    def _ids(
        self,
        turns: Sequence[Turn],
        variables: Mapping[str, Any],
        tools: Sequence[Mapping[str, Any]] | None,
        prompting: bool,
    ) -> tuple[int, ...]:
        options = {"return_dict": True, "sanitize_control_tokens": True}
        rendered = self._apply(
            turns, variables, tools=tools, add_generation_prompt=prompting, **options
        )
        return tuple(rendered["input_ids"])

    def _encode_alone(self, answer: Turn) -> tuple[int, ...]:
        if answer.get("tool_calls") or self._holds_control(answer["content"]):
            raise RequestError(
                "An answer with tool calls or control tokens must be one that the chat template "
                "writes right after its prompt for an answer, which it doesn't for "
                f"{answer['content'][:40]!r}: leave them out, or change chat_template_kwargs."
            )
        return tuple(self.tokenizer.encode(answer["content"], add_special_tokens=False))

    def _apply(self, turns: Sequence[Turn], variables: Mapping[str, Any], **options: Any) -> Any:
        settings = {"add_generation_prompt": True, **options}
        try:
            return self.tokenizer.apply_chat_template(
                list(turns), chat_template=self.template, **settings, **variables
            )
        except (jinja2.TemplateError, TypeError) as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise ChatTemplateError(
                "A conversation must be one that the chat template accepts, but for the roles "
                f"{roles} it says: {error}. Change the order of the messages, or pass "
                "chat_template=..., a template that takes them."
            ) from error
        except ValueError as error:
            raise RequestError(
                f"Control tokens in messages must be kept as text, but: {error}. Take the token "
                "out of the messages."
            ) from error

    @cached_property
    def _controls(self) -> Mapping[str, int]:
        """Control tokens and their ids: whatever was added to the vocabulary but white space."""
        return {
            token.content: index
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if not token.content.isspace()
        }

    def _holds_control(self, text: str) -> bool:
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        return not set(self._controls.values()).isdisjoint(ids)

    def _neutral(self, turn: Turn) -> Turn:
        """The turn without control tokens.

        An assistant's content stays, as templates find thoughts and tool calls in it by such
        tokens and write them anew.
        """
        changed = {key: _map_strings(value, self._without_controls) for key, value in turn.items()}
        return {**changed, "content": turn["content"]} if turn["role"] == "assistant" else changed

    def _without_controls(self, text: str) -> str:
        for control in sorted(self._controls, key=len, reverse=True):
            text = text.replace(control, ".")
        return "." if self._holds_control(text) else text

    def _check_controls(self, ids: Sequence[int], harmless: Sequence[int]) -> None:
        """Refuse a prompt that has more control tokens than the template writes by itself."""
        names = {index: text for text, index in self._controls.items()}
        excess = Counter(i for i in ids if i in names) - Counter(i for i in harmless if i in names)
        if excess:
            raise RequestError(
                "Control tokens in messages must be kept as text, but this chat template makes "
                f"control of {', '.join(repr(names[i]) for i in excess)}: take it out of the "
                "messages and tool calls."
            )


def _join(first: Turn, second: Turn) -> Turn:
    joined = {**first, **second, "content": join_texts(first["content"], second["content"])}
    calls = [*first.get("tool_calls", ()), *second.get("tool_calls", ())]
    return {**joined, "tool_calls": calls} if calls else joined


def _check_characters(turns: Sequence[Turn]) -> None:
    """Refuse halves of characters, which no tokenizer reads, with `RequestError`."""
    try:
        "\n".join(_strings(turns)).encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            "Messages must be whole characters, but one holds half of one, "
            f"{error.object[error.start]!r}: take it out, or put its other half beside it."
        ) from error


def _strings(value: Any) -> Iterator[str]:
    """Every string in nested lists and dicts, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """The same nested lists and dicts with every string changed, keys of inner dicts included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): _map_strings(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_strings(item, change) for item in value]
    return value
