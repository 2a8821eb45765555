import json
from collections.abc import Iterable
from itertools import cycle, pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.detokenizer import Detokenizer, TokenBytes
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.families.mistral import Mistral
from langchain_amulet.chat_formats.output_parser import OutputPart, PlainTextParser, joined
from langchain_amulet.chat_formats.regions import Thinking
from langchain_amulet.chat_formats.response_template import OwnResponseTemplate
from support.output_parts import Called, Parts, parts
from support.tokenizers import byte_level

TOKENIZER = byte_level()
THINK = Thinking("<think>", "</think>")
TAGGED = Hermes(thinking=THINK)
LISTED = Mistral(thinking=THINK)
BARE = Llama()
OWN = OwnResponseTemplate(
    {
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "content": {"content": "text", "content_args": {"strip": False}},
            "tool_calls": {
                "open": "<call>",
                "close": "</call>",
                "content": "json",
                "repeats": True,
                "transform": {"type": "function", "function": "{content}"},
            },
        },
    }
)

OWN_BARE = OwnResponseTemplate(
    {
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "content": {"content": "text", "content_args": {"strip": False}},
            "tool_calls": {"open_pattern": r"\A(?=\{)", "content": "json"},
        },
    }
)

OWN_ENDED = OwnResponseTemplate(
    {
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "content": {"content": "text", "content_args": {"strip": False}},
            "tool_calls": {
                "open_pattern": r'\{"name":\s*"(?P<name>[^"]+)",\s*"arguments":\s*',
                "close_pattern": r"\}\s*<\|im_end\|>",
                "content": "json",
                "repeats": True,
                "transform": {"function": {"name": "{name}", "arguments": "{content}"}},
            },
        },
    },
    ends=("<|im_end|>",),
)


def broken(name: str, arguments: str) -> Called:
    return Called(name, arguments, is_broken=True)


WEATHER = Called("weather", '{"city": "Größe 你好"}')
NOW = Called("now", "{}")
CASES = {
    "hermes": (
        TAGGED,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Größe 你好"}}\n</tool_call>',
        Parts(calls=(WEATHER,)),
    ),
    "hermes, two": (
        TAGGED,
        '<tool_call>{"name": "weather", "arguments": {"city": "Größe 你好"}}</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n',
        Parts(calls=(WEATHER, NOW)),
    ),
    "a call that the end of the answer closes": (
        OWN_ENDED,
        '{"name": "weather", "arguments": {"city": "Größe 你好"}}',
        Parts(calls=(WEATHER,)),
    ),
    "such a call that is cut off": (
        OWN_ENDED,
        '{"name": "weather", "arguments": {"ci',
        Parts(calls=(broken("", 'tool call: {"ci'),)),
    ),
    "text where such calls may be": (OWN_ENDED, "Hi {you}}!", Parts("Hi {you}}!")),
    "hermes with text": (
        TAGGED,
        'Let me look.\n<tool_call>{"name": "now"}</tool_call> Done.',
        Parts("Let me look.Done.", calls=(NOW,)),
    ),
    "hermes, cut after the call": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": {}}',
        Parts(calls=(NOW,)),
    ),
    "hermes, broken": (
        TAGGED,
        'So: <tool_call>{"name": "now", "arg</tool_call> and'
        ' <tool_call>{"name": "now"}</tool_call>',
        Parts("So:and", calls=(broken("", '<tool_call>{"name": "now", "arg'), NOW)),
    ),
    "hermes, broken in its arguments": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": {"a": 1}, oops}</tool_call> Done.',
        Parts("Done.", calls=(broken("now", '{"a": 1}, oops}'),)),
    ),
    "hermes, its object never closed": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": {}</tool_call>',
        Parts(calls=(broken("now", "{}"),)),
    ),
    "hermes, arguments that are no object": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": [{}]}</tool_call>',
        Parts(calls=(broken("", '<tool_call>{"name": "now", "arguments": [{}]}'),)),
    ),
    "hermes, more than a call": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": {}} please</tool_call>',
        Parts(calls=(NOW, broken("", "<tool_call> please"))),
    ),
    "hermes, no call": (
        TAGGED,
        "<tool_call></tool_call>",
        Parts(calls=(broken("", "<tool_call>"),)),
    ),
    "hermes, arguments elsewhere": (
        TAGGED,
        '<tool_call>{"meta": {"arguments": {"b": 2}}, "name": "now"}</tool_call>',
        Parts(calls=(NOW,)),
    ),
    "hermes, arguments as text": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": "{}"}</tool_call>',
        Parts(calls=(NOW,)),
    ),
    "thoughts": (
        TAGGED,
        "<think>\nIs it?\n\nYes.\n</think>\n\nYes.",
        Parts("Yes.", "Is it?\n\nYes."),
    ),
    "thoughts and a call": (
        TAGGED,
        '<think>Look.</think>\n<tool_call>{"name": "now"}</tool_call>',
        Parts("", "Look.", (NOW,)),
    ),
    "almost a marker": (TAGGED, "a <tool_cal> </think", Parts("a <tool_cal> </think")),
    "mistral list": (
        LISTED,
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Größe 你好"}}, {"name": "now"}]',
        Parts(calls=(WEATHER, NOW)),
    ),
    "mistral list, broken in the second": (
        LISTED,
        '[TOOL_CALLS][{"name": "now"}, {"name": ]',
        Parts(calls=(NOW, broken("", '[TOOL_CALLS], {"name": ]'))),
    ),
    "mistral names": (
        LISTED,
        'Hm. [TOOL_CALLS]weather[ARGS]{"city": "Größe 你好"}[TOOL_CALLS]now[CALL_ID]abc[ARGS]{}',
        Parts("Hm.", calls=(WEATHER, NOW)),
    ),
    "mistral, broken": (
        LISTED,
        "[TOOL_CALLS]now[ARGS]{",
        Parts(calls=(broken("now", "{"),)),
    ),
    "llama": (
        BARE,
        '{"name": "weather", "parameters": {"city": "Größe 你好"}}',
        Parts(calls=(WEATHER,)),
    ),
    "llama, two": (
        BARE,
        '<|python_tag|>{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
        Parts(calls=(NOW, NOW)),
    ),
    "llama, text behind the call": (
        BARE,
        '{"name": "now", "parameters": {}}\nThat is it: {}.',
        Parts("That is it: {}.", calls=(NOW,)),
    ),
    "llama, broken in its arguments": (
        BARE,
        '{"name": "now", "parameters": {"a": 1, oops}} Done.',
        Parts(calls=(broken("now", '{"a": 1, oops}} Done.'),)),
    ),
    "llama, other JSON": (BARE, '{"city": "Rome"}', Parts('{"city": "Rome"}')),
    "llama, broken": (BARE, '{"name": "now", ', Parts('{"name": "now", ')),
    "llama, text": (BARE, 'Say {"name": "now"}', Parts('Say {"name": "now"}')),
    "own": (OWN, 'Hm.<call>{"name": "now", "arguments": {}}</call>', Parts("Hm.", calls=(NOW,))),
    "own, other JSON": (OWN_BARE, '{"city": "Rome"}', Parts('{"city": "Rome"}')),
    "own, bare": (OWN_BARE, '{"name": "now"}', Parts(calls=(NOW,))),
    "own, broken": (
        OWN,
        '<call>{"name": </call><call>{"name": "now", "arguments": {}}</call>',
        Parts(calls=(broken("", '<call>{"name": '), NOW)),
    ),
}


FUNCTIONS = [{"name": "weather"}]


def pieces(chat_format: ChatFormat, texts: Iterable[str]) -> list[OutputPart]:
    parser = chat_format.parser("", FUNCTIONS)
    return [*(piece for text in texts for piece in parser.feed(text)), *parser.finish()]


def read(chat_format: ChatFormat, texts: Iterable[str]) -> Parts:
    return parts(pieces(chat_format, texts))


@pytest.mark.parametrize("name", CASES)
def test_answers_are_taken_apart(name: str) -> None:
    chat_format, text, expected = CASES[name]
    assert read(chat_format, [text]) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_the_same_wherever_the_text_is_split(name: str) -> None:
    chat_format, text, expected = CASES[name]
    assert all(read(chat_format, [text[:i], text[i:]]) == expected for i in range(len(text)))
    assert read(chat_format, text) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_the_same_token_by_token_and_byte_by_byte(name: str) -> None:
    chat_format, text, expected = CASES[name]
    alphabet = TOKENIZER.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    letters = [letter for word, _ in alphabet for letter in word]
    for tokens in (TOKENIZER.tokenize(text), letters):
        ids = TOKENIZER.convert_tokens_to_ids(tokens)
        stream = Detokenizer(TokenBytes(TOKENIZER, chat_format.markers(with_calls=True)))
        assert read(chat_format, [*map(stream.feed, ids), stream.flush()]) == expected


def test_parts_go_out_as_soon_as_they_are_certain() -> None:
    parser = TAGGED.parser("", FUNCTIONS)
    for text, certain in [
        ("Let me ", [OutputPart("text", "Let me")]),
        ("see <tool_call>", [OutputPart("text", " see")]),
        ('{"name": "pay", "arguments": ', []),
        ('{"to"', [OutputPart("call", "pay"), OutputPart("arguments", '{"to"')]),
        (': {"name": "Ada"}', [OutputPart("arguments", ': {"name": "Ada"}')]),
        ("}}\n</tool_call>\n", [OutputPart("arguments", "}")]),
        ('<tool_call>{"name": "now"', []),
        ("}", [OutputPart("call", "now"), OutputPart("arguments", "{}")]),
    ]:
        assert parser.feed(text) == certain
    assert parser.finish() == []


def test_a_thought_may_have_begun_in_the_prompt() -> None:
    assert TAGGED.is_thinking("<|im_start|>assistant\n<think>\n")
    assert not TAGGED.is_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    parser = TAGGED.parser("<|im_start|>assistant\n<think>\n")
    assert parts([*parser.feed("Hm.</think>Yes."), *parser.finish()]) == Parts("Yes.", "Hm.")


def test_without_tools_calls_are_text() -> None:
    text = '<tool_call>{"name": "now"}</tool_call>'
    parser = TAGGED.parser("")
    assert parts([*parser.feed(text), *parser.finish()]) == Parts(text)


@given(st.text())
def test_a_plain_answer_passes_unchanged(text: str) -> None:
    parser = PlainTextParser()
    assert parts([*parser.feed(text), *parser.finish()]) == Parts(text)


@given(st.text(alphabet='<tool_cal>/ {}":[]naemrguts\n', max_size=60))
def test_no_text_makes_a_parser_fail(text: str) -> None:
    for chat_format in (TAGGED, LISTED, BARE, OWN):
        assert read(chat_format, text) == read(chat_format, [text])


# --- Any call in any format ---

Arguments = dict[str, Any]
MARKERS = (
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "<call>",
    "</call>",
    "<think>",
    "</think>",
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
NAMES = st.from_regex(r"[a-z][a-z_.-]{0,8}", fullmatch=True)


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def tagged(text: str) -> str:
    return f"<tool_call>\n{text}\n</tool_call>"


def by_name(name: str, arguments: str, key: str = "arguments") -> str:
    return f'{{"name": {written(name)}, "{key}": {arguments}}}'


STREAMED = {
    "hermes": (TAGGED, "\n", lambda name, args: tagged(by_name(name, args))),
    "hermes, with more": (
        TAGGED,
        "",
        lambda name, args: tagged(f'{{"id": "a", {by_name(name, args)[1:-1]}, "index": 0}}'),
    ),
    "hermes, as OpenAI": (
        TAGGED,
        "",
        lambda name, args: tagged(f'{{"type": "function", "function": {by_name(name, args)}}}'),
    ),
    "llama": (BARE, "; ", lambda name, args: by_name(name, args, "parameters")),
    "mistral": (LISTED, "", lambda name, args: f"[TOOL_CALLS]{name}[ARGS]{args}"),
    "mistral with ids": (
        LISTED,
        "",
        lambda name, args: f"[TOOL_CALLS]{name}[CALL_ID]a1b2[ARGS]{args}",
    ),
    "mistral list": (LISTED, ", ", by_name),
}
WHOLE = {
    "arguments first": (
        TAGGED,
        "",
        lambda name, args: tagged(f'{{"arguments": {args}, "name": {written(name)}}}'),
    ),
    "arguments as text": (TAGGED, "", lambda name, args: tagged(by_name(name, written(args)))),
    "own": (OWN, "", lambda name, args: f"<call>{by_name(name, args)}</call>"),
}
FORMATS = {**STREAMED, **WHOLE}
LEAD = {"llama": "<|python_tag|>", "mistral list": "[TOOL_CALLS] ["}
TRAIL = {"mistral list": "]"}


@st.composite
def answers(draw: st.DrawFn, style: str) -> tuple[str, list[tuple[str, Arguments, str]]]:
    """An answer of one to three calls in a style, and their names, arguments and JSON."""
    _, between, write = FORMATS[style]
    wanted = st.tuples(NAMES, st.dictionaries(st.text(), VALUES, max_size=3), st.booleans())
    calls = [
        (name, arguments, json.dumps(arguments, ensure_ascii=False, indent=1 if airy else None))
        for name, arguments, airy in draw(st.lists(wanted, min_size=1, max_size=3))
    ]
    assume(not any(mark in text for _, _, text in calls for mark in MARKERS))
    text = between.join(write(name, text) for name, _, text in calls)
    return LEAD.get(style, "") + text + TRAIL.get(style, ""), calls


def split(text: str, sizes: list[int]) -> list[str]:
    found, start, size = [], 0, cycle(sizes)
    while start < len(text):
        found.append(text[start : start + (step := next(size))])
        start += step
    return found


@settings(max_examples=30)
@given(data=st.data())
@pytest.mark.parametrize("style", FORMATS)
def test_any_calls_come_out_as_they_went_in_whatever_pieces_they_come_in(
    style: str, data: st.DataObject
) -> None:
    text, calls = data.draw(answers(style))
    chat_format = FORMATS[style][0]
    whole = read(chat_format, [text])
    assert [call.name for call in whole.calls] == [name for name, _, _ in calls]
    assert [json.loads(call.arguments) for call in whole.calls] == [args for _, args, _ in calls]
    assert not any(call.is_broken for call in whole.calls)
    assert (whole.text, whole.thought) == ("", "")
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    assert joined(pieces(chat_format, split(text, sizes))) == pieces(chat_format, [text])


@settings(max_examples=30)
@given(data=st.data())
@pytest.mark.parametrize("style", STREAMED)
def test_names_go_out_first_and_arguments_bit_by_bit_as_they_were_written(
    style: str, data: st.DataObject
) -> None:
    text, calls = data.draw(answers(style))
    found = pieces(STREAMED[style][0], text)
    in_order = [
        (OutputPart("call", name), OutputPart("arguments", json)) for name, _, json in calls
    ]
    assert joined(found) == [piece for call in in_order for piece in call]
    starts = [index for index, piece in enumerate(found) if piece.kind == "call"]
    assert all(end - start > 2 for start, end in pairwise([*starts, len(found)]))


@settings(max_examples=30)
@given(data=st.data())
@pytest.mark.parametrize("style", STREAMED)
def test_a_call_that_is_cut_short_is_broken_and_none_of_it_is_lost(
    style: str, data: st.DataObject
) -> None:
    text, calls = data.draw(answers(style))
    cut = text[: data.draw(st.integers(text.index("{") + 1, len(text) - 1))]
    found = read(STREAMED[style][0], [cut])
    whole = [call for call in found.calls if not call.is_broken]
    assert [(call.name, call.arguments) for call in whole] == [
        (name, json) for name, _, json in calls[: len(whole)]
    ]
    assert found.calls[: len(whole)] == tuple(whole)
    for call in found.calls[len(whole) :]:
        assert call.name in ("", *(name for name, _, _ in calls[len(whole) :]))
        assert cut.endswith(call.arguments.removeprefix("<tool_call>").removeprefix("[TOOL_CALLS]"))
    assert cut.rstrip().endswith(found.text.rstrip())
