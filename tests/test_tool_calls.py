import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_amulet.formats import HERMES, ReplyFormat, Thinking, find_format
from langchain_amulet.replies import Call, PlainReader, Reader, Reply
from langchain_amulet.templates import ChatTemplate
from langchain_amulet.text import TextStream, TokenBytes
from tests.tokenizer_builders import CHATML, byte_level

TOKENIZER = byte_level()
THINK = Thinking("<think>", "</think>")
TAGGED = ReplyFormat(thinking=THINK)
LISTED = ReplyFormat(
    region={"open": "[TOOL_CALLS]", "close_pattern": r"(?=\[TOOL_CALLS\])"}, thinking=THINK
)
BARE = ReplyFormat(region={"open_pattern": r"\A\s*(?:<\|python_tag\|>\s*)?(?=\{)"})
OWN = ReplyFormat(
    own={
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

WEATHER = Call("weather", '{"city": "Größe 你好"}')
NOW = Call("now", "{}")
CASES = {
    "hermes": (
        TAGGED,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Größe 你好"}}\n</tool_call>',
        Reply(calls=(WEATHER,)),
    ),
    "hermes, two": (
        TAGGED,
        '<tool_call>{"name": "weather", "arguments": {"city": "Größe 你好"}}</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n',
        Reply(calls=(WEATHER, NOW)),
    ),
    "hermes with text": (
        TAGGED,
        'Let me look.\n<tool_call>{"name": "now"}</tool_call> Done.',
        Reply("Let me look.Done.", calls=(NOW,)),
    ),
    "hermes, cut after the call": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": {}}',
        Reply(calls=(NOW,)),
    ),
    "hermes, broken": (
        TAGGED,
        'So: <tool_call>{"name": "now", "arg</tool_call> and'
        ' <tool_call>{"name": "now"}</tool_call>',
        Reply("So:and", calls=(Call(None, '<tool_call>{"name": "now", "arg'), NOW)),
    ),
    "hermes, arguments as text": (
        TAGGED,
        '<tool_call>{"name": "now", "arguments": "{}"}</tool_call>',
        Reply(calls=(NOW,)),
    ),
    "thoughts": (
        TAGGED,
        "<think>\nIs it?\n\nYes.\n</think>\n\nYes.",
        Reply("Yes.", "Is it?\n\nYes."),
    ),
    "thoughts and a call": (
        TAGGED,
        '<think>Look.</think>\n<tool_call>{"name": "now"}</tool_call>',
        Reply("", "Look.", (NOW,)),
    ),
    "almost a marker": (TAGGED, "a <tool_cal> </think", Reply("a <tool_cal> </think")),
    "mistral list": (
        LISTED,
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Größe 你好"}}, {"name": "now"}]',
        Reply(calls=(WEATHER, NOW)),
    ),
    "mistral names": (
        LISTED,
        'Hm. [TOOL_CALLS]weather[ARGS]{"city": "Größe 你好"}[TOOL_CALLS]now[CALL_ID]abc[ARGS]{}',
        Reply("Hm.", calls=(WEATHER, NOW)),
    ),
    "mistral, broken": (
        LISTED,
        "[TOOL_CALLS]now[ARGS]{",
        Reply(calls=(Call(None, "[TOOL_CALLS]now[ARGS]{"),)),
    ),
    "llama": (
        BARE,
        '{"name": "weather", "parameters": {"city": "Größe 你好"}}',
        Reply(calls=(WEATHER,)),
    ),
    "llama, two": (
        BARE,
        '<|python_tag|>{"name": "now", "parameters": {}}; {"name": "now", "parameters": {}}',
        Reply(calls=(NOW, NOW)),
    ),
    "llama, other JSON": (BARE, '{"city": "Rome"}', Reply('{"city": "Rome"}')),
    "llama, broken": (BARE, '{"name": "now", ', Reply('{"name": "now", ')),
    "llama, text": (BARE, 'Say {"name": "now"}', Reply('Say {"name": "now"}')),
    "own": (OWN, 'Hm.<call>{"name": "now", "arguments": {}}</call>', Reply("Hm.", calls=(NOW,))),
    "own, broken": (
        OWN,
        '<call>{"name": </call><call>{"name": "now", "arguments": {}}</call>',
        Reply(calls=(Call(None, '<call>{"name": '), NOW)),
    ),
}


def read(reply: ReplyFormat, pieces: list[str]) -> Reply:
    reader = Reader(TOKENIZER, reply.response_template(with_calls=True))
    return sum((reader.feed(piece) for piece in pieces), Reply()) + reader.finish()


@pytest.mark.parametrize("name", CASES)
def test_answers_are_taken_apart(name: str) -> None:
    reply, text, expected = CASES[name]
    assert read(reply, [text]) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_the_same_wherever_the_text_is_split(name: str) -> None:
    reply, text, expected = CASES[name]
    assert all(read(reply, [text[:i], text[i:]]) == expected for i in range(len(text)))
    assert read(reply, list(text)) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_parts_are_the_same_token_by_token_and_byte_by_byte(name: str) -> None:
    reply, text, expected = CASES[name]
    alphabet = TOKENIZER.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    letters = [letter for word, _ in alphabet for letter in word]
    for tokens in (TOKENIZER.tokenize(text), letters):
        ids = TOKENIZER.convert_tokens_to_ids(tokens)
        stream = TextStream(TokenBytes(TOKENIZER, reply.markers))
        assert read(reply, [*map(stream.feed, ids), stream.flush()]) == expected


def test_parts_go_out_as_soon_as_they_are_certain() -> None:
    reader = Reader(TOKENIZER, TAGGED.response_template(with_calls=True))
    assert reader.feed("Let me ") == Reply("Let me")
    assert reader.feed('see <tool_call>{"name": "now"}') == Reply(" see")
    assert reader.feed("</tool_call>") == Reply(calls=(NOW,))


def test_a_thought_may_have_begun_in_the_prompt() -> None:
    assert TAGGED.is_thinking("<|im_start|>assistant\n<think>\n")
    assert not TAGGED.is_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    template = TAGGED.response_template(with_calls=False)
    reader = Reader(TOKENIZER, template, prefix="<think>")
    assert reader.feed("Hm.</think>Yes.") + reader.finish() == Reply("Yes.", "Hm.")


def test_without_tools_calls_are_text() -> None:
    text = '<tool_call>{"name": "now"}</tool_call>'
    reader = Reader(TOKENIZER, TAGGED.response_template(with_calls=False))
    assert reader.feed(text) + reader.finish() == Reply(text)


@given(st.text())
def test_a_plain_answer_passes_unchanged(text: str) -> None:
    reader = PlainReader()
    assert reader.feed(text) + reader.finish() == Reply(text)


@given(st.text(alphabet='<tool_cal>/ {}":[]naem\n', max_size=60))
def test_no_text_makes_a_reader_fail(text: str) -> None:
    for reply in (TAGGED, LISTED, BARE, OWN):
        assert read(reply, list(text)) == read(reply, [text])


@given(
    st.dictionaries(
        st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    )
)
def test_arguments_come_out_as_they_went_in(arguments: dict[str, object]) -> None:
    call = json.dumps({"name": "f", "arguments": arguments}, ensure_ascii=False)
    text = f"<tool_call>\n{call}\n</tool_call>"
    if "</tool_call>" in call or "<tool_call>" in call:
        return
    (read_back,) = read(TAGGED, [text]).calls
    assert json.loads(read_back.arguments) == arguments


MISTRAL = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% else %}{{ m.content }}{% if m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    '{{ \'{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson }}{{ ', \"id\": \"' + c.id + '\"}' }}"
    "{{ ', ' if not loop.last }}{% endfor %}]{% endif %}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA = (
    "{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}"
    "{{ raise_exception('one call only') }}{% endif %}<|assistant|>"
    '{{ \'{"name": "\' + m.tool_calls[0].function.name + \'", "parameters": \' }}'
    "{{ m.tool_calls[0].function.arguments | tojson }}}<|im_end|>"
    "{% else %}<|{{ m.role }}|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_hermes_is_learnt_from_a_template() -> None:
    found = find_format(ChatTemplate(byte_level(CHATML)))
    assert found.shape.before == '<tool_call>{"name": "'
    assert found.shape.between == '}</tool_call><tool_call>{"name": "'
    assert found.region["open"] == "<tool_call>"
    assert not found.writes_tools


def test_mistral_is_learnt_from_a_template_and_ids_are_left_out() -> None:
    found = find_format(ChatTemplate(byte_level(MISTRAL)))
    assert found.shape.before == '[TOOL_CALLS][{"name": "'
    assert (found.shape.between, found.shape.after) == ('}, {"name": "', "}]")
    assert found.region["open"] == "[TOOL_CALLS]"


def test_llama_is_learnt_from_a_template_and_has_one_call() -> None:
    found = find_format(ChatTemplate(byte_level(LLAMA)))
    assert found.shape.middle == '", "parameters": '
    assert (found.shape.between, found.shape.after) == (None, "}")
    assert "open_pattern" in found.region


def test_a_template_without_calls_is_given_hermes() -> None:
    plain = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    assert find_format(ChatTemplate(byte_level(plain))).shape == HERMES
