"""Conversations that can't fit a model's context are refused before anything is made of them.

What is rendered is counted exactly, and told apart from the preference that it holds.

This module knows messages, prompts and a tokenizer: nothing of chat templates or how prompts are
made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from langchain_core.messages import AIMessage, BaseMessage

from langchain_amulet.chat_formats.long_texts import is_longer
from langchain_amulet.chat_models.model_handle import OpenModel
from langchain_amulet.errors import ContextLengthError
from langchain_amulet.preferences import Preference
from langchain_amulet.steering import Plan
from langchain_amulet.validation import quoted


def check_fits(model: OpenModel, messages: Sequence[BaseMessage]) -> None:
    """Refuse a conversation that is longer than the context, whatever a template makes of it.

    What is left passes, and is counted exactly once it is rendered.

    Raises:
        ContextLengthError: It can't fit.
    """
    limit = model.context_length
    # Together, as short texts by themselves would take long to look at and count for nothing.
    text = "".join(text for message in messages for text in _texts(message))
    if limit is not None and is_longer(model.tokenizer, text, limit):
        raise ContextLengthError(
            f"Prompt and answer must fit the model's context of {limit} tokens, but the "
            f"{len(text)} characters of the messages are more than that: shorten the conversation."
        )


def check_prompts_fit(
    model: OpenModel,
    plan: Plan,
    prompts: Sequence[Sequence[int]],
    preferences: Sequence[Preference],
    answer: int,
    remedy: str = "lower max_tokens",
) -> None:
    """Refuse a call whose prompts leave no room for its answer, and say what the preference takes.

    Whoever shortens a conversation doesn't see a preference that is stored.

    Args:
        model: The model that answers. Prompts of others are for the engine to check.
        plan: Which streams there are.
        prompts: Token ids of each.
        preferences: Those that streams name by their numbers. None is quoted.
        answer: The most tokens of an answer.
        remedy: How to have a shorter one.

    Raises:
        ContextLengthError: The longest prompt and the answer don't fit.
    """
    limit = model.context_length
    if limit is None or max(map(len, prompts)) + answer <= limit:
        return
    own = [each for each in zip(plan.streams, prompts, strict=True) if each[0].model is None]
    stream, prompt = max(own, key=lambda each: len(each[1]))
    if (wanted := len(prompt) + answer) <= limit:
        return
    texts = [preferences[index].text for index in stream.preferences]
    taken = sum(len(model.tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    told = f", of which {taken} are the preference's" if texts else ""
    raise ContextLengthError(
        f"Prompt and answer must fit the model's context of {limit} tokens, but {len(prompt)} + "
        f"{quoted(answer)} is {quoted(wanted)}{told}. Shorten the conversation"
        f"{' or the preference,' if texts else ''} or {remedy}."
    )


def _texts(message: BaseMessage) -> Iterator[str]:
    """What of a message every template writes: of answers, some leave out the thoughts."""
    if isinstance(message, AIMessage):
        return
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        text = block.get("text") if isinstance(block, dict) else block
        if isinstance(text, str):
            yield text
