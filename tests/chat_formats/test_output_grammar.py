"""Answers that may be calls, JSON or thoughts, each held to what it begins as."""

import json
import random
import re
from typing import Any

import jsonschema
import pytest
import torch

from langchain_amulet.chat_formats.base import ChatFormat, OutputSpec
from langchain_amulet.chat_formats.families.delimited import Delimited
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.families.mistral import Mistral
from langchain_amulet.chat_formats.json_calls import JsonCallShape
from langchain_amulet.chat_formats.output_grammar import compile_output, turn_to_calls
from langchain_amulet.chat_formats.regions import Thinking
from langchain_amulet.errors import ConfigurationError, ContextLengthError, SchemaError
from langchain_amulet.grammar import Grammar, json_rule
from support.grammars import COMPILER, LIMIT, STOP, TOKENIZER, grammar_of, written
from support.output_parts import Parts, parts
from support.schemas import INTEGER, REFUSED, SHORT, listed, obj

TOOLS = [
    {"name": "add", "parameters": obj(a=INTEGER, b=INTEGER)},
    {"name": "greet", "parameters": obj(name=SHORT)},
    {"name": "now"},
]
NAMES_FIRST = JsonCallShape("[TOOL_CALLS]", "[ARGS]", "", "[TOOL_CALLS]")
SECTION = JsonCallShape("<calls><call>", "<args>", "</call></calls>", "</call><call>")
FORMATS = {
    "hermes": Hermes(),
    "llama": Llama(),
    "mistral list": Mistral(),
    "mistral": Mistral(NAMES_FIRST),
    "delimited list": Delimited(),
    "delimited names": Delimited(SECTION),
}


def read(chat_format: ChatFormat, text: str) -> Parts:
    parser = chat_format.parser("", TOOLS)
    return parts([*parser.feed(text), *parser.finish()])


def rules(output: OutputSpec, chat_format: ChatFormat, is_thinking: bool = False) -> str:
    return chat_format.grammar(output, COMPILER, is_thinking)


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_forced_calls_are_read_back_as_valid_calls(name: str, several: bool) -> None:
    chat_format = FORMATS[name]
    output = OutputSpec(TOOLS, must_call=True, several=several)
    counts = set()
    for seed in range(8):
        answer = read(chat_format, written(grammar_of(rules(output, chat_format)), seed))
        assert answer.text == ""
        counts.add(len(answer.calls))
        for call in answer.calls:
            tool = next(tool for tool in TOOLS if tool["name"] == call.name)
            jsonschema.validate(json.loads(call.arguments), tool.get("parameters", {}))
    assert 0 not in counts
    assert several or counts == {1}


def test_strict_calls_are_valid_and_text_stays_free() -> None:
    strict = [{**tool, "strict": True} for tool in TOOLS]
    grammar = grammar_of(rules(OutputSpec(strict), Hermes()))
    rng = random.Random(0)
    assert grammar.allowed().sum() > 250
    (start,) = TOOLS_TOKEN = TOKENIZER.encode("<tool_call>", add_special_tokens=False)
    assert len(TOOLS_TOKEN) == 1
    grammar.accept(start)
    ids = [start]
    while not (mask := grammar.allowed())[STOP]:
        ids.append(rng.choice(mask.nonzero()[:, 0].tolist()))
        grammar.accept(ids[-1])
    (call, *_) = read(Hermes(), str(TOKENIZER.decode(ids))).calls
    assert call.name in {"add", "greet", "now"}


ODD = {"name": "odd", "parameters": REFUSED["unique items"]}


@pytest.mark.parametrize(
    "output",
    [
        OutputSpec([*TOOLS, ODD], must_call=True),
        OutputSpec([*TOOLS, {**ODD, "strict": True}]),
    ],
)
def test_a_tool_that_no_grammar_can_hold_is_not_called_where_its_calls_must_be_valid(
    output: OutputSpec,
) -> None:
    assert called(output) == {"add", "greet", "now"}


def test_a_tool_that_no_grammar_can_hold_is_called_freely_where_calls_are_free() -> None:
    assert "odd" in called(OutputSpec([{**TOOLS[0], "strict": True}, ODD]))


def called(output: OutputSpec) -> set[str]:
    """The tools that are called where one is called."""
    found = set()
    for seed in range(40):
        grammar = held(output, Hermes())
        assert grammar.accept(TURN)
        answer = read(Hermes(), "<tool_call>" + written(grammar, seed, LIMIT - 1))
        found |= {call.name for call in answer.calls}
    return found


@pytest.mark.parametrize(
    "output",
    [
        OutputSpec([ODD], must_call=True),
        OutputSpec([{**ODD, "strict": True}]),
    ],
)
def test_a_tool_that_no_grammar_can_hold_is_refused_by_its_name(output: OutputSpec) -> None:
    with pytest.raises(SchemaError, match=r"uniqueItems at #/properties/a .*'odd'"):
        held(output, Hermes())


class Ruleless(Hermes):
    """A chat format of one's own that calls its rule by another name."""

    name = "ruleless"
    rules: Any = 'call: "calls: a"'

    def call_grammar(self, *_: Any) -> Any:
        return self.rules


class Silent(Ruleless):
    name = "silent"
    rules = None


@pytest.mark.parametrize("chat_format", [Ruleless(), Silent()])
@pytest.mark.parametrize("must_call", [True, False])
def test_a_chat_format_without_a_rule_for_calls_is_named(
    chat_format: ChatFormat, must_call: bool
) -> None:
    rule = f"call_grammar must have a rule 'calls', but that of '{chat_format.name}' has none"
    with pytest.raises(ConfigurationError, match=rule):
        held(OutputSpec(TOOLS, schema=obj(a=INTEGER), must_call=must_call), chat_format)


LONG = {"type": "string", "minLength": 200}
LONG_TOOLS = [
    {"name": "write", "parameters": obj(text=LONG)},
    {"name": "list", "parameters": obj(texts=listed(LONG, minItems=2))},
]
"""Tools whose calls can't be short."""


@pytest.mark.parametrize("name", FORMATS)
def test_tools_whose_calls_are_too_long_are_named_with_what_is_enough(name: str) -> None:
    chat_format, enough = FORMATS[name], {}
    for tool in LONG_TOOLS:
        output = OutputSpec([tool], must_call=True, several=False)
        with pytest.raises(ContextLengthError, match="max_tokens") as caught:
            held(output, chat_format, limit=20)
        (told,) = re.findall(rf"(\d+) for '{tool['name']}'\.", str(caught.value))
        enough[tool["name"]] = int(told)
        held(output, chat_format, limit=int(told))
    for limit in (20, enough["write"], enough["list"]):
        both = OutputSpec(LONG_TOOLS, must_call=True)
        if limit > 20:
            held(both, chat_format, limit=limit)
            continue
        with pytest.raises(ContextLengthError) as caught:
            held(both, chat_format, limit=limit)
        for tool_name, count in enough.items():
            assert f"{count} for {tool_name!r}" in str(caught.value)


@pytest.mark.parametrize("fewest", [0, 1, 7, 30])
@pytest.mark.parametrize("name", FORMATS)
def test_a_call_with_a_text_without_an_end_is_whole_in_time(name: str, fewest: int) -> None:
    """Where a text may hold what ends a call, too."""
    text = {"type": "string", "minLength": fewest}
    tool = {"name": "write", "parameters": obj(text=text, texts=listed(text, minItems=1))}
    output = OutputSpec([tool], must_call=True, several=False)
    for seed in range(4):
        answer = written(held(output, FORMATS[name], limit=LIMIT), seed)
        parser = FORMATS[name].parser("", [tool])
        (call,) = parts([*parser.feed(answer), *parser.finish()]).calls
        jsonschema.validate(json.loads(call.arguments), tool["parameters"])


def test_a_tool_that_is_short_enough_is_called_beside_one_that_is_not() -> None:
    output = OutputSpec([*LONG_TOOLS, TOOLS[0]], must_call=True, several=False)
    (call,) = read(Hermes(), written(held(output, Hermes(), limit=60), 1, 60)).calls
    assert call.name == "add"


def test_where_nothing_must_be_called_no_tool_is_too_long() -> None:
    strict = [{**tool, "strict": True} for tool in LONG_TOOLS]
    assert held(OutputSpec(strict), Hermes(), limit=20).allowed()[STOP]


def test_of_many_tools_that_are_too_long_a_few_are_named() -> None:
    many = [{"name": f"tool_{each}", "parameters": obj(text=LONG)} for each in range(40)]
    with pytest.raises(
        ContextLengthError, match="'tool_4', and there are 35 other tools"
    ) as caught:
        held(OutputSpec(many, must_call=True), Hermes(), limit=20)
    assert "tool_5" not in str(caught.value)


def test_a_call_that_no_limit_is_enough_for_is_named() -> None:
    endless = [{"name": "fill", "parameters": obj(a=listed(INTEGER, minItems=9000))}]
    with pytest.raises(ContextLengthError, match="far more for 'fill'"):
        held(OutputSpec(endless, must_call=True), Hermes(), limit=20)


IMPOSSIBLE = obj(a={"type": "integer", "minimum": 5, "maximum": 3})


@pytest.mark.parametrize("name", FORMATS)
def test_arguments_that_cannot_be_are_told_with_their_tool_and_place(name: str) -> None:
    functions = [{"name": "odd", "parameters": IMPOSSIBLE}]
    with pytest.raises(SchemaError, match=r"at #/properties/a: loosen .*arguments of 'odd'"):
        held(OutputSpec(functions, must_call=True), FORMATS[name])


def test_so_they_are_where_only_what_is_called_has_to_be_valid() -> None:
    functions = [{"name": "odd", "parameters": IMPOSSIBLE, "strict": True}]
    for name in ("hermes", "llama"):
        with pytest.raises(SchemaError, match=r"at #/properties/a: loosen .*arguments of 'odd'"):
            held(OutputSpec(functions), FORMATS[name])


def test_a_schema_that_cannot_be_is_told_with_its_place() -> None:
    for functions in ([], TOOLS):
        output = OutputSpec(functions, schema=IMPOSSIBLE)
        with pytest.raises(SchemaError, match="minimum 5 and maximum 3 at #/properties/a: loosen"):
            held(output, Hermes())


CHOICE = OutputSpec(TOOLS, schema=obj(a=INTEGER))
"""An answer that is calls or JSON."""

(TURN,) = TOKENIZER.encode("<tool_call>", add_special_tokens=False)


def held(
    output: OutputSpec, chat_format: ChatFormat, is_thinking: bool = False, limit: int = LIMIT
) -> Grammar:
    grammar = compile_output(
        output,
        chat_format,
        COMPILER,
        is_thinking=is_thinking,
        max_tokens=limit,
        stop_ids=frozenset({STOP}),
    )
    assert grammar
    return grammar


def test_whatever_begins_no_call_leads_to_the_schema() -> None:
    answer = grammar_of("start: " + json_rule(obj(a=INTEGER))).allowed()
    for token in set(range(len(TOKENIZER))) - {TURN, STOP}:
        grammar = held(CHOICE, Hermes())
        assert grammar.allowed()[token]
        if not grammar.accept(token):
            assert torch.equal(grammar.allowed(), answer)


def test_what_begins_a_call_goes_on_with_it() -> None:
    grammar = held(CHOICE, Hermes())
    assert grammar.allowed()[TURN]
    assert not grammar.allowed()[STOP]
    assert grammar.accept(TURN)
    rest = written(grammar, seed=1, limit=LIMIT - 1)
    (call, *_) = read(Hermes(), "<tool_call>" + rest).calls
    assert call.name in {"add", "greet", "now"}
    assert not call.is_broken


def test_a_thought_puts_the_choice_off() -> None:
    thinker = Hermes(thinking=Thinking("<|think|>", "<|im_start|>"))
    opening, closing = TOKENIZER.convert_tokens_to_ids(["<|think|>", "<|im_start|>"])
    (prose,) = TOKENIZER.encode("W", add_special_tokens=False)
    grammar = held(CHOICE, thinker)
    for token in (opening, prose, closing):
        assert grammar.accept(token)
    assert grammar.allowed()[prose]
    assert not grammar.accept(prose)
    assert not grammar.allowed()[[prose, TURN]].any()


@pytest.mark.parametrize(
    "output",
    [
        OutputSpec(TOOLS),
        OutputSpec(schema=obj(a=INTEGER)),
        OutputSpec(TOOLS, schema=obj(a=INTEGER), must_call=True),
    ],
)
def test_there_is_no_turn_without_a_choice(output: OutputSpec) -> None:
    assert turn_to_calls(output, Hermes(), COMPILER) is None


def test_thoughts_come_before_the_structure_and_end_in_time() -> None:
    thinking = Thinking("<|think|>", "<|im_start|>")  # single tokens of the test's tokenizer
    output = OutputSpec(schema=obj(a=INTEGER))
    for is_thinking in (True, False):
        answer = written(held(output, Hermes(thinking=thinking), is_thinking, 60), 1, 60)
        assert json.loads(answer.rpartition(thinking.closing)[2]).keys() == {"a"}


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["<tool_call>"]},
        {"const": "a </tool_call> b"},
        {"type": "object", "properties": {"<|im_end|>": {}}, "required": ["<|im_end|>"]},
    ],
)
def test_a_schema_with_a_control_token_for_a_text_is_refused_by_it(schema: dict[str, Any]) -> None:
    """The grammar's masks hold the token where a text has to be spelled, and end there."""
    with pytest.raises(SchemaError, match=r"'<\S+>' is a token of the model's own"):
        grammar_of(f"start: {json_rule(schema)}")
