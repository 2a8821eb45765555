"""A preference stays, whatever is bound, wrapped or left open before or after the tools."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import DeadlineError
from support.memories import KIND
from support.usage import counted

Step = Callable[[Any], Any]


@tool
def now() -> str:
    """The time of day."""
    return "noon"


async def hear(*heard: Any) -> None:
    """Listens and does nothing."""


PREFERENCES: dict[str, Step] = {
    "bind": lambda llm: llm.bind(preference=KIND),
    "config": lambda llm: llm.with_config(metadata={"preference": KIND}),
    "configurable": lambda llm: llm.with_config(configurable={"preference": KIND}),
}
WRAPPERS: dict[str, Step] = {
    "bind": lambda llm: llm.bind(seed=3),
    "config": lambda llm: llm.with_config(tags=["x"], metadata={"y": 1}, configurable={"z": 1}),
    "fields": lambda llm: llm.configurable_fields(temperature=ConfigurableField(id="heat")),
    "alternatives": lambda llm: llm.configurable_alternatives(
        ConfigurableField(id="which"), other=RunnableLambda(str)
    ),
    "retry": lambda llm: llm.with_retry(stop_after_attempt=2),
    "listeners": lambda llm: llm.with_listeners(on_start=print),
    "async listeners": lambda llm: llm.with_alisteners(on_start=hear),
    "types": lambda llm: llm.with_types(input_type=str),
    "fallbacks": lambda llm: llm.with_fallbacks([llm]),
}


class Starts(BaseCallbackHandler):
    """Counts calls of the model."""

    def __init__(self) -> None:
        self.count = 0

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.count += 1


@pytest.fixture(scope="module")
def llm(tiny: str) -> Iterator[ChatAmulet]:
    with ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12) as model:
        yield model


@pytest.fixture(scope="module")
def expected(llm: ChatAmulet) -> AIMessage:
    return llm.invoke("Go.", preference=KIND, tools=[now])


def assert_same(answer: AIMessage, expected: AIMessage) -> None:
    assert answer.content == expected.content
    assert counted(answer.usage_metadata) == counted(expected.usage_metadata)
    assert answer.response_metadata == expected.response_metadata


def langchain_forgets(preference: str, wrapper: str, order: tuple[str, ...]) -> bool:
    """A config bound to fallbacks belongs to their own run: tools that come later don't see it."""
    bound_to_fallbacks = wrapper == "fallbacks" and preference != "bind"
    return bound_to_fallbacks and order == ("wrapper", "preference", "tools")


ORDERS = [
    case
    for case in itertools.product(
        PREFERENCES, WRAPPERS, itertools.permutations(["preference", "wrapper", "tools"])
    )
    if not langchain_forgets(*case)
]


@pytest.mark.parametrize(("preference", "wrapper", "order"), ORDERS)
def test_a_preference_stays_whatever_comes_first(
    llm: ChatAmulet, expected: AIMessage, preference: str, wrapper: str, order: tuple[str, ...]
) -> None:
    steps = {
        "preference": PREFERENCES[preference],
        "wrapper": WRAPPERS[wrapper],
        "tools": lambda model: model.bind_tools([now]),
    }
    model: Any = llm
    for name in order:
        model = steps[name](model)
    assert_same(model.invoke("Go."), expected)


@pytest.mark.parametrize(("inner", "outer"), list(itertools.permutations(WRAPPERS, 2)))
def test_it_stays_in_a_wrapper_within_another(
    llm: ChatAmulet, expected: AIMessage, inner: str, outer: str
) -> None:
    bound = WRAPPERS[inner](llm.bind(preference=KIND))
    if outer == "fields" and inner in ("retry", "fallbacks"):
        with pytest.raises(ValueError, match="temperature not found"):  # neither has fields
            WRAPPERS[outer](bound)
    elif (inner, outer) == ("fallbacks", "retry"):
        assert not hasattr(WRAPPERS[outer](bound), "bind_tools")
    else:
        assert_same(WRAPPERS[outer](bound).bind_tools([now]).invoke("Go."), expected)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_structure_keeps_it_too(llm: ChatAmulet, wrapper: str) -> None:
    schema = {"title": "answer", "type": "object"}
    settings = {"include_raw": True, "max_tokens": 60}
    expected = llm.with_structured_output(schema, **settings, preference=KIND).invoke("Go.")
    chain = WRAPPERS[wrapper](llm.bind(preference=KIND)).with_structured_output(schema, **settings)
    assert_same(chain.invoke("Go.")["raw"], expected["raw"])


def test_a_fallback_answers_in_the_same_style(
    tiny: str, llm: ChatAmulet, expected: AIMessage
) -> None:
    with ChatAmulet(model=tiny) as closed:
        failing = closed.with_fallbacks([llm])
    for model in (
        failing.bind(preference=KIND).bind_tools([now]),
        failing.bind_tools([now]).bind(preference=KIND),
    ):
        assert_same(model.invoke("Go."), expected)


def test_an_alternative_is_asked_in_the_same_style(other_tiny: str, llm: ChatAmulet) -> None:
    settings = {"dtype": "float32", "temperature": 0.0, "max_tokens": 12}
    other = ChatAmulet(model=other_tiny, **settings)
    both = llm.configurable_alternatives(ConfigurableField(id="which"), other=other)
    bound = both.bind(preference=KIND).bind_tools([now])
    for which, model in (("default", llm), ("other", other)):
        answer = bound.invoke("Go.", {"configurable": {"which": which}})
        assert_same(answer, model.invoke("Go.", preference=KIND, tools=[now]))


def test_a_retried_model_answers_as_soon_as_it_can(llm: ChatAmulet) -> None:
    starts = Starts()
    hasty = llm.configurable_fields(timeout=ConfigurableField(id="patience"))
    retried = hasty.with_retry(
        retry_if_exception_type=(DeadlineError,), wait_exponential_jitter=False
    ).bind_tools([now])
    with pytest.raises(DeadlineError):
        retried.invoke("Go.", {"configurable": {"patience": 1e-6}, "callbacks": [starts]})
    assert starts.count == 3


def test_a_later_config_adds_to_the_earlier_one(llm: ChatAmulet, expected: AIMessage) -> None:
    both = llm.with_config(metadata={"preference": KIND}).with_config(metadata={"more": 1})
    assert_same(both.bind_tools([now]).invoke("Go."), expected)
    other = llm.with_config(configurable={"preference": KIND}).with_config(configurable={"a": 1})
    assert_same(other.bind_tools([now]).invoke("Go."), expected)


def test_a_later_preference_takes_the_place_of_an_earlier_one(
    llm: ChatAmulet, expected: AIMessage
) -> None:
    bound = llm.bind(preference="Be short.").bind_tools([now])
    assert_same(bound.bind(preference=KIND).invoke("Go."), expected)
    assert_same(bound.invoke("Go.", preference=KIND), expected)
    assert_same(bound.with_preference(KIND).invoke("Go."), expected)


def test_fields_left_open_still_stream(llm: ChatAmulet) -> None:
    opened = llm.configurable_fields(temperature=ConfigurableField(id="heat"))
    config: Any = {"configurable": {"heat": 0.0}}
    assert len(list(opened.stream("Go.", config))) == len(list(llm.stream("Go."))) > 3


def test_the_schema_of_a_config_says_what_it_may_set(llm: ChatAmulet) -> None:
    opened = llm.configurable_fields(
        preference=ConfigurableField(id="style", description="How to answer"),
        method=ConfigurableField(id="how"),
        top_k=ConfigurableField(id="tokens"),
        temperature=ConfigurableField(id="heat", annotation=str),
    )
    schema = opened.get_config_jsonschema()
    fields = schema["$defs"]["Configurable"]["properties"]
    assert fields["style"]["type"] == ["string", "object", "array", "null"]
    assert fields["style"]["description"] == "How to answer"
    assert fields["how"]["type"] == ["string", "number"]
    assert {"type": "integer"} in fields["tokens"]["anyOf"]
    assert fields["heat"]["type"] == "string"
    said = {"style": "Be kind.", "how": "pref", "tokens": 3}
    checked = opened.config_schema().model_validate({"configurable": said})
    assert checked.configurable.style == (Preference("Be kind."),)


def test_models_are_called_by_their_class(llm: ChatAmulet) -> None:
    assert llm.get_name() == "ChatAmulet"
    assert ChatAmulet(name="mine").get_name() == "mine"
    for schema in (llm.get_input_jsonschema(), llm.get_output_jsonschema()):
        assert schema
