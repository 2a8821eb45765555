"""Which family a chat template's calls are of, and that each reads what it writes."""

import json
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from langchain_amulet.chat_formats import registry
from langchain_amulet.chat_formats.base import ChatFormat, FunctionCall
from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.families.delimited import Delimited
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.families.mistral import Mistral
from langchain_amulet.chat_formats.json_calls import JsonCallShape
from langchain_amulet.chat_formats.output_parser import OutputPart, joined
from langchain_amulet.chat_formats.regions import Bare, Marked, Thinking
from langchain_amulet.chat_formats.response_template import OwnResponseTemplate
from support.output_parts import Parts, parts
from support.tokenizers import CHATML, LLAMA, MISTRAL, byte_level


def find_format(template: ChatTemplate, chosen: ChatFormat | str | None = None) -> ChatFormat:
    return registry.find_format(template, chosen).format


FUNCTIONS = [{"name": "weather"}, {"name": "clock"}]


def template(text: str, *controls: str, special: bool = False) -> ChatTemplate:
    """A chat template for a tokenizer that has these control tokens."""
    tokenizer = byte_level(text)
    tokens = [AddedToken(each, normalized=False) for each in controls]
    tokenizer.add_tokens(tokens, special_tokens=special)
    return ChatTemplate(tokenizer)


def answering(calls: str) -> str:
    """A chat template that writes an answer's calls like this."""
    said = "{% if m.tool_calls %}" + calls + "{% else %}{{ m.content }}{% endif %}"
    return CHATML.replace("{{ m.content }}", said, 1).replace(
        "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>"
        "{% endfor %}",
        "",
    )


def each(call: str, between: str = "") -> str:
    separated = call + "{% if not loop.last %}" + between + "{% endif %}"
    return "{% for c in m.tool_calls %}" + separated + "{% endfor %}"


JSON = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
NAME, ARGUMENTS = "{{ c.function.name }}", "{{ c.function.arguments | tojson }}"
TOKENS = ("<|calls|>", "<|call|>", "<|args|>", "<|end|>", "<|done|>")
IN_TOKENS = answering("<|calls|>" + each(f"<|call|>{NAME}<|args|>{ARGUMENTS}<|end|>") + "<|done|>")


def test_hermes_is_learnt_from_a_template() -> None:
    found = find_format(template(CHATML))
    assert isinstance(found, Hermes)
    assert found.shape.before == '<tool_call>{"name": "'
    assert found.shape.between == '}</tool_call><tool_call>{"name": "'


def test_mistral_is_learnt_from_a_template_and_ids_are_left_out() -> None:
    found = find_format(template(MISTRAL))
    assert isinstance(found, Mistral)
    assert found.shape.before == '[TOOL_CALLS][{"name": "'
    assert (found.shape.between, found.shape.after) == ('}, {"name": "', "}]")


def test_llama_is_learnt_from_a_template_and_has_one_call() -> None:
    found = find_format(template(LLAMA))
    assert isinstance(found, Llama)
    assert found.shape.middle == '", "parameters": '
    assert (found.shape.between, found.shape.after) == (None, "}")


def test_a_bare_list_of_calls_is_learnt_from_a_template() -> None:
    found = find_format(template(answering("[" + each(JSON, ", ") + "]")))
    assert isinstance(found, Llama)
    assert found.region == Bare("[", "<|python_tag|>")


def test_markers_of_a_model_s_own_are_learnt_from_its_template() -> None:
    found = find_format(template(IN_TOKENS, *TOKENS))
    assert isinstance(found, Delimited)
    assert found.region == Marked("<|calls|>", "<|done|>")
    assert found.markers(with_calls=True) == set(TOKENS)


def test_markers_that_are_no_tokens_are_learnt_whole() -> None:
    found = find_format(template(answering("Calls: " + each(JSON, "; ") + " (end)")))
    assert found.region == Marked("Calls:", "(end)")


def test_a_marker_is_learnt_whole_though_what_is_said_begins_like_it() -> None:
    text = answering("<|act|>[" + each(JSON, ", ") + "]<|/act|>")
    text = text.replace("{% else %}", "{% else %}<|answer|>")
    found = find_format(template(text, "<|act|>", "<|/act|>", "<|answer|>"))
    assert isinstance(found, Delimited)
    assert found.shape.before == '<|act|>[{"name": "'


def test_a_shape_is_learnt_where_calls_are_written_only_along_with_text() -> None:
    skipping = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.content %}", 1)
    found = find_format(template(skipping))
    assert isinstance(found, Hermes)
    assert found.shape.before == '<tool_call>{"name": "'


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}",
        answering(each(f"<invoke name={NAME}>{{{{ c.function.arguments.items() | list }}}}</>")),
    ],
)
def test_a_template_without_calls_of_any_family_is_given_hermes(text: str) -> None:
    assert find_format(template(text)) == Hermes()


@pytest.mark.parametrize("chosen", [None, "hermes", "llama"])
def test_the_markers_of_thoughts_are_those_of_the_template(chosen: str | None) -> None:
    found = find_format(template("{# </think> #}" + CHATML), chosen)
    assert found.thinking == Thinking("<think>", "</think>")


def test_a_chosen_family_learns_its_details_where_the_template_writes_its_calls() -> None:
    assert find_format(template(CHATML), "hermes") == find_format(template(CHATML))
    assert find_format(template(CHATML), "llama") == Llama()


def test_a_chosen_format_is_taken_as_it_is() -> None:
    mine = Hermes(JsonCallShape("<tool_call>", " ", "</tool_call>"))
    assert find_format(template("{# </think> #}" + CHATML), mine) is mine


OWN = {"start_anchor": "assistant", "fields": {"content": {"content": "text"}}}


def test_the_tokenizer_s_own_response_template_reads_unless_a_family_is_chosen() -> None:
    own = template(CHATML)
    own.tokenizer.response_template = OWN
    found = find_format(own)
    assert isinstance(found, OwnResponseTemplate)
    assert found.written == find_format(template(CHATML))
    assert isinstance(find_format(own, "hermes"), Hermes)


# --- What a family writes it reads, and so does what its template writes ---

THINK = Thinking("<think>", "</think>")
NAMES_FIRST = JsonCallShape("[TOOL_CALLS]", "[ARGS]", "", "[TOOL_CALLS]")
FORMATS: dict[str, ChatFormat] = {
    "hermes": Hermes(),
    "hermes learnt": find_format(template(CHATML)),
    "llama": Llama(),
    "llama, a list": find_format(template(answering("[" + each(JSON, ", ") + "]"))),
    "mistral": Mistral(),
    "mistral, names first": Mistral(NAMES_FIRST),
    "mistral learnt": find_format(template(MISTRAL)),
    "delimited": Delimited(),
    "delimited by tokens": find_format(template(IN_TOKENS, *TOKENS)),
    "delimited by text": find_format(template(answering("Calls: " + each(JSON, "; ") + " (end)"))),
    "delimited, in a code block": find_format(
        template(answering("<c>" + each(f"<f>{NAME}\n```json\n{ARGUMENTS}\n```</f>\n") + "</c>"))
    ),
    "thinking": Hermes(thinking=THINK),
    "bare and thinking": Llama(thinking=THINK),
}
every_format = pytest.mark.parametrize("name", FORMATS)


def read(chat_format: ChatFormat, texts: list[str]) -> list[OutputPart]:
    parser = chat_format.parser("", FUNCTIONS)
    return joined([*(part for text in texts for part in parser.feed(text)), *parser.finish()])


def in_pieces(text: str, seed: int) -> list[str]:
    rng, pieces = random.Random(seed), []
    while text:
        size = rng.randint(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


ARGUMENT_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(
        FunctionCall,
        st.from_regex(r"[a-z][a-z_.-]{0,8}", fullmatch=True),
        st.dictionaries(st.text(), ARGUMENT_VALUES, max_size=3),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=40)
@given(calls=CALLS, seed=st.integers(0, 99), thought=st.sampled_from(["", "Hm, {"]))
@every_format
def test_calls_that_a_format_writes_it_reads_in_whatever_pieces_they_come(
    name: str, calls: list[FunctionCall], seed: int, thought: str
) -> None:
    chat_format = FORMATS[name]
    written = chat_format.write_calls(calls)
    arguments = json.dumps([call.arguments for call in calls], ensure_ascii=False)
    assume(not any(marker in arguments for marker in chat_format.markers(with_calls=True)))
    if chat_format.thinking:
        written = f"<think>{thought}</think>\n\n{written}"
    found = read(chat_format, [written])
    assert read(chat_format, in_pieces(written, seed)) == found
    whole = parts(found)
    assert whole.text == ""
    assert [(c.name, json.loads(c.arguments)) for c in whole.calls] == [
        (call.name, call.arguments) for call in calls
    ]
    assert not any(call.is_broken for call in whole.calls)


LEARNT = {
    "hermes": (CHATML, ()),
    "mistral": (MISTRAL, ()),
    "llama": (LLAMA, ()),
    "delimited": (IN_TOKENS, TOKENS),
}


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", LEARNT)
def test_calls_that_a_template_writes_are_read(name: str, special: bool) -> None:
    text, controls = LEARNT[name]
    made = template(text, *controls, special=special)
    calls = [{"name": "weather", "arguments": {"city": "Größe 你好", "days": [1, {"a": None}]}}]
    written = made.text([{"role": "user", "content": "a"}, turn(calls)], prompting=False)
    start = made.text([{"role": "user", "content": "a"}])
    answer = parts(
        read(find_format(made), [written.removeprefix(start).partition("<|im_end|>")[0]])
    )
    assert [(c.name, json.loads(c.arguments)) for c in answer.calls] == [
        (call["name"], call["arguments"]) for call in calls
    ]
    assert answer.text == ""


def turn(calls: list[dict[str, Any]]) -> dict[str, Any]:
    listed = [{"type": "function", "id": "abcdefghi", "function": call} for call in calls]
    return {"role": "assistant", "content": "", "tool_calls": listed}


@given(text=st.text(alphabet='<tool_cal>/ {}":[]naemrguts\nTOLCAS', max_size=60))
@every_format
def test_no_text_makes_a_parser_fail_or_depends_on_its_pieces(name: str, text: str) -> None:
    assert read(FORMATS[name], list(text)) == read(FORMATS[name], [text])


@given(text=st.text(max_size=60))
@every_format
def test_an_answer_without_markers_is_said_as_it_stands(name: str, text: str) -> None:
    chat_format = FORMATS[name]
    assume(not any(marker in text for marker in chat_format.markers(with_calls=True)))
    assume(not text.lstrip().startswith(("{", "[")))
    assert parts(read(chat_format, [text])) == Parts(text.lstrip())


def test_a_call_that_is_not_marked_may_follow_a_thought_and_no_text() -> None:
    call = '{"name": "clock", "parameters": {}}'
    thinker = FORMATS["bare and thinking"]
    assert parts(read(thinker, ["<think>Hm.</think>\n", call])).calls
    assert parts(read(thinker, ["Well. <think>Hm.</think>\n", call])).text == f"Well.{call}"


def test_within_calls_a_thought_s_marker_is_text() -> None:
    text = '<tool_call>{"name": "clock", "arguments": {"a": "<think>"}}</tool_call>'
    (call,) = parts(read(FORMATS["thinking"], [text])).calls
    assert json.loads(call.arguments) == {"a": "<think>"}


def test_a_call_as_the_model_is_told_to_write_one_has_its_format() -> None:
    assert Hermes().call_example == (
        '<tool_call>\n{"name": "NAME", "arguments": {...}}\n</tool_call>'
    )
    assert Mistral(NAMES_FIRST).call_example == "[TOOL_CALLS]NAME[ARGS]{...}"


def test_an_id_between_a_call_s_name_and_arguments_is_no_part_of_the_name() -> None:
    text = '[TOOL_CALLS]weather[CALL_ID]Ab3dE5g7H[ARGS]{"city": "Rome"}'
    (call,) = parts(read(Mistral(), [text])).calls
    assert (call.name, call.arguments) == ("weather", '{"city": "Rome"}')
    assert {"[CALL_ID]", "[ARGS]"} < Mistral().markers(with_calls=True)
