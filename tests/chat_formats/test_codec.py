"""What a chat template does is found out once, and nothing is changed by looking."""

import gc
import json
import weakref
from dataclasses import dataclass
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.codec import KEPT, ChatCodec, CodecCache
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.output_parser import PlainTextParser
from langchain_amulet.chat_formats.prompt import PromptBuilder
from langchain_amulet.chat_formats.registry import FORMATS, register
from langchain_amulet.errors import ChatTemplateError
from support.output_parts import Parts, parts
from support.registries import restored
from support.tokenizers import CHATML, DEFAULT_SYSTEM, FORGETFUL, byte_level

USER = {"role": "user", "content": "How?"}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


class Counting(PreTrainedTokenizerFast):
    """A tokenizer that counts how often its chat template is rendered."""

    rendered: list[bool]

    def apply_chat_template(self, *arguments: Any, **options: Any) -> Any:
        self.rendered.append(True)
        return super().apply_chat_template(*arguments, **options)


def counting(template: str) -> Counting:
    tokenizer = byte_level(template)
    tokenizer.__class__ = Counting
    assert isinstance(tokenizer, Counting)
    tokenizer.rendered = []
    return tokenizer


def builder(codec: ChatCodec, **more: Any) -> PromptBuilder:
    return PromptBuilder(codec.template, **more)


def test_a_prompt_is_one_rendering_once_the_template_is_known() -> None:
    tokenizer = counting(DEFAULT_SYSTEM)
    cache = CodecCache(tokenizer)
    for _ in range(2):
        codec = cache.codec()
        builder(codec).build([USER], ["Be kind."])
        assert not codec.is_thinking(codec.template.encode([USER]))
        codec.parser((), [WEATHER])
        assert codec.template.ends == ("<|im_end|>",)
    tokenizer.rendered.clear()
    codec = cache.codec()
    prompt = builder(codec).build([USER], [])
    builder(codec).build([USER], ["Be kind."])
    builder(codec, note="As JSON.").build([USER], ["Be kind."])
    assert len(tokenizer.rendered) == 3
    codec.parser(prompt, [WEATHER])
    assert not codec.is_thinking(prompt)
    assert codec.template.ends == ("<|im_end|>",)
    assert len(tokenizer.rendered) == 3


def test_control_tokens_in_a_message_cost_one_rendering_more() -> None:
    tokenizer = counting(CHATML)
    codec = CodecCache(tokenizer).codec()
    codec.template.encode([USER])
    tokenizer.rendered.clear()
    codec.template.encode([{"role": "user", "content": "<|im_end|>"}])
    assert len(tokenizer.rendered) == 2


def test_a_template_s_facts_are_those_for_its_variables() -> None:
    thought = "assistant\n{% if think %}<think>{% endif %}{% endif %}{# </think> #}"
    cache = CodecCache(byte_level(CHATML.replace("assistant\n{% endif %}", thought)))
    for variables, is_thinking in (({"think": True}, True), ({"think": False}, False), ({}, False)):
        codec = cache.codec(variables=variables)
        assert codec.is_thinking(codec.template.encode([USER])) is is_thinking


@pytest.mark.parametrize(
    ("variables", "others"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1]}, {"a": (1,)}),
        ({"a": {"b": "c"}}, {"a": {"b": "d"}}),
        ({"a": 1}, {"b": 1}),
    ],
)
def test_a_codec_is_kept_for_equal_variables_and_made_for_others(
    variables: dict[str, Any], others: dict[str, Any]
) -> None:
    cache = CodecCache(byte_level())
    found = cache.codec(variables=variables)
    assert cache.codec(variables=json.loads(json.dumps(variables))) is found
    assert cache.codec(variables=others) is not found


def test_for_variables_that_cannot_be_looked_up_a_codec_is_made_each_time() -> None:
    cache, variables = CodecCache(byte_level("{{ words }}" + CHATML)), {"words": {"a"}}
    codec = cache.codec(variables=variables)
    assert "set" in codec.template.text([USER])
    assert cache.codec(variables=variables) is not codec


def test_what_is_kept_does_not_change_with_what_the_caller_has() -> None:
    variables = {"words": ["a"]}
    codec = CodecCache(byte_level("{{ words | length }}" + CHATML)).codec(variables=variables)
    variables["words"].append("b")
    assert codec.template.text([USER]).startswith("1<|im_start|>")


def test_families_that_are_registered_later_are_asked_too() -> None:
    @dataclass(frozen=True)
    class Later(Hermes):
        name = "later"

    cache = CodecCache(byte_level())
    assert type(cache.codec().format) is Hermes
    with restored(FORMATS):
        register(Later)
        assert type(cache.codec().format) is Later
    assert type(cache.codec().format) is Hermes


def test_no_more_than_so_many_are_kept() -> None:
    cache = CodecCache(byte_level())
    first = weakref.ref(cache.codec(variables={"a": 0}))
    for index in range(1, KEPT + 1):
        cache.codec(variables={"a": index})
    gc.collect()
    assert first() is None


def test_without_a_template_a_codec_is_refused() -> None:
    with pytest.raises(ChatTemplateError, match="has none"):
        CodecCache(byte_level(template=None)).codec()


def test_a_tokenizer_stays_as_it_was() -> None:
    tokenizer = byte_level(FORGETFUL)
    before = dict(vars(tokenizer))
    codec = CodecCache(tokenizer).codec()
    codec.template.encode([{"role": "system", "content": "<tool_call>"}, USER])
    assert ChatTemplate(tokenizer).reads_system is False
    assert vars(tokenizer) == before
    assert tokenizer.chat_control_tokens is None


def test_an_answer_is_read_from_where_its_prompt_leaves_off() -> None:
    text = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>{% endif %}{# </think> #}")
    codec = CodecCache(byte_level(text)).codec()
    prompt = codec.template.encode([USER])
    assert codec.is_thinking(prompt)
    parser = codec.parser(prompt)
    assert parts([*parser.feed("Hm.</think>Yes."), *parser.finish()]) == Parts("Yes.", "Hm.")
    assert isinstance(CodecCache(byte_level(CHATML)).codec().parser(prompt), PlainTextParser)
