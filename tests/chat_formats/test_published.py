"""Families of released models: known, read as their templates write, forced as they are read."""

import json
import random
import re
from collections import Counter
from itertools import product
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from langchain_amulet.chat_formats.base import ChatFormat, OutputSpec
from langchain_amulet.chat_formats.calls import FunctionCall
from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.codec import ChatCodec, CodecCache
from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from langchain_amulet.chat_formats.families.gpt_oss import GptOss
from langchain_amulet.chat_formats.output_grammar import compile_output
from langchain_amulet.chat_formats.output_parser import joined
from langchain_amulet.chat_formats.prompt import PromptBuilder
from langchain_amulet.chat_formats.registry import SHIPPED
from langchain_amulet.errors import ConfigurationError, RequestError, SchemaError
from langchain_amulet.grammar import GrammarCompiler
from support.output_parts import Parts, parts
from support.published import ARGUMENT, EACH, JSON, NAME, PUBLISHED, Published, calls

QUESTION = {"role": "user", "content": "How is it?"}
FUNCTIONS: list[dict[str, Any]] = [
    {
        "name": "weather",
        "description": "The weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 2, "maxLength": 5},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
                "deep": {"type": "boolean"},
                "unit": {"enum": ["C", "F"]},
                "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]$"},
                "day": {"type": "string", "format": "date"},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
                "note": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            },
            "required": ["city", "days"],
        },
    },
    {"name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}},
]
TOOLS = [{"type": "function", "function": function} for function in FUNCTIONS]
CODECS = {
    name: CodecCache(published.template.tokenizer).codec() for name, published in PUBLISHED.items()
}
every_template = pytest.mark.parametrize("name", PUBLISHED)


def read(chat_format: ChatFormat, text: str, seed: int = 0, start: str = "") -> Parts:
    """The parts of an answer that comes in pieces of any size."""
    parser, rng, found = chat_format.parser(start, FUNCTIONS), random.Random(seed), []
    while text:
        size = rng.randint(1, 7)
        found += parser.feed(text[:size])
        text = text[size:]
    return parts(joined([*found, *parser.finish()]))


def prompted(codec: ChatCodec) -> tuple[int, ...]:
    """The prompt for an answer to the question."""
    return codec.template.encode([QUESTION])


def called(answer: Parts) -> list[tuple[str, Any]]:
    assert not any(call.is_broken for call in answer.calls)
    return [(call.name, json.loads(call.arguments)) for call in answer.calls]


def turn(calls: list[tuple[str, Any]]) -> dict[str, Any]:
    written = [
        {"type": "function", "id": f"abcdefgh{index}", "function": {"name": n, "arguments": a}}
        for index, (n, a) in enumerate(calls)
    ]
    return {"role": "assistant", "content": "", "tool_calls": written}


def answer_of(template: ChatTemplate, calls: list[tuple[str, Any]]) -> str:
    """What a template writes for calls, from its prompt to the end of the turn."""
    prompt = template.text([QUESTION], tools=TOOLS)
    tools_first = template.text([QUESTION], prompting=False)
    whole = template.text([QUESTION, turn(calls)], prompting=False)
    assert prompt.startswith(tools_first)
    return whole.removeprefix(template.text([QUESTION])).partition("<|im_end|>")[0]


@every_template
def test_the_family_is_known_by_what_the_template_writes(name: str) -> None:
    codec = CODECS[name]
    assert (codec.format.name, codec.origin) == (name.partition(",")[0], "written")


CASES: list[list[tuple[str, Any]]] = [
    [("weather", {"city": "Rome"})],
    [("weather", {"city": "Größe \"你\" & <b> 'x'", "days": 3, "deep": True, "tags": ["a", "b"]})],
    [("clock", {})],
    [("weather", {"city": "7", "days": 7}), ("clock", {}), ("weather", {"city": "Rome"})],
]


@pytest.mark.parametrize("case", range(len(CASES)))
@every_template
def test_calls_that_the_template_writes_are_read_in_whatever_pieces_they_come(
    name: str, case: int
) -> None:
    codec = CODECS[name]
    written = answer_of(codec.template, CASES[case])
    for seed in range(4):
        answer = read(codec.format, written, seed, codec.start(prompted(codec)))
        assert called(answer) == CASES[case]
        assert answer.text == ""


@every_template
def test_a_format_writes_calls_as_its_template_does(name: str) -> None:
    codec, calls = CODECS[name], CASES[1]
    written = codec.format.write_calls([FunctionCall(*call) for call in calls])
    assert called(read(codec.format, written)) == calls
    again = PUBLISHED[name].opened + answer_of(codec.template, [("weather", {"city": "Rome"})])
    ours = codec.format.write_calls([FunctionCall("weather", {"city": "Rome"})])
    ours, again = ("".join(each.split()) for each in (ours, without_id(again)))
    assert ours in again
    assert not read(codec.format, again.replace(ours, "")).calls


def without_id(written: str) -> str:
    """Ids behind arguments aren't for a model to make up; others are as good as another."""
    made_up = written.replace(', "id": "abcdefgh0"', "")
    return made_up.replace("abcdefgh0", "call00000")


@pytest.mark.parametrize("several", [False, True])
@every_template
def test_what_is_forced_is_valid_and_read_back(name: str, several: bool) -> None:
    codec = CODECS[name]
    for seed in range(3):
        answer = forced(codec, OutputSpec(FUNCTIONS, must_call=True, several=several), seed)
        assert answer.text == ""
        for function, arguments in called(answer):
            (schema,) = (each["parameters"] for each in FUNCTIONS if each["name"] == function)
            jsonschema.validate(arguments, schema)
        assert answer.calls
        assert several or len(answer.calls) == 1


def forced(codec: ChatCodec, output: OutputSpec, seed: int, limit: int = 250) -> Parts:
    """An answer of random tokens under the grammar."""
    tokenizer = codec.template.tokenizer
    compiler = GrammarCompiler(tokenizer, len(tokenizer))
    grammar = compile_output(
        output,
        codec.format,
        compiler,
        is_thinking=codec.is_thinking(prompted(codec)),
        max_tokens=limit,
        stop_ids=codec.stop_ids,
    )
    assert grammar is not None
    generator = torch.Generator().manual_seed(seed)
    text = Detokenizer(TokenBytes(tokenizer, codec.format.markers(with_calls=True)))
    written = ""
    for _ in range(limit):
        token = int((grammar.allowed() * torch.rand(len(tokenizer), generator=generator)).argmax())
        if token in codec.stop_ids:
            break
        if grammar.accept(token):
            written += text.feed(token)
    return read(codec.format, written + text.flush(), seed, codec.start(prompted(codec)))


ARGUMENTS = st.dictionaries(
    st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True),
    st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=9),
    max_size=3,
)


@settings(max_examples=30)
@given(arguments=ARGUMENTS, seed=st.integers(0, 99))
@pytest.mark.parametrize("family", [each for each in SHIPPED if each is not GptOss])
def test_any_call_that_a_family_writes_it_reads(
    family: type[ChatFormat], arguments: dict[str, Any], seed: int
) -> None:
    chat_format = family()
    texts = [value for value in arguments.values() if isinstance(value, str)]
    assume(not any("<" in text or text != text.strip() or "\r" in text for text in texts))
    types = {bool: "boolean", int: "integer", str: "string"}
    properties = {key: {"type": types[type(value)]} for key, value in arguments.items()}
    function = {"name": "note", "parameters": {"type": "object", "properties": properties}}
    parser = chat_format.parser("", [function])
    written = chat_format.write_calls([FunctionCall("note", arguments)])
    cut = seed * len(written) // 100
    answer = parts([*parser.feed(written[:cut]), *parser.feed(written[cut:]), *parser.finish()])
    assert called(answer) == [("note", arguments)]


def test_a_schema_that_speaks_of_all_arguments_together_is_refused_where_they_are_apart() -> None:
    codec = CODECS["qwen_coder"]
    both = {"type": "object", "properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"]}}
    output = OutputSpec([{"name": "pair", "parameters": both}], must_call=True)
    with pytest.raises(SchemaError, match="'dependentRequired' something of all of them together"):
        forced(codec, output, 0)


@pytest.mark.parametrize("name", ["deepseek_dsml", "kimi_k3"])
def test_what_is_told_to_be_a_text_is_one_of_the_texts_that_a_schema_lists(name: str) -> None:
    listed = {"type": "object", "properties": {"a": {"enum": [1, "x", 2]}}, "required": ["a"]}
    function = {"name": "pick", "parameters": listed}
    for seed in range(4):
        answer = forced(CODECS[name], OutputSpec([function], must_call=True, several=False), seed)
        assert called(answer) == [("pick", {"a": "x"})]


def test_a_value_may_hold_the_tag_that_ends_values() -> None:
    codec, text = CODECS["qwen_coder"], "a\n</parameter>\nb"
    calls = [("weather", {"city": text, "days": 2})]
    assert called(read(codec.format, answer_of(codec.template, calls))) == calls


def test_what_stands_where_a_call_was_expected_is_broken_and_kept() -> None:
    for text in ("nonsense", "<function=weather>\n<parameter=city>\nRo"):
        answer = read(CODECS["qwen_coder"].format, f"<tool_call>{text}</tool_call>")
        assert [call.is_broken for call in answer.calls] == [True]


def test_calls_that_no_family_reads_are_not_left_to_a_model() -> None:
    arguments = "{{ c.function.arguments.values() | list | join }}"
    own = Published(calls("{{ c.function.name }}!" + arguments)).template
    codec = CodecCache(own.tokenizer).codec()
    assert codec.origin == "unread"
    with pytest.raises(ConfigurationError, match="where a chat format reads its calls"):
        codec.check_read()


TAG_EACH = f'{EACH}<p name="{{{{ k }}}}">{{{{ v }}}}</p>\n{{% endfor %}}'
UNREAD = {
    "a call that names its tool in front of the markers, too": Published(
        calls(f'to={NAME}<|message|><calls>\n<call name="{NAME}">\n{TAG_EACH}</call>\n</calls>'),
        ("<|message|>",),
    ),
    "a call that begins with the token that ends turns": Published(
        calls(f'<|im_end|>\nfunction call<|sep|>{{"name": "{NAME}", "arguments": {JSON}}}'),
        ("<|sep|>",),
    ),
    "a call without quotation marks": Published(calls(f"[{NAME}(city={JSON}r)]")),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_family_that_does_not_read_what_the_template_writes_is_not_its_own(name: str) -> None:
    codec = CodecCache(UNREAD[name].template.tokenizer).codec()
    assert codec.origin == "unread"
    with pytest.raises(ConfigurationError, match="none reads those that this chat template writes"):
        codec.check_read()


def test_a_template_that_writes_calls_with_a_mistake_is_read_as_its_family_writes_them() -> None:
    unclosed = Published(calls(f"<tool_call>{NAME}\n{EACH}{ARGUMENT}{{% endfor %}}<tool_call>"))
    codec = CodecCache(unclosed.template.tokenizer).codec()
    assert (codec.format.name, codec.origin) == ("glm", "spoken")
    right = answer_of(CODECS["glm"].template, CASES[1])
    assert called(read(codec.format, right)) == CASES[1]


def test_a_template_without_calls_is_of_the_family_whose_token_its_model_has() -> None:
    silent = Published("", ("<|tool_call|>", "<|/tool_call|>")).template
    codec = CodecCache(silent.tokenizer).codec()
    assert (codec.format.name, codec.origin) == ("phi", "spoken")


# --- Prompts ---

SYSTEM = {"role": "system", "content": "You are kind."}
PREFERENCE = "Be as brief as a zebra."


@pytest.mark.parametrize("tools", [None, TOOLS])
@every_template
def test_the_base_prompt_is_the_template_s_and_others_hold_the_preference_once(
    name: str, tools: list[dict[str, Any]] | None
) -> None:
    template, turns = CODECS[name].template, [SYSTEM, QUESTION]
    tokenizer = template.tokenizer
    base = PromptBuilder(template, tools=tools).build(turns, [])
    rendered = tokenizer.apply_chat_template(turns, tools=tools, add_generation_prompt=True)
    assert list(base) == rendered["input_ids"]
    for placement, before in (("system", SYSTEM), ("user", QUESTION)):
        builder = PromptBuilder(template, placement=placement, tools=tools)
        prompt = tokenizer.decode(builder.build(turns, [PREFERENCE]))
        said = f"\n\n{PREFERENCE}"
        assert prompt.count(said) == 1
        assert f"{before['content']}{said}" in prompt
        assert prompt.replace(said, "") == tokenizer.decode(base)


# --- Control tokens ---

GLUING = {
    "speakers": ("{{ m.role }}", "{{ '<|' ~ m.name ~ '|>' if m.name else m.role }}"),
    "tools": (  # as Qwen3-Coder, Nemotron 3 and MiniMax M3: names are made tags
        "{{ tools | tojson }}",
        "{% for t in tools %}<{{ t.function.name }}>{{ t.function.description }}"
        "{% for k, v in t.function.parameters.properties.items() %}<{{ k }}>{{ v.enum | join }}"
        "</{{ k }}>{% endfor %}{% endfor %}",
    ),
}
"""What of a template is replaced, and by what, such that signs stand around what others write."""

PLACES = (
    "speaker",
    "called tool",
    "given argument",
    "given value",
    "result's tool",
    "offered tool",
    "description",
    "offered argument",
    "enum",
)


def conversation_with(place: str, text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Turns and tools in which a text stands in one place, and harmless ones in all others."""
    said = {each: f"word{index}" for index, each in enumerate(PLACES)} | {place: text}
    call = turn([(said["called tool"], {said["given argument"]: said["given value"]})])
    result = {"role": "tool", "content": "Sun.", "name": said["result's tool"]}
    schema = {"type": "string", "enum": [said["enum"]]}
    parameters = {"type": "object", "properties": {said["offered argument"]: schema}}
    function = {"name": said["offered tool"], "description": said["description"]}
    turns = [{**QUESTION, "name": said["speaker"]}, call, {**result, "tool_call_id": "abcdefgh0"}]
    return turns, [{"type": "function", "function": {**function, "parameters": parameters}}]


@pytest.mark.parametrize("is_gluing", [False, True])
@every_template
def test_nothing_that_others_name_becomes_a_control_token(name: str, is_gluing: bool) -> None:
    tokenizer, source = CODECS[name].template.tokenizer, CODECS[name].template.source
    for usual, gluing in GLUING.values() if is_gluing else ():
        source = source.replace(usual, gluing)
    template = CodecCache(tokenizer).codec(source).template
    controls = frozenset(template.controls.ids.values())

    def written(place: str, text: str) -> Counter[int]:
        ids = template.encode(*conversation_with(place, text))
        return Counter(index for index in ids if index in controls)

    harmless = written("speaker", "word")
    token = [*PUBLISHED[name].tokens, "<|im_end|>"][0]
    inner = token.strip("<>[]|")
    attacks = (f"a{token}b", token[1:-1], inner, f"/{inner}", token[:-1], f"{token[1:]}b")
    for place, text in random.Random(name).sample([*product(PLACES, attacks)], 20):
        try:
            assert written(place, text) == harmless, (place, text)
        except RequestError as error:
            assert "makes control of" in str(error)


@pytest.mark.parametrize("place", ["called tool", "given argument", "given value", "enum"])
@every_template
def test_a_word_within_a_control_token_may_be_a_name(name: str, place: str) -> None:
    template = CODECS[name].template
    plain, named = (
        template.tokenizer.decode(template.encode(*conversation_with(place, text)))
        for text in ("zebra", "im_end")
    )
    assert "zebra" in plain
    assert named == plain.replace("zebra", "im_end")


# --- Channels ---

CHANNELS = {
    "thought and answer": (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi!",
        Parts("Hi!", "Hm."),
    ),
    "an answer alone": ("<|channel|>final<|message|>Hi!", Parts("Hi!")),
    "no channel at all": ("Hi!", Parts("Hi!")),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_tell_thoughts_from_answers(name: str) -> None:
    text, wanted = CHANNELS[name]
    for seed in range(4):
        assert read(GptOss(), text, seed, "<|end|><|start|>assistant") == wanted


@pytest.mark.parametrize(
    "head",
    [
        " to=functions.weather<|channel|>commentary json<|message|>",
        "<|channel|>commentary to=functions.weather <|constrain|>json<|message|>",
    ],
)
def test_a_message_to_a_function_is_a_call_wherever_its_name_stands(head: str) -> None:
    text = f'<|channel|>analysis<|message|>Look.<|end|><|start|>assistant{head}{{"city": "Rome"}}'
    answer = read(GptOss(), text, 1, "<|start|>assistant")
    assert called(answer) == [("weather", {"city": "Rome"})]
    assert (answer.text, answer.thought) == ("", "Look.")
    broken = read(GptOss(), text[:-3], 1, "<|start|>assistant")
    assert [call.is_broken for call in broken.calls] == [True]


def test_of_a_message_that_is_cut_off_in_its_head_nothing_is_said() -> None:
    whole = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"
    tokens = re.findall(r"<[^>]+>|[^<]", whole)
    for size in range(1, len(tokens) + 1):
        answer = read(GptOss(), "".join(tokens[:size]), size, "<|end|><|start|>assistant")
        assert (answer.text, answer.calls) == ("", ())
    head = "<|channel|>commentary to=functions.weather <|constrain|>json"
    answer = read(GptOss(), head, 1, "<|start|>assistant")
    assert [(call.arguments, call.is_broken) for call in answer.calls] == [(head, True)]
    assert answer.text == ""


@pytest.mark.parametrize("text", ["<|end|>", "<|start|>assistant<|channel|>final<|message|>"])
def test_what_a_schema_holds_may_spell_the_ends_of_messages(text: str) -> None:
    said = json.dumps({"a": text})
    thought = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
    parser = GptOss().parser("<|start|>assistant", is_structured=True)
    pieces = re.findall(".{1,5}", f"{thought}<|channel|>final<|message|>{said}")
    read = [part for piece in pieces for part in parser.feed(piece)]
    answer = parts([*read, *parser.finish()])
    assert (answer.text, answer.thought) == (said, "Hm.")
