"""An answer that is given instead of decoded, as a chat template has it after any prompt.

This module knows chat templates: nothing of how answers are scored.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile

from langchain_amulet.chat_formats.chat_template import CONTINUE, QUESTION, ChatTemplate
from langchain_amulet.chat_formats.turns import Turn
from langchain_amulet.errors import RequestError


def encode_answer(
    template: ChatTemplate, answer: Turn, limit: int | None = None
) -> tuple[int, ...]:
    """Token ids of an answer, with its end of turn.

    Where the template would change what it has prompted for, as some do with thoughts, the answer's
    text is taken by itself.

    Args:
        template: The chat template.
        answer: The answer.
        limit: How many tokens the model reads; None for any number.

    Raises:
        ContextLengthError: The answer is far longer than the limit.
        ChatTemplateError: The template refuses the answer.
        RequestError: A control token in the answer can't be kept as text.
    """
    # Thoughts aren't scored, and an answer that is given is whole.
    answer = {key: value for key, value in answer.items() if key != "reasoning_content"}
    prompt = _answering(template).encode([QUESTION])
    whole = template.encode([QUESTION, answer], prompting=False, limit=limit)
    if whole[: len(prompt)] == prompt:
        written = whole[len(prompt) :]
    else:
        written = _encode_alone(template, answer)
    end = template.tokenizer.eos_token_id if template.turn_end is None else template.turn_end
    said = tuple(takewhile(lambda token: token != end, written))
    return said if end is None else (*said, end)


def _answering(template: ChatTemplate) -> ChatTemplate:
    """The template, which prompts for an answer even if calls continue one."""
    if not template.continues:
        return template
    return replace(template, variables={**template.variables, CONTINUE: False})


def _encode_alone(template: ChatTemplate, answer: Turn) -> tuple[int, ...]:
    if answer.get("tool_calls") or template.controls.stand_in(answer["content"]):
        raise RequestError(
            "An answer with tool calls or control tokens must be one that the chat template "
            "writes right after its prompt for an answer, which it doesn't for this one: "
            "leave them out, or change chat_template_kwargs."
        )
    return tuple(template.tokenizer.encode(answer["content"], add_special_tokens=False))
