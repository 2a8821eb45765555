"""Thoughts are told from answers, whichever markers stand around them and whichever tokens."""

import json
import random
import re
from itertools import product

import pytest
import torch
from tokenizers import AddedToken

from langchain_amulet.chat_formats.base import OutputSpec
from langchain_amulet.chat_formats.codec import ChatCodec, CodecCache
from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from langchain_amulet.chat_formats.output_grammar import compile_output
from langchain_amulet.chat_formats.output_parser import joined
from langchain_amulet.chat_formats.regions import THINKING, Thinking
from langchain_amulet.grammar import GrammarCompiler
from support.output_parts import Parts, parts
from support.tokenizers import CHATML, byte_level

QUESTION = {"role": "user", "content": "How is it?"}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["a"],
}
FUNCTION = {"name": "count", "description": "", "parameters": SCHEMA}
KINDS = ("text", "added", "special")
"""What the signs in markers are to a tokenizer: text like any other, tokens, or special ones."""

every_kind_of_markers = pytest.mark.parametrize(
    ("index", "kind", "is_opened"),
    list(product(range(len(THINKING)), KINDS, (False, True))),
)


def codec_of(thinking: Thinking, kind: str, is_opened: bool) -> ChatCodec:
    """How a model is talked to whose template takes such thoughts out of earlier answers."""
    answer = f"{{{{ m.content.split({json.dumps(thinking.closing, ensure_ascii=False)})[-1] }}}}"
    template = CHATML.replace("{{ m.content }}", answer)
    if is_opened:
        prompt = "assistant\n{% endif %}"
        opened = f"assistant\n{thinking.opening}{{% endif %}}"
        template = template.replace(prompt, opened)
    tokenizer = byte_level(template)
    if kind != "text":
        signs = re.findall(r"<[^<>\s]+>|◁[^▷]+▷|\[[^\]\s]+\]", thinking.opening + thinking.closing)
        added = [AddedToken(sign, normalized=False) for sign in signs]
        tokenizer.add_tokens(added, special_tokens=kind == "special")
    return CodecCache(tokenizer).codec()


def read(codec: ChatCodec, ids: list[int], output: OutputSpec, seed: int) -> Parts:
    """The parts of an answer of these tokens, whose text comes in pieces of any size."""
    tokenizer, dice = codec.template.tokenizer, random.Random(seed)
    markers = codec.format.markers(with_calls=bool(output.functions))
    text = Detokenizer(TokenBytes(tokenizer, markers))
    prompt, is_structured = codec.template.encode([QUESTION]), output.schema is not None
    parser = codec.parser(prompt, list(output.functions), is_structured)
    held, found = "", []
    for index in ids:
        held += text.feed(index)
        if dice.random() < 0.5:
            found += parser.feed(held)
            held = ""
    return parts(joined([*found, *parser.feed(held + text.flush()), *parser.finish()]))


@every_kind_of_markers
def test_a_thought_is_not_said(index: int, kind: str, is_opened: bool) -> None:
    thinking = THINKING[index]
    codec = codec_of(thinking, kind, is_opened)
    assert codec.format.thinking == thinking
    opening = "" if is_opened else thinking.opening
    written = f"{opening}\nHm, a <b>.\n{thinking.closing}\n\nFine."
    ids = codec.template.tokenizer.encode(written, add_special_tokens=False)
    for seed in range(3):
        answer = read(codec, ids, OutputSpec([FUNCTION]), seed)
        assert answer == Parts("Fine.", "Hm, a <b>.")


@every_kind_of_markers
def test_what_has_to_be_valid_is_said_behind_a_thought_that_the_prompt_has_opened(
    index: int, kind: str, is_opened: bool
) -> None:
    codec = codec_of(THINKING[index], kind, is_opened)
    answer = read(codec, decoded(codec, OutputSpec(schema=SCHEMA)), OutputSpec(schema=SCHEMA), 1)
    assert 0 <= json.loads(answer.text)["a"] <= 9
    must_call = OutputSpec([FUNCTION], must_call=True)
    answer = read(codec, decoded(codec, must_call), must_call, 1)
    assert answer.text == ""
    assert answer.calls
    assert not any(call.is_broken for call in answer.calls)


@every_kind_of_markers
def test_markers_within_what_a_schema_holds_are_text(
    index: int, kind: str, is_opened: bool
) -> None:
    thinking = THINKING[index]
    codec = codec_of(thinking, kind, is_opened)
    said = json.dumps({"a": f"{thinking.opening} x {thinking.closing}"}, ensure_ascii=False)
    thought = f"{'' if is_opened else thinking.opening}Hm.{thinking.closing}\n\n"
    for functions, seed in product(([], [FUNCTION]), range(3)):
        ids = codec.template.tokenizer.encode(thought + said, add_special_tokens=False)
        answer = read(codec, ids, OutputSpec(functions, schema=SCHEMA), seed)
        assert answer == Parts(said, "Hm.")


def decoded(codec: ChatCodec, output: OutputSpec, limit: int = 80) -> list[int]:
    """Random tokens under the grammar of an output."""
    tokenizer = codec.template.tokenizer
    grammar = compile_output(
        output,
        codec.format,
        GrammarCompiler(tokenizer, len(tokenizer)),
        is_thinking=codec.is_thinking(codec.template.encode([QUESTION])),
        max_tokens=limit,
        stop_ids=codec.stop_ids,
    )
    assert grammar is not None
    generator, ids = torch.Generator().manual_seed(2), list[int]()
    while True:
        scores = torch.rand(len(tokenizer), generator=generator)
        token = int((grammar.allowed() * scores).argmax())
        if token in codec.stop_ids:
            return ids
        if grammar.accept(token):
            ids.append(token)


def test_markers_that_only_the_model_has_for_tokens_are_told_as_well() -> None:
    tokenizer = byte_level(CHATML)
    tokenizer.add_tokens(["<think>", "</think>"])
    codec = CodecCache(tokenizer).codec()
    ids = tokenizer.encode("<think>\nHm.\n</think>\n\nFine.")
    assert read(codec, ids, OutputSpec(), 0) == Parts("Fine.", "Hm.")
