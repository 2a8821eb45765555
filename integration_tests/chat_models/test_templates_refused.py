"""Chat templates are others' work: one that can't be used is refused, and none runs wild."""

import os
import threading
import time
from typing import Any

import pytest

import langchain_amulet
from langchain_amulet import ChatAmulet
from langchain_amulet.chat_formats.rendering import LONGEST
from langchain_amulet.errors import (
    ChatTemplateError,
    ConfigurationError,
    DeadlineError,
    TemplateLimitError,
)

QUESTION = "How do I sleep better?"


@pytest.mark.parametrize(
    "template",
    [
        os.path.join(os.path.dirname(langchain_amulet.__file__), "pocket", "chat_template.jinja"),
        "{{ messages[0]['role'] }}",
        "chatml",
    ],
)
def test_a_template_that_leaves_out_what_the_user_says_is_refused(
    llm: ChatAmulet, template: str
) -> None:
    """Such as the path of a file, which is a template of nothing but its own text."""
    with pytest.raises(ChatTemplateError, match="leaves it out: pass chat_template="):
        llm.invoke(QUESTION, chat_template=template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(10 ** 9) %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ 'a' * 10 ** 18 }}",
        "{{ raise_exception('No.') }}",
        "{% for m in messages %}",
        "{{ 1 // 0 }}",
        "{{ messages[0].content.index('nowhere') }}",
        "{{ {}['a'].b }}",
    ],
    ids=[
        "a long loop",
        "recursion",
        "a huge text",
        "a refusal",
        "a mistake",
        "a division by zero",
        "a value that isn't there",
        "a key that isn't there",
    ],
)
def test_a_template_that_fails_is_an_error_of_ours(llm: ChatAmulet, template: str) -> None:
    with pytest.raises(ChatTemplateError):
        llm.invoke(QUESTION, chat_template=template + "{{ messages[0].content }}")
    assert llm.invoke(QUESTION).content


def test_a_template_that_never_ends_costs_its_time_once_and_no_other_call(llm: ChatAmulet) -> None:
    """What is found out about it by trying it isn't tried any further."""
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    asked: list[str] = []

    def ask() -> None:
        with pytest.raises(TemplateLimitError, match="was still at it") as refused:
            llm.invoke(QUESTION, chat_template=endless)
        asked.append(str(refused.value))

    start = time.monotonic()
    asking = threading.Thread(target=ask)
    asking.start()
    assert llm.invoke(QUESTION).content
    with pytest.raises(DeadlineError):
        llm.invoke(QUESTION, chat_template=endless, timeout=0.2)
    asking.join()
    assert len(asked) == 1
    assert time.monotonic() - start < 4 * LONGEST


def test_a_template_that_writes_without_end_is_refused(llm: ChatAmulet) -> None:
    loud = "{% for a in range(99999) %}" + "a" * 1000 + "{% endfor %}"
    with pytest.raises(TemplateLimitError, match="may write"):
        llm.invoke(QUESTION, chat_template=loud)


@pytest.mark.parametrize(
    "variables",
    [{"truncation": True, "max_length": 8}, {"tokenize": False}, {"tools": []}, {"messages": []}],
)
def test_variables_that_would_reach_the_tokenizer_are_refused(
    llm: ChatAmulet, variables: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="is decided by the model for each prompt"):
        llm.invoke(QUESTION, chat_template_kwargs=variables)
    with pytest.raises(ConfigurationError, match="leave it out"):
        ChatAmulet(model=llm.model, chat_template_kwargs=variables)
