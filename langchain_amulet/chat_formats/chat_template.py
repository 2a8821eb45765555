"""A tokenizer's chat template: from a conversation to the token ids that the model reads.

Whatever a conversation holds stays text: only the template itself writes control tokens. What the
template does with any conversation, such as what it writes where there is no system message, is
found by trying it out, once.

This module knows a tokenizer and Jinja templates: nothing of preferences, answers or LangChain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from transformers.utils.chat_template_utils import encode_marked_chat, mark_control_tokens

from langchain_amulet.chat_formats.call_dialect import CallDialect
from langchain_amulet.chat_formats.control_tokens import ControlTokens
from langchain_amulet.chat_formats.long_texts import is_longer
from langchain_amulet.chat_formats.rendering import rendered
from langchain_amulet.chat_formats.shapes import PROBE, ShapeCache
from langchain_amulet.chat_formats.turns import (
    Turn,
    check_characters,
    fold_system,
    merge_turns,
)
from langchain_amulet.errors import (
    ChatTemplateError,
    ContextLengthError,
    RequestError,
    TemplateLimitError,
)

NOTHING: Mapping[str, Any] = MappingProxyType({})

CONTINUE = "continue_final_message"
"""The variable by which the transformers library goes on with the last message."""

QUESTION: Turn = {"role": "user", "content": "a"}

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": PROBE,
        "description": "a",
        "parameters": {"type": "object", "properties": {}},
    },
}
"""A tool that nobody has."""


@dataclass(frozen=True)
class ChatTemplate:
    """A tokenizer's chat template, with the variables that it is given.

    Attributes:
        tokenizer: A tokenizer of the transformers library; it isn't changed.
        template: A Jinja template, or the name of one of the tokenizer's; None for its own.
        variables: What else the template is given, such as ``enable_thinking``. With
            ``continue_final_message`` prompts end within the last message, an answer's beginning.
        adapt: What makes turns such that the template loses nothing of them, and is told whether
            it is given tools. Neighbours of the same role are one turn before it and after it.
        dialect: The form in which the template reads turns.
        stops: Tokens that end the model's answers, besides that with which the template ends turns.
        inner: Control tokens within answers, with which no turn ends.

    Raises:
        ChatTemplateError: There is no template. Also raised later, where the template refuses.
    """

    tokenizer: Any
    template: str | None = None
    variables: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    adapt: Callable[[Sequence[Turn], bool], list[Turn]] = lambda turns, with_tools: list(turns)
    dialect: CallDialect = field(default_factory=CallDialect)
    stops: frozenset[int] = frozenset()
    inner: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a tokenizer without a template before anything is decoded."""
        if not isinstance(self.variables.get(CONTINUE, False), bool):
            raise ChatTemplateError(
                f"{CONTINUE} must be True or False, not {self.variables[CONTINUE]!r}: only what "
                "an answer says can be continued."
            )
        if self.template is None and not self.tokenizer.chat_template:
            raise ChatTemplateError(
                "A chat model's tokenizer must have a chat template, but that of "
                f"{self.tokenizer.name_or_path!r} has none: choose an instruction-tuned model, "
                "or pass chat_template=..., a Jinja template."
            )

    # --- Conversations ---

    def encode(
        self,
        turns: Sequence[Turn],
        tools: Sequence[Mapping[str, Any]] | None = None,
        prompting: bool = True,
        limit: int | None = None,
    ) -> tuple[int, ...]:
        """Token ids of the conversation, up to where the model is to answer.

        Args:
            turns: The conversation. Its control tokens become ordinary text.
            tools: JSON schemas of tools.
            prompting: Whether an answer is to follow; else the conversation ends as it is.
            limit: How many tokens are read; None for any number. What is little longer passes.

        Raises:
            ContextLengthError: What the template writes is far longer than the limit.
            ChatTemplateError: The template refuses the conversation.
            RequestError: A control token in a turn or tool can't be kept as text, half a character
                is in one, or the last turn is to be continued and isn't an answer's beginning.
        """
        check_characters(turns)
        if prompting and self.continues:
            _check_continued(turns)
        fitted = self.fit(turns, bool(tools))
        ids = self._ids(fitted, tools, prompting, limit)
        if self.controls.may_arise([*turns, *fitted], tools):
            # Twice: before calls may become text, in which control tokens are left as they are,
            # and after texts were joined, which may have made new ones.
            harmless = self.fit([self.controls.taken_out(turn) for turn in turns], bool(tools))
            harmless = [self.controls.taken_out(turn) for turn in harmless]
            # Names of arguments, descriptions and enums come from whoever wrote the tools.
            harmless_tools = self.controls.harmless(tools)
            self.controls.check(ids, self._ids(harmless, harmless_tools, prompting, limit))
        return ids

    def fit(self, turns: Sequence[Turn], with_tools: bool = False) -> list[Turn]:
        """The conversation such that the template takes it and loses nothing of it.

        What is done depends on who speaks when, and not on what is said.

        Args:
            turns: The conversation.
            with_tools: Whether the template is given tools along with it.
        """
        turns = self.adapt(merge_turns(turns), with_tools)
        is_read = self.reads_system_with_tools if with_tools else self.reads_system
        has_system = any(turn["role"] == "system" for turn in turns)
        return fold_system(turns) if has_system and not is_read else turns

    def text(
        self,
        turns: Sequence[Turn],
        prompting: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The conversation as the template writes it; nothing in it is made harmless.

        Raises:
            ChatTemplateError: The template refuses the conversation.
            TemplateLimitError: It takes too long, or writes too much.
        """
        options = {"add_generation_prompt": prompting, "tools": tools}
        return self._written(turns, self._variables, **options)

    def tried(
        self,
        turns: Sequence[Turn],
        prompting: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str | None:
        """As `text`, for made-up conversations: None if the template refuses this one.

        Raises:
            TemplateLimitError: It would refuse none, and end none.
        """
        try:
            return self.text(turns, prompting, tools)
        except TemplateLimitError:
            raise
        except ChatTemplateError:
            return None

    # --- What the template does with any conversation: each found once ---

    @property
    def source(self) -> str:
        """The template's text, or several of them if they are chosen among by the call."""
        template = self.template or self.tokenizer.chat_template
        named = self.tokenizer.chat_template
        if isinstance(named, Mapping):
            return str(named.get(self.template, self.template) or "\n".join(named.values()))
        return str(template)

    @property
    def continues(self) -> bool:
        """Whether prompts end within the last message instead of after it."""
        return bool(self.variables.get(CONTINUE))

    @cached_property
    def controls(self) -> ControlTokens:
        """The tokenizer's control tokens."""
        return ControlTokens(self.tokenizer)

    @cached_property
    def reads_users(self) -> bool:
        """Whether what a user writes gets into the prompt."""
        written = self.tried(self.fit([{"role": "user", "content": PROBE}]))
        # One that refuses asks for more than that, and says so where that is missing.
        return written is None or PROBE in written.casefold()

    @cached_property
    def reads_system(self) -> bool:
        """Whether a system turn gets into the prompt: some templates refuse it, some drop it."""
        return self._reads_system(None)

    @cached_property
    def reads_system_with_tools(self) -> bool:
        """Whether it does where there are tools: some templates refuse or drop it without."""
        return self._reads_system([TOOL])

    @cached_property
    def writes_tools(self) -> bool:
        """Whether the template puts tools into the prompt."""
        return PROBE in (self.tried([QUESTION], tools=[TOOL]) or "")

    @cached_property
    def findings(self) -> ShapeCache:
        """What others found out by trying conversations of one shape or another."""
        return ShapeCache()

    @cached_property
    def generation_prompt(self) -> str:
        """What the template writes for the model to go on from."""
        if self.continues:
            return ""
        whole, without = (self._text_of([QUESTION], prompting=each) for each in (True, False))
        return whole[len(without) :] if whole.startswith(without) else ""

    @cached_property
    def turn_end(self) -> int | None:
        """The control token that the template writes after an answer; None if there is none.

        A template that takes no answers tells none.
        """
        turns: list[Turn] = [QUESTION, {"role": "assistant", "content": PROBE}]
        answered = self.tried(turns, False) or self.tried(turns, False, [TOOL]) or ""
        behind = answered.rpartition(PROBE)[2].lstrip()
        end = self.controls.at_start(behind)
        if end in self.inner:
            outer = self.controls.ids.keys() - self.inner
            later = (found[0] for found in self.controls.pattern.finditer(behind))
            end = next((each for each in later if each in outer), end)
        return self.controls.ids[end] if end else None

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Control tokens that may end an answer."""
        names = {index: text for text, index in self.controls.ids.items()}
        found = {names.get(index) for index in {*self.stops, self.turn_end} if index is not None}
        return tuple(sorted(text for text in {*found, self.tokenizer.eos_token} if text))

    def _reads_system(self, tools: Sequence[Mapping[str, Any]] | None) -> bool:
        turns: list[Turn] = [{"role": "system", "content": PROBE}, QUESTION]
        return PROBE in (self.tried(turns, tools=tools) or "")

    def _text_of(self, turns: Sequence[Turn], prompting: bool) -> str:
        """The conversation as the template writes it, with tools if it insists on them."""
        written = self.tried(turns, prompting)
        return self.text(turns, prompting, [TOOL]) if written is None else written

    # --- Rendering ---

    def _ids(
        self,
        turns: Sequence[Turn],
        tools: Sequence[Mapping[str, Any]] | None,
        prompting: bool,
        limit: int | None,
    ) -> tuple[int, ...]:
        continued = {CONTINUE: True} if prompting and self.continues else {}
        # Marked before the template gets them: it alone is to write control tokens.
        turns, tools, variables = (
            mark_control_tokens(given, self.controls.pattern)
            for given in (turns, tools, dict(self._variables))
        )
        text = self._written(
            turns,
            variables,
            **continued,
            tools=tools,
            add_generation_prompt=prompting and not continued,
        )
        if limit is not None and is_longer(self.tokenizer, text, limit):
            raise ContextLengthError(
                f"Prompt and answer must fit the model's context of {limit} tokens, but the "
                f"{len(text)} characters that the chat template writes are more than that: shorten "
                "the conversation, or the preference, tools or schema that are told with it."
            )
        try:
            return tuple(encode_marked_chat(self.tokenizer, text))
        except ValueError as error:
            raise RequestError(
                f"Control tokens in messages must be kept as text, but: {error}. Take the token "
                "out of the messages."
            ) from error

    @property
    def _variables(self) -> dict[str, Any]:
        return {name: value for name, value in self.variables.items() if name != CONTINUE}

    def _written(self, turns: Sequence[Turn], variables: Mapping[str, Any], **options: Any) -> str:
        def render() -> str:
            written = self.tokenizer.apply_chat_template(
                self.dialect.spoken(turns),
                chat_template=self.template,
                tokenize=False,
                **options,
                **variables,
            )
            return str(written)

        return rendered(render, self.source, [turn["role"] for turn in turns])


def _check_continued(turns: Sequence[Turn]) -> None:
    last = turns[-1] if turns else {"role": "none"}
    if last["role"] != "assistant":
        wrong, remedy = f"its role is {last['role']!r}", "end with an AIMessage"
    elif last.get("tool_calls"):
        wrong, remedy = "it has tool calls", "answer them, or take them out"
    elif not last["content"].strip():
        wrong, remedy = "it is empty", "begin it"
    else:
        return
    raise RequestError(
        f"With {CONTINUE} the last message must be an answer's beginning, text without tool "
        f"calls, but {wrong}: {remedy}, or leave {CONTINUE} out."
    )
