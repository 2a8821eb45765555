"""Every refusal says the rule, the value and the remedy, and is one of the package's errors."""

import asyncio
import math
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from langchain_core import exceptions as core
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import ConfigurableField

from langchain_amulet import Amulet, ChatAmulet, Preference, errors
from langchain_amulet.memory import as_memory
from langchain_amulet.methods import BestOf
from support.models import save_model
from support.ways import DIRECT, Way, invoke

QUESTION, SECRET = "How do I sleep better?", "Sheba"
every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        (
            {"temprature": 0.1},
            r"'temprature' is unknown: did you mean 'temperature'\? Use one of .*top_p",
        ),
        ({"xyz": 1}, r"'xyz' is unknown: use one of .*temperature"),
        ({"temperature": -1.0}, r"temperature must be .*at least 0.*not -1.0: 0 is greedy"),
        ({"temperature": "hot"}, r"'temperature' can't be 'hot': it must be a number"),
        ({"top_p": 0.0}, r"top_p must be .*above 0.*not 0.0: use 1"),
        ({"max_tokens": 0}, r"'max_tokens' can't be 0: it must be at least 1"),
        ({"max_tokens": 1.5}, r"'max_tokens' can't be 1.5: it must be a whole number"),
        ({"trace": "perhaps"}, r"'trace' can't be 'perhaps': it must be True or False"),
        ({"top_logprobs": 2}, r"logprobs=True.*is 2 without that: set logprobs=True, or leave"),
        ({"timeout": 0}, r"'timeout' can't be 0: it must be above 0"),
        ({"stop": [""]}, r"Stop strings must .*not \[''\]: use None"),
        ({"stop": 7}, r"Stop strings must .*not 7: use None"),
        ({"placement": "top"}, r"'placement' can't be 'top': it must be 'system' or 'user'"),
        ({"preference_template": "Please."}, r"must contain {preference}.*'Please.': add it"),
        ({"method": "amulett"}, r"method must be one of amulet, auto, base, .*not 'amulett'"),
        ({"method": "ballanced"}, r"not 'ballanced': did you mean 'balanced'\? Use one of those"),
        (
            {"method": "best_of"},
            r"'best_of' needs its scorer, which is code .*, BestOf\(scorer=...\)",
        ),
        ({"method": {"lam": 0}}, r"method must be one of .*a Method such as .*not {'lam': 0}"),
        ({"dtype": "bfloat"}, r"dtype must be .*not 'bfloat': use 'bfloat16'"),
        ({"model": ""}, r"'model' can't be '': it must be a text with 1 or more characters"),
        ({"device": "gpu"}, r"device must be .*, not 'gpu': use 'cpu' or 'cuda:0', or None"),
        ({"max_queue": 0}, r"'max_queue' can't be 0"),
    ],
    ids=str,
)
def test_a_constructor_refuses_what_can_never_work(fields: dict[str, Any], rule: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=rule):
        ChatAmulet(**fields)


def test_fields_of_other_chat_models_that_mean_nothing_here_are_accepted() -> None:
    assert ChatAmulet(max_retries=3).max_retries == 3


@pytest.mark.parametrize("lam", [0.0, -1.0])
def test_amulet_refuses_a_pull_back_that_is_none(lam: float) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"lam must .*{lam}"):
        Amulet(lam=lam)


def test_an_unknown_style_name_lists_the_known_ones() -> None:
    known = "'subtle', 'balanced', 'strong', 'amulet'"
    for make in (lambda: Amulet(strength="bold"), lambda: Preference("Be kind.", strength="bold")):
        with pytest.raises(errors.ConfigurationError, match=f"{known}, not 'bold'"):
            make()


@pytest.mark.parametrize(
    ("preference", "rule"),
    [
        ("", "can't be empty, but its text is '': leave .* out, or use None"),
        (" \n", "can't be empty"),
        (7, "must be a text or a Preference.*not of type int: use None"),
        (["Be kind.", 7], "must be a text or a Preference"),
        ({"text": "Be kind.", "loud": True}, "'loud' is unknown: use one of strength, text"),
        ({"strength": 1.0}, "'text' is missing"),
        ({"text": "Be kind.", "weight": -1}, "'weight' can't be -1: it must be at least 0"),
        ({"text": "Be kind.", "weight": "much"}, "'weight' can't be this str: it must be a number"),
        (["Be kind.", "x" * 2001], "at most 2000 .*number 2 of this call has 2001: shorten it"),
    ],
)
@every_way
def test_a_malformed_preference_is_refused_wherever_it_comes_from(
    llm: ChatAmulet, way: Way, preference: object, rule: str
) -> None:
    with pytest.raises(errors.PreferenceError, match=rule):
        way(llm, QUESTION, preference=preference)
    with pytest.raises(errors.PreferenceError, match=rule):
        way(llm, QUESTION, {"metadata": {"preference": preference}})
    with pytest.raises(errors.PreferenceError, match=rule):
        ChatAmulet(preference=preference)


@every_way
def test_an_unknown_argument_is_refused_with_the_known_ones(llm: ChatAmulet, way: Way) -> None:
    hint = r"'preferences' is unknown: did you mean 'preference'\? Use one of .*temperature"
    with pytest.raises(errors.ConfigurationError, match=hint):
        way(llm, QUESTION, preferences="Be kind.")


NUMBERS = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "seed",
    "max_tokens", "max_preference_chars", "timeout",
)  # fmt: skip
"""Settings that are numbers: a truth value was meant for something else."""


@pytest.mark.parametrize(
    "wrong",
    [
        {"temprature": 0.1},
        {"temperature": -1.0},
        {"temperature": "hot"},
        *({name: flag} for name in NUMBERS for flag in (True, False)),
        {"preference": {"text": "Be kind.", "strength": True}},
        {"preference": {"text": "Be kind.", "weight": True}},
        {"max_tokens": 0},
        {"timeout": -1.0},
        {"stop": 7},
        {"method": "amulett"},
        {"preference": 7},
        {"preference": {"text": "Be kind.", "strength": "bold"}},
    ],
    ids=str,
)
def test_a_wrong_value_raises_the_same_for_a_model_and_for_a_call(
    llm: ChatAmulet, wrong: dict[str, Any]
) -> None:
    with pytest.raises(errors.AmuletError) as of_model:
        ChatAmulet(**wrong)
    with pytest.raises(errors.AmuletError) as of_call:
        llm.bind(**wrong).invoke(QUESTION)
    assert type(of_model.value) is type(of_call.value)


@pytest.mark.parametrize("name", ["preferences", "prefrence", "Preference"])
def test_a_name_in_metadata_that_is_nearly_the_preferences_is_pointed_out_once(
    llm: ChatAmulet, name: str
) -> None:
    pointed_out = f"'preference', but metadata has '{name}'"
    with pytest.warns(errors.PreferenceWarning, match=pointed_out) as warned:
        llm.invoke(QUESTION, {"metadata": {name: "Be kind."}})
    assert len(warned) == 1
    llm.invoke(QUESTION, {"metadata": {name: 1, "preference": "Be kind."}})


def test_a_warning_s_place_is_where_the_model_was_called(llm: ChatAmulet) -> None:
    misspelt = {"metadata": {"preferences": "Be kind."}, "configurable": {"temperature": 0.1}}
    with pytest.warns(UserWarning) as warned:
        llm.invoke(QUESTION, misspelt)
        (llm | StrOutputParser()).invoke(QUESTION, misspelt)
        for _ in llm.stream(QUESTION, misspelt):
            pass
        asyncio.run(llm.ainvoke(QUESTION, misspelt))
    assert len(warned) == 8
    assert {warning.filename for warning in warned} == {__file__}


@every_way
def test_a_name_in_configurable_that_is_nearly_the_preferences_is_pointed_out(
    llm: ChatAmulet, way: Way
) -> None:
    for name in ("preferences", "prefrence", "Preference"):
        with pytest.warns(errors.PreferenceWarning, match=f"'preference', .* has '{name}'"):
            way(llm, QUESTION, {"configurable": {name: "Be kind."}})
    nobodys: Any = {"references": 1, "thread_id": "1", "pressure": 2, 3: 4}
    way(llm, QUESTION, {"configurable": nobodys})
    way(llm, QUESTION, {"configurable": {"preferences": 1}}, preference="Be kind.")


@every_way
def test_a_name_in_configurable_that_is_nearly_the_users_is_pointed_out(
    llm: ChatAmulet, way: Way
) -> None:
    knowing = llm.model_copy(update={"memory": as_memory({"ada": "Be kind."}.get)})
    for name in ("userid", "user-id", "userId", "user_ID", "user", "UID"):
        for model in (llm, knowing):  # without a memory users are told apart for the cache
            with pytest.warns(errors.PreferenceWarning, match=f"'user_id', .* has '{name}'") as all:
                way(model, QUESTION, {"configurable": {name: "ada"}})
            assert len(all) == 1
    strangers: Any = {"users": 1, "user_name": "Ada", "thread_id": "1", "user": {"name": "Ada"}}
    for nobodys in (strangers, {"user_id": None}):
        way(knowing, QUESTION, {"configurable": nobodys})
        way(llm, QUESTION, {"configurable": nobodys})
    way(knowing, QUESTION, {"configurable": {"userid": "ada"}}, user_id="ada")


@every_way
def test_a_name_that_is_nearly_the_users_is_told_what_it_is_good_for(
    llm: ChatAmulet, way: Way
) -> None:
    knowing = llm.model_copy(update={"memory": as_memory({"ada": "Be kind."}.get)})
    for model, is_for_cache in ((llm, True), (knowing, False)):
        with pytest.warns(errors.PreferenceWarning) as warned:
            way(model, QUESTION, {"metadata": {"user": "ada"}})
        assert (
            "no memory, so that no preference is lost" in str(warned[0].message)
        ) == is_for_cache
    for scope in ("process", "off"):  # then a user without a memory is good for nothing
        way(llm.model_copy(update={"cache_scope": scope}), QUESTION, {"metadata": {"user": "ada"}})


@every_way
def test_a_setting_in_configurable_is_told_to_have_no_meaning_there(
    llm: ChatAmulet, way: Way
) -> None:
    for name, setting in {"temperature": "temperature", "Max_Token": "max_tokens"}.items():
        told = f"{name!r} in it means nothing.*pass {setting}="
        with pytest.warns(errors.SettingWarning, match=told):
            way(llm, QUESTION, {"configurable": {name: 1}})
    with pytest.warns(errors.SettingWarning) as warned:  # with no value of its own, either
        way(llm, QUESTION, {"configurable": {"method": "nosuch and private"}})
    assert "private" not in str(warned[0].message)


@every_way
def test_what_takes_effect_or_is_others_passes_in_configurable(llm: ChatAmulet, way: Way) -> None:
    others: Any = {"thread_id": "1", "checkpoint_ns": "", "__pregel_read": 1, "model": "x", 3: 4}
    others |= {"system_prompt": "x", "timer": 1, "stopped": True, "temporary": 1, "tool": 1}
    way(llm, QUESTION, {"configurable": others})
    way(llm, QUESTION, {"configurable": {"temperature": llm.temperature, "max_tokens": 12}})
    way(llm, QUESTION, {"configurable": {"temperature": 1.0}}, temperature=0.5)


def test_a_setting_that_was_opened_passes_in_configurable(llm: ChatAmulet) -> None:
    fields = {name: ConfigurableField(id=name) for name in ("max_tokens", "method")}
    config: Any = {
        "configurable": {"max_tokens": 3, "method": "balanced", "preference": "Be kind."}
    }
    metadata = llm.configurable_fields(**fields).invoke(QUESTION, config).response_metadata
    assert metadata["strength"] == 1.0


@pytest.mark.parametrize(
    ("name", "error"), [("tools", errors.ToolError), ("response_format", errors.SchemaError)]
)
def test_malformed_tools_and_formats_are_refused(
    llm: ChatAmulet, name: str, error: type[errors.RequestError]
) -> None:
    with pytest.raises(error, match="must be"):
        invoke(llm, QUESTION, **{name: [{"type": "function"}]})
    assert invoke(llm, QUESTION, **{name: None}) == invoke(llm, QUESTION)


@every_way
def test_a_prompt_that_does_not_fit_the_context_is_refused(llm: ChatAmulet, way: Way) -> None:
    with pytest.raises(errors.ContextLengthError, match=r"context of 1024.*Shorten") as caught:
        way(llm, QUESTION * 300)
    assert isinstance(caught.value, core.ContextOverflowError)
    with pytest.raises(errors.ContextLengthError, match=r"\+ 1024 is .* lower max_tokens"):
        way(llm, QUESTION, max_tokens=1024)


def test_a_prompt_that_is_too_long_says_how_much_of_it_is_the_preference_s(
    llm: ChatAmulet,
) -> None:
    secret = "Talk like a very secret pirate."
    with pytest.raises(errors.ContextLengthError) as caught:
        llm.invoke(QUESTION, preference=secret, max_tokens=1024)
    told = str(caught.value)
    assert f"of which {len(llm.get_token_ids(secret))} are the preference's" in told
    assert "shorten" in told.casefold() and "pirate" not in told
    with pytest.raises(errors.ContextLengthError) as caught:
        llm.invoke(QUESTION, max_tokens=1024)
    assert "preference" not in str(caught.value)


@pytest.mark.parametrize("is_told", [False, True])
def test_a_prompt_that_is_too_long_says_what_of_it_is_told_along(
    llm: ChatAmulet, is_told: bool
) -> None:
    schema = {"title": "secret", "type": "object", "properties": {"a": {"type": "string"}}}
    tool = {"name": "secret", "description": "Secret.", "parameters": schema}
    asking: Any = llm.bind_tools([tool], tool_choice="auto") if is_told else llm
    asking = asking.bind(
        max_tokens=1024,
        preference="Be kind.",
        **(
            {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
            if is_told
            else {}
        ),
    )
    with pytest.raises(errors.ContextLengthError) as caught:
        asking.invoke(QUESTION)
    told = str(caught.value)
    assert ("are the tools'" in told) == ("are the schema's" in told) == is_told
    along = ", the tools, the schema" if is_told else ""
    assert f"Shorten the conversation, the preference{along} or lower max_tokens." in told
    assert "secret" not in told.casefold()
    with pytest.raises(errors.ContextLengthError, match="tools or schema that are told with"):
        huge = {"name": "huge", "description": "x " * 100_000, "parameters": {"type": "object"}}
        llm.bind_tools([huge]).invoke(QUESTION)


@every_way
def test_a_strength_that_no_preference_takes_up_is_pointed_out(llm: ChatAmulet, way: Way) -> None:
    concise = Preference.trait("concise")
    for strength in ("strong", 2.0):
        with pytest.warns(errors.SettingWarning, match="method=.* is the strength of pref") as all:
            way(llm, QUESTION, preference=concise, method=strength)
        assert len(all) == 1
        way(llm, QUESTION, preference=[concise, "Be kind."], method=strength)
        way(llm, QUESTION, preference=None, method=strength)
    for method in ("amulet", "pref", Amulet(strength=2.0)):
        way(llm, QUESTION, preference=concise, method=method)


def test_too_few_rows_are_told_before_a_model_is_loaded_and_only_to_who_needs_more() -> None:
    with ChatAmulet(max_rows=1, dtype="float64", max_tokens=1, preference="Be kind.") as narrow:
        told = "at most max_rows, here 1, but this one has 2: raise max_rows,.*'pref'"
        with pytest.raises(errors.RequestError, match=told):
            narrow.invoke(QUESTION)
        with pytest.raises(errors.RequestError, match=told):
            narrow.load()
        assert narrow.model_info is None
        assert narrow.invoke(QUESTION, preference=None).text
        assert narrow.invoke(QUESTION, method="pref").text


def test_too_little_memory_is_told_with_how_much_is_enough() -> None:
    with (
        ChatAmulet(kv_cache_memory="1KiB", dtype="float64") as small,
        pytest.raises(errors.ContextLengthError, match="Raise kv_cache_memory to at least") as told,
    ):
        small.invoke(QUESTION, preference="Be kind.")
    (enough,) = re.findall(r"at least (\d+)", str(told.value))
    with ChatAmulet(kv_cache_memory=int(enough), dtype="float64") as large:
        assert large.invoke(QUESTION, preference="Be kind.").text
    with (
        ChatAmulet(kv_cache_memory=int(enough) - 1, dtype="float64") as small,
        pytest.raises(errors.ContextLengthError, match=f"at least {enough}"),
    ):
        small.invoke(QUESTION, preference="Be kind.")


def test_images_are_refused_by_a_text_model(llm: ChatAmulet) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(errors.UnsupportedContentError, match=r"reads text only.*describe it"):
        llm.invoke([HumanMessage(["Look:", image])])


@pytest.mark.parametrize("question", ["", " ", [], [("user", "")]])
def test_an_empty_call_is_refused(llm: ChatAmulet, question: Any) -> None:
    with pytest.raises(errors.EmptyInputError, match="at least one message with text"):
        llm.invoke(question)


def test_a_device_that_is_not_there_is_refused_at_first_use(tiny: str) -> None:
    there = torch.cuda.device_count()
    llm = ChatAmulet(model=tiny, device=f"cuda:{there}")
    with pytest.raises(
        errors.ConfigurationError, match=rf"device must be .* have, not 'cuda:{there}': .*Use 'cpu'"
    ):
        llm.invoke(QUESTION)
    assert ChatAmulet(model=tiny, device=torch.device("cpu"), max_tokens=2).invoke(QUESTION)


def test_half_a_character_is_refused_as_what_it_is(llm: ChatAmulet) -> None:
    with pytest.raises(errors.RequestError, match=r"half of one, '\\ud83d': take it out"):
        llm.invoke([("system", "Be exact."), ("human", "Hello \ud83d!")])


def test_the_bundled_model_is_pointed_out_to_who_nearly_named_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(errors.ModelNotFoundError, match=r"Did you mean 'pocket'\? Check"):
        ChatAmulet(model="Pocket").invoke(QUESTION)
    with pytest.raises(errors.ModelNotFoundError, match=r"\. Check"):
        ChatAmulet(model="nobody/model").invoke(QUESTION)


def test_an_unknown_model_is_refused_at_first_use(tmp_path: Path) -> None:
    llm = ChatAmulet(model=str(tmp_path / "missing"))
    with pytest.raises(
        errors.ModelNotFoundError,
        match=r"must be a folder.*missing.*Check the name.*Without a network there are 'pocket'",
    ):
        llm.invoke(QUESTION)


def test_a_model_without_a_chat_template_is_refused_unless_one_is_given(tmp_path: Path) -> None:
    bare = save_model(tmp_path, template=None)
    with pytest.raises(errors.ChatTemplateError, match=r"has none.*pass chat_template="):
        ChatAmulet(model=bare).invoke(QUESTION)
    template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    assert ChatAmulet(model=bare, chat_template=template, max_tokens=3).invoke(QUESTION)


def test_a_deadline_ends_a_call(llm: ChatAmulet) -> None:
    with pytest.raises(errors.DeadlineError) as caught:
        llm.invoke(QUESTION, timeout=1e-6, max_tokens=900)
    assert isinstance(caught.value, TimeoutError)


def test_one_failing_call_of_a_batch_leaves_the_others(llm: ChatAmulet) -> None:
    good, bad, also_good = llm.batch([QUESTION, "", QUESTION], return_exceptions=True)
    assert isinstance(bad, errors.EmptyInputError)
    assert good.content == also_good.content == invoke(llm, QUESTION)


def test_a_full_queue_is_refused(tiny: str) -> None:
    llm = ChatAmulet(model=tiny, max_rows=2, max_queue=1, max_tokens=200)

    async def from_outside() -> list[Any]:
        calls = [llm.ainvoke(QUESTION, preference="Be kind.") for _ in range(8)]
        return await asyncio.gather(*calls, return_exceptions=True)

    answers = asyncio.run(from_outside())
    refused = [answer for answer in answers if isinstance(answer, Exception)]
    assert 0 < len(refused) < 8
    for error in refused:
        with pytest.raises(errors.QueueFullError, match="max_queue"):
            raise error


async def test_a_batch_never_fills_the_queue_by_itself(tiny: str) -> None:
    """However many calls it has: each begins when another one has ended."""
    llm = ChatAmulet(model=tiny, max_rows=2, max_queue=3, max_tokens=1, temperature=0.0)
    questions: Any = [QUESTION] * 40
    everything = [
        *llm.batch(questions),
        *await llm.abatch(questions),
        *await llm.abatch(questions, {"max_concurrency": 1000}),
        *[answer for _, answer in llm.batch_as_completed(questions)],
        *[answer async for _, answer in llm.abatch_as_completed(questions)],
    ]
    assert {answer.text for answer in everything} == {llm.invoke(QUESTION).text}
    assert len(everything) == 200
    assert await llm.abatch([]) == llm.batch([]) == []


@pytest.mark.parametrize("value", [0, -1, "many", 0.5])
async def test_a_batch_that_could_never_begin_is_refused(tiny: str, value: Any) -> None:
    llm, config = ChatAmulet(model=tiny), cast("Any", {"max_concurrency": value})
    with pytest.raises(errors.RequestError, match="max_concurrency of the config must be"):
        llm.batch([QUESTION], config)
    with pytest.raises(errors.RequestError, match="max_concurrency of the config must be"):
        await llm.abatch([QUESTION], [config])


@pytest.mark.parametrize(
    ("count", "max_queue"), [(200, 100), pytest.param(5000, 4096, marks=pytest.mark.exhaustive)]
)
async def test_a_batch_of_more_than_may_wait_is_answered(
    tiny: str, count: int, max_queue: int
) -> None:
    with ChatAmulet(model=tiny, dtype="float32", max_queue=max_queue) as llm:
        answers = await llm.abatch([QUESTION] * count, max_tokens=1)
    assert len(answers) == count


@pytest.mark.parametrize(
    ("ours", "theirs", "is_retryable"),
    [
        (errors.ModelNotFoundError, core.ModelNotFoundError, False),
        (errors.RequestError, core.ModelInvalidRequestError, False),
        (errors.ContextLengthError, core.ContextOverflowError, False),
        (errors.QueueFullError, core.ModelRateLimitError, True),
        (errors.DeadlineError, core.ModelTimeoutError, True),
    ],
)
def test_langchain_knows_our_errors_and_which_are_worth_another_try(
    ours: type[core.ModelError], theirs: type[core.ModelError], is_retryable: bool
) -> None:
    assert issubclass(ours, theirs)
    assert issubclass(ours, errors.AmuletError)
    assert ours.is_retryable == is_retryable


# --- what holds itself -------------------------------------------------------


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (errors.ToolError, {"tools": [{"name": "f", "parameters": endless()}]}),
        (errors.SchemaError, {"response_format": {"type": "object", "properties": endless()}}),
        (errors.ConfigurationError, {"chat_template_kwargs": endless()}),
    ],
)
def test_what_holds_itself_is_refused(
    llm: ChatAmulet, kind: type[errors.AmuletError], arguments: dict[str, Any]
) -> None:
    with pytest.raises(kind, match="hold themselves: flatten them"):
        llm.invoke(QUESTION, **arguments)


def test_so_is_a_message_that_does(llm: ChatAmulet) -> None:
    call = AIMessage("", tool_calls=[{"name": "f", "args": endless(), "id": "1"}])
    for messages in ([HumanMessage([{"type": "text", "text": "a", "more": endless()}])], [call]):
        with pytest.raises(errors.RequestError, match="A message may hold"):
            llm.invoke([*messages, HumanMessage(QUESTION)])


@pytest.mark.parametrize("choice", [{}, {"type": None}, {"type": []}, {"type": "nosuch"}, [], 1])
def test_a_choice_of_a_tool_in_no_form_is_refused(llm: ChatAmulet, choice: Any) -> None:
    with pytest.raises(errors.ToolError, match="tool_choice must be"):
        llm.invoke(QUESTION, tool_choice=choice)


# --- Errors that name what is to be mended ---


def called(content: Any, calls: Any) -> list[Any]:
    return [("user", SECRET), {"role": "assistant", "content": content, "tool_calls": calls}]


def call_with(arguments: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}


UNREAD_CALLS = "message 1 of the role 'assistant' has tool calls that can't be read"
MESSAGES: dict[str, tuple[Any, str]] = {
    **{
        f"arguments {arguments!r}": (called(SECRET, [call_with(arguments)]), UNREAD_CALLS)
        for arguments in ("", '{"a":', "[1]", "3", None)
    },
    "a call": (called(None, [SECRET]), UNREAD_CALLS),
    "content beside a call": (
        called(5, [call_with("{}")]),
        "message 1 .* with content of type int",
    ),
    "no id": ([{"role": "tool", "content": SECRET}], "message 0 .* has no 'tool_call_id': add"),
    "no content": ([("user", SECRET), {"role": "user"}], r"message 1 has no 'content': add it"),
    "no role": ([{"content": SECRET}], r"message 0 has no 'role': add it"),
    "a role": ([("user", SECRET), {"role": "usr", "content": SECRET}], r"message 1 has .* 'usr'"),
    "a pair": ([("usr", SECRET)], r"message 0 has the role 'usr': use one of system"),
    "a triple": ([("user", SECRET, SECRET)], "message 0 is of type tuple: use a message"),
    "a number": ([("user", SECRET), 5], "message 1 is of type int: use a message"),
    "content": ([{"role": "user", "content": 5}], "message 0 of the role 'user' .* type int"),
    "one alone": (HumanMessage(SECRET), "this HumanMessage is at most one message: put it in a"),
    "a dict alone": ({"role": "user", "content": SECRET}, "this dict is at most one message: put"),
    "chat": ([("user", SECRET), ChatMessage(SECRET, role="bob")], "role of message 1 .*not 'bob'"),
}


@pytest.mark.parametrize(("given", "told"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_that_cannot_be_read_is_named_and_not_quoted(
    llm: ChatAmulet, given: Any, told: str
) -> None:
    with pytest.raises(errors.RequestError, match=told) as raised:
        llm.invoke(given)
    assert SECRET not in str(raised.value)


async def scorer(messages: Any, answer: Any) -> float:
    return 1.0


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "speculation": ({"speculation": False}, "'lookup' or None, not False: use None to turn it off"),
    "capitals": ({"method": "AMULET"}, "did you mean 'amulet'"),
    "penalty": ({"presence_penalty": math.nan}, "a finite number, not nan: use 0 for none"),
    "timeout": ({"timeout": math.nan}, "'timeout' can't be nan: it must be a finite number"),
    "nats": ({"method": "auto:nats=NaN"}, "nats must be finite and at least 0, not nan"),
}


@pytest.mark.parametrize(("given", "told"), SETTINGS.values(), ids=SETTINGS)
def test_a_wrong_value_is_told_by_the_name_that_it_was_given_by(
    llm: ChatAmulet, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(errors.ConfigurationError, match=told):
        ChatAmulet(**given)
    with pytest.raises(errors.ConfigurationError, match=told):
        llm.invoke(QUESTION, **given)


def test_a_scorer_that_must_be_awaited_is_told_so() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"this one is async.*write it as def"):
        BestOf(2, scorer=scorer)


def test_a_template_that_is_no_jinja_is_to_be_mended(llm: ChatAmulet) -> None:
    with pytest.raises(errors.ChatTemplateError, match=r"must be one that Jinja reads.*Mend it"):
        llm.invoke(QUESTION, chat_template="{{ x")


@pytest.mark.parametrize("number", [np.float32(2.0), np.float64(2.0), np.int64(2)])
def test_numbers_of_numpy_are_strengths(number: Any) -> None:
    assert ChatAmulet(method=number).method == Amulet(strength=2.0)
