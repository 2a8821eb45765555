"""Models written down and read again: as settings, never as weights."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, loads
from langchain_core.prompts import (
    ChatPromptTemplate,
    HumanMessagePromptTemplate,
    PromptTemplate,
)
from langchain_core.runnables import ConfigurableField, RunnableSequence
from langgraph.store.memory import InMemoryStore

from langchain_amulet import Amulet, ChatAmulet, Preference
from langchain_amulet.chat_models.runnables import (
    AlternativeAmulets,
    BoundAmulet,
    ConfigurableAmulet,
)
from langchain_amulet.errors import ConfigurationError
from support.engines import engine_of
from support.usage import counted
from support.ways import beta, invoke

QUESTION = "How do I sleep better?"
KINDS = [ChatAmulet, BoundAmulet, ConfigurableAmulet, AlternativeAmulets]


def read(text: str, *more: type[Any]) -> Any:
    with beta():
        return loads(text, allowed_objects=[*KINDS, *more], valid_namespaces=["langchain_amulet"])


def test_a_model_is_read_as_it_was_written(tiny: str) -> None:
    llm = ChatAmulet(
        model=tiny,
        dtype="float32",
        preference=["Be kind.", Preference("Be brief.", strength="subtle", weight=0.5)],
        method=Amulet(kl_cap=0.5, updates=7),
        stop=["a", "b"],
        top_k=3,
        max_tokens=9,
        streaming=True,
        chat_template_kwargs={"enable_thinking": False},
        redact_preferences=True,
    )
    written = dumps(llm)
    found = read(written)
    assert found.asdict() == llm.asdict()
    assert found.model_dump() == llm.model_dump()
    assert dumps(found) == written


def test_what_is_written_is_plain_json_without_weights(tiny: str) -> None:
    llm = ChatAmulet(model=tiny, max_tokens=2)
    llm.invoke(QUESTION)
    written = dumpd(llm)
    assert json.loads(json.dumps(written)) == written
    assert len(json.dumps(written)) < 2_000
    assert "not_implemented" not in json.dumps(written)
    assert (written["id"], written["name"]) == (ChatAmulet.lc_id(), "ChatAmulet")


WRAPPED: dict[str, Callable[[ChatAmulet], Any]] = {
    "bare": lambda llm: llm,
    "bound": lambda llm: llm.bind(preference="Be kind."),
    "with tools": lambda llm: llm.bind_tools([{"name": "now", "description": "The time."}]),
    "with a config": lambda llm: llm.with_config(metadata={"preference": "Be kind."}),
    "with open fields": lambda llm: llm.configurable_fields(top_k=ConfigurableField(id="k")),
    "with alternatives": lambda llm: llm.configurable_alternatives(
        ConfigurableField(id="which"), other=llm.with_preference("Be kind.")
    ),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_models_are_read_as_what_they_were(llm: ChatAmulet, kind: str) -> None:
    model = WRAPPED[kind](llm)
    found = read(dumps(model))
    assert type(found) is type(model)
    assert invoke(found, QUESTION) == invoke(model, QUESTION)
    kept = found.bind(seed=1).bind_tools([{"name": "then", "description": "A time."}])
    bound = model.bind_tools([{"name": "then", "description": "A time."}])
    answers = [each.invoke(QUESTION).usage_metadata for each in (kept, bound)]
    assert counted(answers[0]) == counted(answers[1])


def test_a_chain_with_a_model_in_it_is_written_and_read(llm: ChatAmulet) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | llm.bind(top_k=1)
    found = read(
        dumps(chain),
        RunnableSequence,
        ChatPromptTemplate,
        HumanMessagePromptTemplate,
        PromptTemplate,
    )
    question = {"question": QUESTION}
    assert found.invoke(question).content == chain.invoke(question).content


def test_nothing_is_read_unless_it_is_allowed(llm: ChatAmulet) -> None:
    with beta(), pytest.raises(ValueError, match="not allowed"):
        loads(dumps(llm), allowed_objects="core", valid_namespaces=["langchain_amulet"])


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize(
    "copied",
    [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy, copy.copy],
    ids=["pickle", "deepcopy", "copy"],
)
def test_copies_answer_the_same_on_the_same_weights(
    llm: ChatAmulet, kind: str, copied: Callable[[Any], Any]
) -> None:
    model = WRAPPED[kind](llm)
    expected = invoke(model, QUESTION)
    engine, loaded = engine_of(llm), engine_of(llm).stats().admitted
    assert invoke(copied(model), QUESTION) == expected
    assert engine_of(llm) is engine
    assert engine.stats().admitted == loaded + 1


def test_a_memory_that_cant_be_pickled_is_said_to_be_the_reason(llm: ChatAmulet) -> None:
    """A store in this process holds locks; another one may hold connections."""
    remembering = ChatAmulet(model=llm.model, memory=InMemoryStore(), max_tokens=3)
    with pytest.raises(ConfigurationError, match=r"update=\{'memory': None\}"):
        pickle.dumps(remembering)
    assert copy.deepcopy(remembering).invoke(QUESTION, user_id="ada").content
    without = remembering.model_copy(update={"memory": None})
    assert pickle.loads(pickle.dumps(without)).invoke(QUESTION).content


def test_a_pickled_model_is_as_small_as_its_settings(llm: ChatAmulet) -> None:
    invoke(llm, QUESTION)
    assert len(pickle.dumps(llm)) < 10_000


def test_a_model_is_written_with_what_it_prefers_even_where_traces_hide_that(tiny: str) -> None:
    model = ChatAmulet(model=tiny, preference="Be kind.", redact_preferences=True)
    assert "Be kind." not in repr(model)
    with beta():
        written = json.loads(dumps(model))
    assert written["kwargs"]["preference"]
    assert "Be kind." in str(written)
    assert ChatAmulet(**model.model_dump()).preference == (Preference("Be kind."),)
