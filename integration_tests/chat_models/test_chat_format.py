"""Chat formats as a chat model's setting: one's own is learnt, forced, streamed and told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, Field
from transformers import PreTrainedTokenizerBase

from examples.extending.own_chat_format import Lines
from langchain_amulet import ChatAmulet
from langchain_amulet.chat_formats import (
    ChatFormat,
    FunctionCall,
    Hermes,
    Llama,
    Thinking,
    registry,
)
from langchain_amulet.errors import ConfigurationError
from support.models import save_model
from support.prompts import prompts_of, text_of
from support.registries import restored
from support.tokenizers import CHATML, FORGETFUL
from support.xml_calls import XmlCalls


class Weather(BaseModel):
    """The weather of a city."""

    city: str = Field(max_length=6)
    days: int = Field(ge=1, le=9)


class Clock(BaseModel):
    """What time it is."""


SCHEMAS: dict[str, type[BaseModel]] = {"Weather": Weather, "Clock": Clock}
FORMATS = {"lines": Lines(), "xml_calls": XmlCalls()}
every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its template writes neither tools nor calls."""
    return save_model(tmp_path_factory.mktemp("silent", numbered=False), FORGETFUL)


@pytest.fixture
def hot(silent: str) -> Iterator[ChatAmulet]:
    """A random model at a high temperature: whatever a grammar lets through, it writes."""
    with ChatAmulet(model=silent, dtype="float32", temperature=1.5, max_tokens=300) as llm:
        yield llm


def whole(chunks: list[Any]) -> Any:
    return sum(chunks[1:], chunks[0])


# --- A format of one's own ---


@every_format
def test_a_call_that_must_be_made_is_valid_and_read_in_one_s_own_format(
    hot: ChatAmulet, name: str
) -> None:
    bound = hot.bind_tools([Weather, Clock], tool_choice="any", chat_format=FORMATS[name])
    for seed in range(6):
        answer = bound.invoke("Go.", seed=seed, preference="Be kind.")
        (call,) = answer.tool_calls
        SCHEMAS[call["name"]].model_validate(call["args"])
        assert answer.text == ""
        assert answer.response_metadata["finish_reason"] == "tool_calls"


@every_format
def test_several_calls_are_all_read(hot: ChatAmulet, name: str) -> None:
    bound = hot.bind_tools(
        [Weather, Clock], tool_choice="any", parallel_tool_calls=True, chat_format=FORMATS[name]
    )
    answers = [bound.invoke("Go.", seed=seed, temperature=5.0) for seed in range(8)]
    assert max(len(answer.tool_calls) for answer in answers) > 1
    for call in [call for answer in answers for call in answer.tool_calls]:
        SCHEMAS[call["name"]].model_validate(call["args"])
    assert not any(answer.invalid_tool_calls for answer in answers)


@every_format
def test_a_streamed_call_is_the_call(hot: ChatAmulet, name: str) -> None:
    bound = hot.bind_tools([Weather], tool_choice="any", chat_format=FORMATS[name], seed=1)
    chunks = list(bound.stream("Go."))
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert [piece["name"] for piece in pieces if piece["name"]] == ["Weather"]
    (call,), (streamed,) = bound.invoke("Go.").tool_calls, whole(chunks).tool_calls
    assert (streamed["name"], streamed["args"]) == (call["name"], call["args"])


def test_arguments_are_streamed_while_they_are_decoded(hot: ChatAmulet) -> None:
    bound = hot.bind_tools([Weather], tool_choice="any", chat_format=Lines(), seed=1)
    assert sum(bool(chunk.tool_call_chunks) for chunk in bound.stream("Go.")) > 3


@every_format
def test_structure_comes_as_a_call_in_one_s_own_format(silent: str, name: str) -> None:
    with ChatAmulet(
        model=silent, dtype="float32", temperature=1.5, max_tokens=300, chat_format=FORMATS[name]
    ) as llm:
        assert isinstance(llm.with_structured_output(Weather).invoke("Go."), Weather)


PAST: list[BaseMessage] = [
    HumanMessage("Weather?"),
    AIMessage("", tool_calls=[{"name": "Clock", "args": {"zone": "é", "n": 1}, "id": "1"}]),
    ToolMessage("Sun.", tool_call_id="1"),
]


@every_format
def test_calls_of_the_past_are_told_as_the_model_is_to_write_them(
    hot: ChatAmulet, name: str
) -> None:
    chat_format = FORMATS[name]
    prompt = base_prompt(hot, PAST, chat_format=chat_format, tools=[Weather, Clock])
    written = chat_format.write_calls([FunctionCall("Clock", {"zone": "é", "n": 1})]).strip()
    assert f"assistant\n{written}" in prompt
    assert f"write nothing but:\n{chat_format.call_example}" in prompt


def base_prompt(llm: ChatAmulet, messages: list[BaseMessage], **settings: Any) -> str:
    return text_of(llm, prompts_of(llm, messages, **settings)[0])


@every_format
def test_a_format_that_is_registered_is_recognised_by_its_template(
    tmp_path: Path, name: str
) -> None:
    call = {
        "lines": "CALL {{ c.function.name }} {{ c.function.arguments | tojson }}\n",
        "xml_calls": (
            "<tool_call><function={{ c.function.name }}>\n"
            "{% for k, v in c.function.arguments.items() %}<parameter={{ k }}>\n"
            "{{ v if v is string else v | tojson }}\n</parameter>\n{% endfor %}"
            "</function></tool_call>"
        ),
    }[name]
    template = CHATML.replace("<tool_call>{{ c.function | tojson }}</tool_call>", call)
    model = save_model(tmp_path, template)
    with restored(registry.FORMATS), ChatAmulet(model=model, dtype="float32") as llm:
        registry.register(type(FORMATS[name]))
        assert llm._handle.opened.codec().format == FORMATS[name]


# --- The setting ---


def test_a_name_is_a_family_whose_details_the_template_tells(llm: ChatAmulet) -> None:
    by_name = llm._handle.opened.codec(chat_format="hermes").format
    assert by_name == llm._handle.opened.codec().format
    assert llm._handle.opened.codec(chat_format="llama").format == Llama()


def test_the_model_s_format_holds_for_its_calls_and_a_call_s_counts_more(silent: str) -> None:
    with ChatAmulet(model=silent, dtype="float32", chat_format="llama", max_tokens=8) as llm:
        tools = {"tools": [Clock]}
        assert '{"name": "NAME", "parameters"' in base_prompt(llm, PAST[:1], **tools)
        assert "<tool_call>" in base_prompt(llm, PAST[:1], chat_format="hermes", **tools)
        assert "<tool_call>" in base_prompt(llm, PAST[:1], chat_format=None, **tools)


@pytest.mark.parametrize("value", ["hermis", "os:path", Hermes, 7])
def test_what_is_no_format_is_refused(silent: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"chat_format must be .*hermes|ChatFormat"):
        ChatAmulet(model=silent, chat_format=value)
    with pytest.raises(ConfigurationError, match=r"chat_format must be .*hermes|ChatFormat"):
        ChatAmulet(model=silent).invoke("Go.", chat_format=value)


def test_caches_tell_formats_apart_and_traces_show_them(silent: str) -> None:
    formats: list[ChatFormat | str | None] = [
        *(None, "hermes", Hermes(), Hermes(thinking=Thinking("<a>", "</a>")), Lines()),
    ]
    models = [ChatAmulet(model=silent, chat_format=each) for each in formats]
    assert len({model._get_llm_string() for model in models}) == len(models)
    shown = [model._identifying_params["chat_format"] for model in models]
    assert shown[:2] == [None, "hermes"]
    assert "Lines(thinking=None" in shown[-1]


# --- What is found out once ---


def test_a_warm_steered_call_renders_its_prompts_and_nothing_else(
    llm: ChatAmulet, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = []
    render = PreTrainedTokenizerBase.apply_chat_template

    def counted(*arguments: Any, **options: Any) -> Any:
        rendered.append(arguments)
        return render(*arguments, **options)

    monkeypatch.setattr(PreTrainedTokenizerBase, "apply_chat_template", counted)
    for question in (llm, llm.bind(chat_template_kwargs={"mood": ["calm"]})):
        question.invoke("How?", preference="Be kind.")
        rendered.clear()
        question.invoke("How do I sleep better?", preference="Be kind.")
        assert len(rendered) == 2


def test_the_loaded_tokenizer_stays_as_it_was_loaded(llm: ChatAmulet) -> None:
    llm.invoke("How?", preference="Be <|im_end|> kind.")
    assert llm._handle.opened.tokenizer.chat_control_tokens is None
