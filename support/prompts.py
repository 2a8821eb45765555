"""The prompts of a call, as the model is given them."""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.call import prepare


def prompts_of(
    llm: ChatAmulet, conversation: LanguageModelInput, **settings: Any
) -> tuple[tuple[int, ...], ...]:
    """Token ids, one prompt for each stream of the call's plan."""
    messages = llm._convert_input(conversation).to_messages()
    return prepare(llm.model, llm._handle, llm.for_call(None, settings), messages).prompts


def text_of(llm: ChatAmulet, prompt: Sequence[int]) -> str:
    """A prompt as its template wrote it."""
    return str(llm._handle.opened.tokenizer.decode(prompt))


def controls_in(llm: ChatAmulet, prompt: Sequence[int]) -> list[int]:
    """The control tokens of a prompt, in order."""
    known = set(llm._handle.opened.tokenizer.added_tokens_decoder)
    return [token for token in prompt if token in known]
