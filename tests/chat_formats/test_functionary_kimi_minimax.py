"""Functionary 3.2, Kimi K3 and MiniMax M3: what is particular to how they answer."""

import json
import random
from typing import Any

import jsonschema
import pytest
import torch

from langchain_amulet.chat_formats.base import ChatFormat, Function, OutputSpec
from langchain_amulet.chat_formats.codec import ChatCodec, CodecCache
from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from langchain_amulet.chat_formats.families.functionary_v3_2 import FunctionaryV32
from langchain_amulet.chat_formats.families.gpt_oss import GptOss
from langchain_amulet.chat_formats.families.kimi_k3 import KimiK3
from langchain_amulet.chat_formats.families.minimax_m3 import MiniMaxM3
from langchain_amulet.chat_formats.given_answer import encode_answer
from langchain_amulet.chat_formats.output_grammar import compile_output
from langchain_amulet.chat_formats.output_parser import joined
from langchain_amulet.chat_formats.regions import Marked
from langchain_amulet.grammar import GrammarCompiler
from support.output_parts import Called, Parts, parts
from support.published import PUBLISHED

QUESTION = {"role": "user", "content": "How is it?"}
WEATHER: Function = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 4}}},
}
CLOCK: Function = {"name": "clock", "parameters": {"type": "object", "properties": {}}}
FUNCTIONS = [WEATHER, CLOCK]
CODECS = {
    name: CodecCache(PUBLISHED[name].template.tokenizer).codec()
    for name in ("functionary_v3_2", "kimi_k3", "minimax_m3")
}


def read(
    chat_format: ChatFormat, text: str, functions: list[Function] = FUNCTIONS, start: str = ""
) -> Parts:
    """The parts of an answer, the same in whatever pieces it comes."""
    whole = chat_format.parser(start, functions)
    found = joined([*whole.feed(text), *whole.finish()])
    for seed in range(6):
        rng, parser, rest, pieces = (
            random.Random(seed),
            chat_format.parser(start, functions),
            text,
            [],
        )
        while rest:
            size = rng.randint(1, 9)
            pieces += parser.feed(rest[:size])
            rest = rest[size:]
        assert joined([*pieces, *parser.finish()]) == found
    return parts(found)


def decoded(codec: ChatCodec, output: OutputSpec, seed: int, limit: int = 300) -> str:
    """The text of an answer of random tokens under the grammar; empty if nothing holds it."""
    tokenizer = codec.template.tokenizer
    grammar = compile_output(
        output,
        codec.format,
        GrammarCompiler(tokenizer, len(tokenizer)),
        is_thinking=codec.is_thinking(codec.template.encode([QUESTION])),
        max_tokens=limit,
        stop_ids=codec.stop_ids,
    )
    if grammar is None:
        return ""
    generator = torch.Generator().manual_seed(seed)
    text = Detokenizer(TokenBytes(tokenizer, codec.format.markers(with_calls=True)))
    written = ""
    for _ in range(4 * limit):  # not each token that is drawn is taken
        scores = torch.rand(len(tokenizer), generator=generator)
        token = int((grammar.allowed() * scores).argmax())
        if token in codec.stop_ids:
            break
        if grammar.accept(token):
            written += text.feed(token)
    return written + text.flush()


def answered(codec: ChatCodec, turn: dict[str, Any]) -> str:
    """What the template writes for an answer behind its prompt, up to the turn's end."""
    template = codec.template
    whole = template.text([QUESTION, {"role": "assistant", **turn}], prompting=False)
    return whole.removeprefix(template.text([QUESTION])).partition("<|im_end|>")[0]


def calling(*calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"type": "function", "id": "abcdefghi", "function": {"name": name, "arguments": arguments}}
        for name, arguments in calls
    ]


def start_of(codec: ChatCodec) -> str:
    return codec.start(codec.template.encode([QUESTION]))


# --- What a template writes is read ---


@pytest.mark.parametrize("name", CODECS)
def test_what_is_said_along_with_calls_is_told_from_them(name: str) -> None:
    codec = CODECS[name]
    calls = [("weather", {"city": "Rome"}), ("clock", {})]
    turn = {"content": "Let me see.", "tool_calls": calling(*calls)}
    answer = read(codec.format, answered(codec, turn), start=start_of(codec))
    assert answer.text == "Let me see."
    assert [(call.name, json.loads(call.arguments)) for call in answer.calls] == calls


@pytest.mark.parametrize("functions", [[], FUNCTIONS])
@pytest.mark.parametrize("name", CODECS)
def test_an_answer_without_calls_is_what_it_says(name: str, functions: list[Function]) -> None:
    codec = CODECS[name]
    written = answered(codec, {"content": "It is > 20 °C.\n\nRest."})
    answer = read(codec.format, written, functions, start_of(codec))
    assert answer == Parts("It is > 20 °C.\n\nRest.")


@pytest.mark.parametrize("name", ["kimi_k3", "minimax_m3"])
def test_a_thought_is_told_from_what_is_said(name: str) -> None:
    codec = CODECS[name]
    written = answered(codec, {"content": "Rest.", "reasoning_content": "They tire."})
    for functions in ([], FUNCTIONS):
        answer = read(codec.format, written, functions, start_of(codec))
        assert answer == Parts("Rest.", "They tire.")


@pytest.mark.parametrize("name", CODECS)
def test_a_given_answer_ends_with_the_token_that_ends_turns(name: str) -> None:
    codec = CODECS[name]
    ids = encode_answer(codec.template, {"role": "assistant", "content": "Rest."})
    written = codec.template.tokenizer.decode(ids)
    assert written == answered(codec, {"content": "Rest."}) + "<|im_end|>"
    assert codec.stop_ids == {ids[-1]}


# --- What an answer must be ---


@pytest.mark.parametrize("name", CODECS)
def test_structured_answers_and_calls_beside_them_are_read_back(name: str) -> None:
    codec = CODECS[name]
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    kinds = set()
    for seed in range(8):
        written = decoded(codec, OutputSpec(FUNCTIONS, schema=schema), seed)
        answer = read(codec.format, written, start=start_of(codec))
        assert bool(answer.text) != bool(answer.calls)
        assert not any(call.is_broken for call in answer.calls)
        if answer.text:
            jsonschema.validate(json.loads(answer.text), schema)
        kinds.add(bool(answer.calls))
    assert kinds == {True, False}


@pytest.mark.parametrize("family", [GptOss, KimiK3])
def test_a_strict_tool_left_to_the_model_is_held_to_where_answers_say_what_they_go_on_with(
    family: type[ChatFormat],
) -> None:
    tokenizer = CODECS["kimi_k3"].template.tokenizer
    output = OutputSpec([{**WEATHER, "strict": True}])
    compiler = GrammarCompiler(tokenizer, len(tokenizer))
    grammar = compile_output(
        output, family(), compiler, is_thinking=True, max_tokens=99, stop_ids=frozenset()
    )
    assert grammar is not None


# --- Functionary ---


def test_brackets_that_name_nobody_are_text_such_as_python_s_prompt() -> None:
    said = "Try:\n>>> all([])\n>>>weather\nor >>>"
    assert read(FunctionaryV32(), f"all\n{said}") == Parts(said)


def test_a_message_may_be_an_object_for_everybody() -> None:
    assert read(FunctionaryV32(), 'all\n{"a": 1}') == Parts('{"a": 1}')


def test_an_answer_for_nobody_in_particular_is_said() -> None:
    for said in ("Hello there.", "Hello", "", "Well, {it} is."):
        assert read(FunctionaryV32(), said) == Parts(said)


def test_a_message_that_was_cut_off_in_its_head_breaks_no_call() -> None:
    whole = 'weather\n{"city": "Rome"}'
    for behind in (">", ">>>", ">>>clo", ">>>clock\n"):
        assert read(FunctionaryV32(), whole + behind).calls == (
            Called("weather", '{"city": "Rome"}'),
        )


def test_arguments_that_are_no_object_are_a_broken_call() -> None:
    answer = read(FunctionaryV32(), 'weather\n{"city": "Ro>>>clock\n{}')
    assert answer.calls == (
        Called("weather", '{"city": "Ro', is_broken=True),
        Called("clock", "{}"),
    )


def test_without_tools_a_message_for_one_is_text() -> None:
    assert read(FunctionaryV32(), "weather\n{}", []) == Parts("weather\n{}")


# --- Kimi ---

TOOLS_OPEN, TOOLS_SHUT = "<|open|>tools<|sep|>", "<|close|>call<|sep|><|close|>tools<|sep|>"
CALL = f'{TOOLS_OPEN}<|open|>call tool="weather" index="1"<|sep|>'


def argument(name: str, kind: str, text: str) -> str:
    return f'<|open|>argument key="{name}" type="{kind}"<|sep|>{text}<|close|>argument<|sep|>'


def test_arguments_are_of_the_types_that_they_say() -> None:
    given = [("a", "string", " 7\n"), ("b", "number", "7"), ("c", "null", "null")]
    given += [("d", "array", '[1, "x"]'), ("e", "object", '{"f": true}'), ("&<", "string", "")]
    written = "".join(argument(n.replace("&", "&amp;"), kind, text) for n, kind, text in given)
    (call,) = read(KimiK3(), CALL + written + TOOLS_SHUT).calls
    wanted = {"a": " 7\n", "b": 7, "c": None, "d": [1, "x"], "e": {"f": True}, "&<": ""}
    assert json.loads(call.arguments) == wanted


def test_all_arguments_may_be_one_object() -> None:
    block = '<|open|>json type="object"<|sep|>{}<|close|>json<|sep|>'
    (call,) = read(KimiK3(), CALL + block.replace("{}", '{"city": "Rome"}') + TOOLS_SHUT).calls
    assert call == Called("weather", '{"city": "Rome"}')
    (call,) = read(KimiK3(), CALL + block + TOOLS_SHUT).calls
    assert call == Called("weather", "{}")
    (call,) = read(KimiK3(), CALL + block.replace("{}", "[1]") + TOOLS_SHUT).calls
    assert call.is_broken


def test_arguments_that_a_schema_speaks_of_together_are_forced_as_one_object() -> None:
    together = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
        "minProperties": 1,
    }
    output = OutputSpec([{"name": "pair", "parameters": together}], must_call=True, several=False)
    for seed in range(3):
        written = decoded(CODECS["kimi_k3"], output, seed)
        assert '<|open|>json type="object"<|sep|>' in written
        (call,) = read(KimiK3(), written, start=start_of(CODECS["kimi_k3"])).calls
        jsonschema.validate(json.loads(call.arguments), together)


def test_a_tag_that_was_cut_off_is_not_said() -> None:
    start = start_of(CODECS["kimi_k3"])
    for behind in ("<|close|>", "<|close|>thi", "<|close|>think<|sep|><|open|>resp"):
        assert read(KimiK3(), f"Hm.{behind}", start=start) == Parts(thought="Hm.")
    assert read(KimiK3(), "Rest.<|close|>response") == Parts("Rest.")


# --- MiniMax ---

MARK = "]<]minimax[>["
NESTED: dict[str, Any] = {
    "type": "object",
    "$defs": {
        "Stop": {
            "type": "object",
            "properties": {
                "town": {"type": "string", "maxLength": 3},
                "nights": {"type": "integer"},
            },
            "required": ["town"],
        }
    },
    "properties": {
        "stops": {"type": "array", "items": {"$ref": "#/$defs/Stop"}, "maxItems": 2},
        "home": {"anyOf": [{"$ref": "#/$defs/Stop"}, {"type": "null"}]},
        "prices": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "maxProperties": 2,
        },
        "item": {"type": "array", "items": {"enum": ["a", "1"]}, "maxItems": 2},
    },
    "required": ["stops", "item"],
}
TRIP: Function = {"name": "trip", "parameters": NESTED}
TRIPS: list[dict[str, Any]] = [
    {"stops": [{"town": "12", "nights": 3}, {"town": "Rom"}], "item": ["1", "a"]},
    {"stops": [], "home": {"town": "", "nights": 0}, "prices": {"bus": 1.5, "7": 2}, "item": ["a"]},
    {"stops": [{"town": "<b>"}], "prices": {}, "item": []},
]


@pytest.mark.parametrize("arguments", TRIPS)
def test_values_within_values_are_read_by_the_schema_as_the_template_writes_them(
    arguments: dict[str, Any],
) -> None:
    codec = CODECS["minimax_m3"]
    written = answered(codec, {"content": "", "tool_calls": calling(("trip", arguments))})
    assert f"{MARK}<stops>" in written
    (call,) = read(codec.format, written, [TRIP]).calls
    assert (call.name, json.loads(call.arguments)) == ("trip", arguments)


def test_values_within_values_are_forced_valid_in_tags() -> None:
    codec, tags = CODECS["minimax_m3"], ""
    for seed in range(5):
        written = decoded(codec, OutputSpec([TRIP], must_call=True), seed)
        tags += written
        for call in read(codec.format, written, [TRIP]).calls:
            assert not call.is_broken
            jsonschema.validate(json.loads(call.arguments), NESTED)
    assert f"{MARK}<stops>{MARK}<item>{MARK}<town>" in tags


def test_an_answer_that_runs_out_of_tokens_within_values_is_whole() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}
    function = {"name": "f", "parameters": {**schema, "required": ["a"]}}
    codec = CODECS["minimax_m3"]
    written = decoded(codec, OutputSpec([function], must_call=True, several=False), 1, 90)
    (call,) = read(codec.format, written, [function]).calls
    assert not call.is_broken
    jsonschema.validate(json.loads(call.arguments), schema)


def test_a_schema_that_contains_itself_is_forced_as_json_where_it_is_deep() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "$defs": {"Node": node}, "properties": node["properties"]}
    function = {"name": "f", "parameters": schema}
    codec = CODECS["minimax_m3"]
    for seed in range(4):
        written = decoded(codec, OutputSpec([function], must_call=True, several=False), seed)
        (call,) = read(codec.format, written, [function]).calls
        jsonschema.validate(json.loads(call.arguments), schema)


def tagged(*tags: str) -> str:
    return "".join(f"{MARK}{tag}" for tag in ("<tool_call>\n", '<invoke name="f">', *tags))


END = ("</invoke>\n", "</tool_call>")


def test_of_what_no_schema_speaks_items_are_a_list_and_what_is_there_twice_is_one() -> None:
    tags = ("<a>", "<item>1", "</item>", "</a>", "<b>", "<c>x", "</c>", "<c>y", "</c>", "</b>")
    (call,) = read(MiniMaxM3(), tagged(*tags, *END)).calls
    assert json.loads(call.arguments) == {"a": ["1"], "b": {"c": ["x", "y"]}}


def test_what_is_null_is_left_out_and_space_behind_a_mark_is_none_of_its_tag() -> None:
    codec = CODECS["minimax_m3"]
    calls = calling(("f", {"a": None, "b": "x"}))
    written = answered(codec, {"content": "", "tool_calls": calls})
    for text in (written, written.replace(f"{MARK}<b>", f"{MARK} <b>")):
        assert read(codec.format, text).calls == (Called("f", '{"b": "x"}'),)


def test_tags_that_do_not_match_or_stand_too_deep_are_a_broken_call() -> None:
    deep = ("<a>",) * 2000, ("</a>",) * 2000
    for tags in (("<a>x", "</b>"), (*deep[0], *deep[1])):
        answer = MiniMaxM3().parser("", FUNCTIONS)
        found = parts([*answer.feed(tagged(*tags, *END)), *answer.finish()])
        assert [(call.name, call.is_broken) for call in found.calls] == [("f", True)]


def test_calls_are_told_by_the_token_in_front_of_tags() -> None:
    assert CODECS["minimax_m3"].format.region == Marked(MARK, f"{MARK}</tool_call>")


def test_an_answer_may_close_a_thought_that_it_has_not_begun() -> None:
    codec = CODECS["minimax_m3"]
    for text in ("</mm:think>Rest.", "\n</mm:think>\nRest.", "<mm:think></mm:think>Rest."):
        assert read(codec.format, text) == Parts("Rest.")
    assert read(codec.format, "Use </mm:think>.") == Parts("Use </mm:think>.")
    output = OutputSpec(schema={"const": 7})
    starts = {decoded(codec, output, seed).partition(">")[0] for seed in range(12)}
    assert {"</mm:think", "<mm:think", "7"} >= starts >= {"</mm:think"}
