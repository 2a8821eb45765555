"""Requests by OpenAI's own types: each of its fields is known, and none is ignored."""

from typing import Any, get_type_hints

import pytest
from openai.types.chat import completion_create_params
from pydantic import ValidationError

from amulet_server import read_settings
from amulet_server.protocol.call_arguments import call_arguments, tool_arguments
from amulet_server.protocol.chat_request import ChatRequest
from amulet_server.protocol.conversation import to_messages
from amulet_server.protocol.errors import ApiError, as_api_error, invalid
from amulet_server.protocol.message_input import AssistantInput
from amulet_server.protocol.steering_request import steering_arguments
from amulet_server.styles import StyleRegistry
from amulet_server.transport.requests import fields_at
from langchain_amulet.errors import PreferenceError, ToolError
from langchain_amulet.methods import Amulet
from langchain_amulet.preferences import Preference

OPENAI = get_type_hints(completion_create_params.CompletionCreateParamsStreaming).keys()
REFUSED: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "function_call": "auto",
    "functions": [{"name": "look"}],
    "moderation": {"model": "omni-moderation-latest"},
    "prediction": {"type": "content", "content": "Hello!"},
    "prompt_cache_key": "a",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "verbosity": "low",
    "web_search_options": {},
}
"""Fields of OpenAI's that are unknown here, and a value of each as OpenAI takes it."""

NOTHING: dict[str, tuple[Any, Any]] = {
    "frequency_penalty": (0, 0.5),
    "logit_bias": ({}, {"1": 5}),
    "modalities": (["text"], ["text", "audio"]),
    "service_tier": ("auto", "priority"),
    "store": (False, True),
}
"""Fields that may ask for nothing: a value that does, and one that asks for what can't be done."""

MESSAGES = [{"role": "user", "content": "Hello!"}]
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("look", "jump")]
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "object"}},
}

ARGUMENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "logprobs": ({"logprobs": True}, {"logprobs": True, "top_logprobs": None}),
    "max_completion_tokens": ({"max_completion_tokens": 5}, {"max_tokens": 5}),
    "max_tokens": ({"max_tokens": 5}, {"max_tokens": 5}),
    "parallel_tool_calls": (
        {"tools": TOOLS, "parallel_tool_calls": False},
        {"tools": TOOLS, "tool_choice": None, "parallel_tool_calls": False},
    ),
    "presence_penalty": ({"presence_penalty": 0.5}, {"presence_penalty": 0.5}),
    "seed": ({"seed": 3}, {"seed": 3}),
    "stop": ({"stop": "x"}, {"stop": ["x"]}),
    "temperature": ({"temperature": 0.5}, {"temperature": 0.5}),
    "tool_choice": (
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": "required"},
    ),
    "tools": ({"tools": TOOLS}, {"tools": TOOLS, "tool_choice": None}),
    "top_logprobs": (
        {"logprobs": True, "top_logprobs": 2},
        {"logprobs": True, "top_logprobs": 2},
    ),
    "top_p": ({"top_p": 0.5}, {"top_p": 0.5}),
}
"""Fields that are passed on to the model: fields of a request, and the arguments of its call."""

ELSEWHERE = {
    "messages": "to_messages, below",
    "metadata": "steering_arguments, below; the user in integration_tests' test_users",
    "model": "the style, below; other names in test_openai_clients",
    "n": "test_openai_clients",
    "response_format": "below, and in test_openai_clients",
    "safety_identifier": "test_users",
    "stream": "test_openai_clients",
    "stream_options": "test_openai_clients",
    "user": "test_users",
}
"""Fields that are honoured in other ways, and where that is tested."""
REGISTRY = StyleRegistry.of(read_settings())


def request(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "pocket", "messages": MESSAGES, **fields})


def refusal(**fields: Any) -> ApiError:
    with pytest.raises((ValidationError, ApiError)) as caught:
        request(**fields)
    if isinstance(caught.value, ApiError):
        return caught.value
    complaints = [{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()]
    return invalid(
        complaints,
        {"model": "pocket", "messages": MESSAGES, **fields},
        lambda place: fields_at([ChatRequest], place[1:]),
    )


def steering(**fields: Any) -> dict[str, Any]:
    return steering_arguments(request(**fields), REGISTRY)


def test_every_field_of_openai_s_is_honoured_or_refused() -> None:
    known = [REFUSED, NOTHING, ARGUMENTS, ELSEWHERE]
    assert sorted(field for table in known for field in table) == sorted(OPENAI)


@pytest.mark.parametrize("field", REFUSED)
def test_what_can_t_be_done_is_refused_by_its_name(field: str) -> None:
    error = refusal(**{field: REFUSED[field]})
    assert (error.status, error.detail.param) == (400, field)
    assert error.detail.code == "unknown_parameter"


@pytest.mark.parametrize(
    "field, ours",
    [("num_predict", "max_tokens"), ("stop_sequences", "stop"), ("random_seed", "seed")],
)
def test_a_field_of_another_server_s_is_told_by_what_it_is_here(field: str, ours: str) -> None:
    error = refusal(**{field: 3})
    assert error.detail.code == "unknown_parameter"
    assert f"was asked for: use {ours}" in error.detail.message


@pytest.mark.parametrize("field", ["num_beams", "load_in_4bit"])
def test_what_python_alone_can_say_is_no_remedy_for_a_request(field: str) -> None:
    assert "leave it out" in refusal(**{field: 3}).detail.message


@pytest.mark.parametrize(
    "field, near", [("prefrence", "preference"), ("max_token", "max_tokens"), ("limit", None)]
)
def test_a_field_that_is_misspelled_is_told_by_the_nearest_one_of_its_place(
    field: str, near: str | None
) -> None:
    told = refusal(**{field: 1}).detail.message
    assert ("did you mean" in told) == (near is not None)
    assert near is None or f"did you mean '{near}'?" in told


@pytest.mark.parametrize(
    "fields, param, near",
    [
        ({"preference": {"text": "a", "strenght": 1}}, "preference.strenght", "strength"),
        ({"preference": ["a", {"text": "a", "wieght": 1}]}, "preference[1].wieght", "weight"),
        (
            {"stream": True, "stream_options": {"include_usge": True}},
            "stream_options.include_usge",
            "include_usage",
        ),
        ({"messages": [{**MESSAGES[0], "nmae": "x"}]}, "messages[0].nmae", "name"),
        (
            {"response_format": {**SCHEMA, "json_schema": {**SCHEMA["json_schema"], "strct": 1}}},
            "response_format.json_schema.strct",
            "strict",
        ),
    ],
)
def test_a_field_within_another_that_is_misspelled_is_told_by_the_nearest_one_there(
    fields: dict[str, Any], param: str, near: str
) -> None:
    error = refusal(**fields)
    assert (error.detail.code, error.detail.param) == ("unknown_parameter", param)
    assert f"did you mean '{near}'?" in error.detail.message


def test_a_field_within_another_isn_t_told_by_one_of_the_whole() -> None:
    message = {"role": "user", "content": "x", "tool": 1}
    assert "did you mean" not in refusal(messages=[message]).detail.message


@pytest.mark.parametrize("field", NOTHING)
def test_what_asks_for_nothing_passes_and_everything_else_is_refused(field: str) -> None:
    nothing, something = NOTHING[field]
    assert call_arguments(request(**{field: nothing})) == call_arguments(request())
    error = refusal(**{field: something})
    assert (error.status, str(error.detail.param).partition("[")[0]) == (400, field)


@pytest.mark.parametrize("field", ARGUMENTS)
def test_what_is_passed_on_is_an_argument_of_the_call(field: str) -> None:
    fields, arguments = ARGUMENTS[field]
    assert field in fields
    assert call_arguments(request(**fields)) == arguments


def test_a_schema_is_passed_on_as_it_came() -> None:
    passed = call_arguments(request(response_format=SCHEMA))["response_format"]
    assert passed["json_schema"]["schema"] == {"type": "object"}


@pytest.mark.parametrize(
    "field, value, param",
    [
        ("frequency_penalty", 0.5, "frequency_penalty"),
        ("logit_bias", {"1": 5}, "logit_bias"),
        ("store", True, "store"),
        ("modalities", ["text", "audio"], "modalities[1]"),
        ("temperature", "1", "temperature"),
        ("temperature", 3, "temperature"),
        ("n", 0, "n"),
        ("seed", 2**70, "seed"),
        ("messages", [], "messages"),
        ("messages", [{"role": "king", "content": "x"}], "messages[0]"),
        ("messages", [{"role": "user", "content": "x", "mood": 1}], "messages[0].mood"),
        ("messages", [{"role": "user"}], "messages[0].content"),
        (
            "messages",
            [{"role": "user", "content": [{"type": "image"}]}],
            "messages[0].content[0].type",
        ),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "a"}},
            "response_format.json_schema.schema",
        ),
        ("top_logprobs", 2, "top_logprobs"),
        ("stream_options", {}, "stream_options"),
        ("stop", [""], "stop[0]"),
    ],
)
def test_a_value_that_can_t_be_is_refused_by_its_field(field: str, value: Any, param: str) -> None:
    error = refusal(**{field: value})
    assert error.status == 400
    assert error.detail.param == param


@pytest.mark.parametrize(
    "field, value, rule",
    [
        ("temperature", "hot", "it must be a number"),
        ("temperature", 3, "it must be at most 2"),
        ("n", 1.5, "it must be a whole number"),
        ("stream", "yes", "it must be true or false"),
        ("messages", [], "it must be at least 1 long"),
        ("messages", "hi", "it must be a list"),
        ("messages", [{"content": "x"}], "it must be an object with 'role'"),
        ("metadata", [], "it must be an object"),
    ],
)
def test_errors_say_what_a_value_must_be_as_json_has_it(field: str, value: Any, rule: str) -> None:
    assert rule in refusal(**{field: value}).detail.message


def test_what_the_package_says_in_python_is_said_in_json() -> None:
    told = as_api_error(PreferenceError("Not True: use None for none, but it is 'None'."))
    assert told.detail.message == "Not true: use null for none, but it is 'None'."


@pytest.mark.parametrize("method", ["best_of", "proxy_tuning", "nothing:strength=1", "stong"])
def test_an_error_about_a_method_names_those_that_calls_may_ask_for_alone(method: str) -> None:
    with pytest.raises(ApiError) as caught:
        steering(preference="formal", method=method)
    assert caught.value.detail.param == "method"
    told = caught.value.detail.message
    assert "base, pref, auto, amulet, linear_alignment, context_steering, subtle" in told
    assert told.count("proxy_tuning") == (method == "proxy_tuning")


@pytest.mark.parametrize(("field", "value"), [("frequency_penalty", 0.5), ("logit_bias", {"1": 5})])
def test_what_the_model_can_do_nothing_about_is_refused_for_that_reason(
    field: str, value: Any
) -> None:
    assert "the model can't do that: leave it out" in refusal(**{field: value}).detail.message


def test_errors_on_requests_quote_nothing_of_them() -> None:
    secret = "a very secret pirate"
    for fields in (
        {"preference": {"text": secret, "strength": [secret]}},
        {"messages": [{"role": secret, "content": secret}]},
        {"temperature": secret},
        {"stop": [1, secret]},
    ):
        assert secret not in refusal(**fields).json


def test_an_answer_of_openai_s_own_can_be_sent_back() -> None:
    from openai.types.chat import ChatCompletionMessage

    answer = ChatCompletionMessage(role="assistant", content="Hello!")
    AssistantInput.model_validate(answer.model_dump())
    assert set(ChatCompletionMessage.model_fields) <= set(AssistantInput.model_fields)


def test_calls_and_results_become_langchain_s() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    broken = {"id": "2", "type": "function", "function": {"name": "look", "arguments": "{"}}
    answer = {"role": "assistant", "tool_calls": [call, broken], "reasoning_content": "Hm."}
    result = {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "a"}]}
    messages = to_messages(request(messages=[*MESSAGES, answer, result]).messages)
    assert [message.type for message in messages] == ["human", "ai", "tool"]
    said: Any = messages[1]
    assert said.tool_calls[0]["args"] == {"at": 1}
    assert said.invalid_tool_calls[0]["args"] == "{"
    assert said.additional_kwargs == {"reasoning_content": "Hm."}
    assert messages[2].text == "a"


@pytest.mark.parametrize(
    "choice, names, told",
    [
        (None, ["look", "jump"], None),
        ("auto", ["look", "jump"], "auto"),
        ("none", ["look", "jump"], "none"),
        ("required", ["look", "jump"], "required"),
        (TOOLS[0], ["look", "jump"], TOOLS[0]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": TOOLS[1:]}},
            ["jump"],
            "required",
        ),
    ],
    ids=["left out", "auto", "none", "required", "named", "allowed"],
)
def test_every_choice_of_tools_is_passed_on(choice: Any, names: list[str], told: Any) -> None:
    arguments = tool_arguments(request(tools=TOOLS, tool_choice=choice))
    assert [tool["function"]["name"] for tool in arguments["tools"]] == names
    assert arguments["tool_choice"] == told


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"parallel_tool_calls": True},
        {
            "tools": TOOLS[:1],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": TOOLS},
            },
        },
    ],
    ids=["no tools", "no tools at a time", "not among them"],
)
def test_a_choice_of_tools_that_there_aren_t_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ToolError):
        tool_arguments(request(**fields))


def test_a_request_says_what_it_prefers_in_any_of_these_ways() -> None:
    short, concise = (Preference("Keep it short."),), (Preference.trait("concise"),)
    assert steering() == {}
    assert steering(preference="Keep it short.") == {"preference": short}
    assert steering(preference={"text": "Keep it short."}) == {"preference": short}
    assert steering(preference=["concise"]) == {"preference": concise}
    assert steering(metadata={"preference": "concise"}) == {"preference": concise}
    assert steering(model="pocket@concise") == {"preference": concise}


def test_a_style_s_name_is_that_style_in_any_of_these_ways_and_in_an_object_it_is_words() -> None:
    friendly = Preference.preset("friendly")
    for way in (
        {"preference": "friendly"},
        {"preference": ["friendly"]},
        {"metadata": {"preference": "friendly"}},
        {"model": "pocket@friendly"},
    ):
        assert steering(**way) == {"preference": friendly}
    assert steering(preference={"text": "friendly"}) == {"preference": (Preference("friendly"),)}


@pytest.mark.parametrize("text", ["Notepad++, vim", "Be kind, formal ++", "friendly, consise"])
def test_the_text_of_an_object_is_words_as_they_stand(text: str) -> None:
    assert steering(preference={"text": text}) == {"preference": (Preference(text),)}
    with pytest.raises(ApiError, match=r"object's text|did you mean") as caught:
        steering(preference=text)
    assert caught.value.detail.param == "preference"


def test_the_method_of_a_style_that_is_named_counts_behind_the_request_s_own() -> None:
    styles = {"pirate": {"preference": "Arr!", "method": "strong"}, "mild": {"preference": "Hm."}}
    own = StyleRegistry.of(read_settings(styles=styles))

    def method(**fields: Any) -> Any:
        return steering_arguments(request(**fields), own).get("method")

    strong = Amulet(strength="strong")
    assert method(preference="pirate") == method(model="pocket@pirate") == strong
    assert method(model="pocket@pirate", preference="mild") == strong
    assert method(preference="pirate", method="subtle") == Amulet(strength="subtle")
    assert method(preference="pirate", guidance_scale=1.5) == Amulet(strength=0.5)
    assert method(preference="mild") is None


@pytest.mark.parametrize(
    "model, near",
    [("poket", "pocket"), ("pocket@frendly", "pocket@friendly"), ("friendly", "pocket@friendly")],
)
def test_a_model_that_is_misspelled_is_told_by_the_nearest_one(model: str, near: str) -> None:
    with pytest.raises(ApiError, match=f"here, not '{model}': did you mean '{near}'") as told:
        steering(model=model)
    assert (told.value.status, told.value.detail.code) == (404, "model_not_found")


def test_of_a_model_that_can_be_no_name_nothing_is_told() -> None:
    with pytest.raises(ApiError) as told:
        steering(model="a very secret pirate")
    assert "pirate" not in told.value.detail.message


def test_the_nearest_of_these_ways_counts() -> None:
    said = {"metadata": {"preference": "formal"}, "model": "pocket@creative"}
    assert steering(preference="concise", **said)["preference"][0].text == "Keep it short."
    assert steering(**said)["preference"][0].text == "Please use a formal tone."


@pytest.mark.parametrize("nothing", [None, "", []])
def test_a_request_may_turn_off_what_is_stored(nothing: Any) -> None:
    assert steering(preference=nothing, model="pocket@concise") == {"preference": ()}


def test_a_guidance_scale_is_one_more_than_a_strength_and_1_asks_for_nothing() -> None:
    assert steering(guidance_scale=3.0) == {"method": Amulet(strength=2.0)}
    assert steering(guidance_scale=1) == {}


OWN_STRENGTHS: tuple[dict[str, Any], ...] = (
    {"preference": "creative +"},
    {"preference": "friendly, concise ++"},
    {"preference": ["formal", {"text": "Be kind.", "strength": 1}]},
    {"metadata": {"preference": "warm --"}},
    {"model": "pocket@friendly"},
)
"""Ways to prefer nothing but what has a strength of its own."""


@pytest.mark.parametrize("way", OWN_STRENGTHS)
@pytest.mark.parametrize(
    "field, value",
    [
        ("guidance_scale", 2.0),
        ("method", "strong"),
        ("method", 1.5),
        ("method", " 0.5"),
        ("metadata", {"method": "strong"}),
    ],
)
def test_a_strength_that_would_be_no_preference_s_is_refused_by_its_field(
    way: dict[str, Any], field: str, value: Any
) -> None:
    both = {**way.get("metadata", {}), **value} if field == "metadata" else value
    with pytest.raises(ApiError, match="leave it out") as caught:
        steering(**{**way, field: both})
    assert (caught.value.status, caught.value.detail.param) == (400, field)


@pytest.mark.parametrize("way", OWN_STRENGTHS)
@pytest.mark.parametrize(
    "fields",
    [
        {"method": "pref"},
        {"method": "amulet"},
        {"method": "amulet:kl_cap=0.5"},
        {"guidance_scale": 1},
        {"method": "strong", "compose": True},
        {"guidance_scale": 2.0, "negative_prompt": "Be rude."},
    ],
)
def test_what_does_something_to_preferences_with_strengths_of_their_own_is_taken(
    way: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert steering(**way, **fields)["preference"]


def test_the_strength_of_a_style_in_the_model_s_name_may_be_that_of_nothing() -> None:
    """It is there for what the style prefers, which this call doesn't."""
    own = StyleRegistry.of(read_settings(styles={"pirate": {"preference": "Arr!", "method": 2}}))
    called = request(model="pocket@pirate", preference="concise ++")
    assert steering_arguments(called, own)["preference"] == (Preference.trait("concise", 2),)


def test_a_strength_is_taken_where_one_preference_has_none_or_there_is_none() -> None:
    assert steering(preference=["formal", "Be kind."], method="strong")["method"]
    assert steering(preference=None, guidance_scale=2.0)["method"]
    assert steering(guidance_scale=2.0)["method"]


def test_a_negative_prompt_is_pushed_away_from_on_top_of_what_is_stored() -> None:
    found = steering(negative_prompt="Be rude.", guidance_scale=2.0)
    assert found["preference"] == (Preference("Be rude.", strength=-2.0),)
    assert found["compose"] is True
    both = steering(negative_prompt="Be rude.", model="pocket@concise")["preference"]
    assert [each.text for each in both] == ["Keep it short.", "Be rude."]
    with pytest.raises(ApiError) as caught:
        steering(negative_prompt="Be rude.", guidance_scale=0.5)
    assert caught.value.detail.param == "negative_prompt"


@pytest.mark.parametrize("name", ["preferences", "Preference", "userid", "methods"])
def test_a_name_in_metadata_that_is_nearly_right_is_pointed_out(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        steering(metadata={name: "x"})
    assert caught.value.detail.param == "metadata"


def test_other_names_in_metadata_mean_nothing() -> None:
    assert steering(metadata={"chat": "12", "purpose": "test"}) == {}


def test_a_method_that_calls_may_not_ask_for_is_refused_by_its_field() -> None:
    with pytest.raises(ApiError) as caught:
        steering(method="pad:model=x")
    assert caught.value.detail.param == "method"


def test_a_preference_over_its_limits_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        steering(preference="a\x00b")
    assert (caught.value.detail.param, caught.value.detail.code) == (
        "preference",
        "invalid_preference",
    )


def test_a_strength_that_there_isn_t_is_the_preference_s() -> None:
    with pytest.raises(ApiError) as caught:
        steering(preference={"text": "Be kind.", "strength": "storng"})
    assert caught.value.detail.param == "preference"
