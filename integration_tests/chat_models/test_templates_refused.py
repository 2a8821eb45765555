"""Chat templates are others' work: one that can't be used is refused, and none runs wild."""

import os
from typing import Any

import pytest

import langchain_amulet
from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ChatTemplateError, ConfigurationError

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
    ],
    ids=["a long loop", "recursion", "a huge text", "a refusal", "a mistake"],
)
def test_a_template_that_fails_is_an_error_of_ours(llm: ChatAmulet, template: str) -> None:
    with pytest.raises(ChatTemplateError):
        llm.invoke(QUESTION, chat_template=template + "{{ messages[0].content }}")
    assert llm.invoke(QUESTION).content


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
