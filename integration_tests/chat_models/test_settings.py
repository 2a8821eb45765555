"""Every setting does what it says, set on the model or by a call."""

from typing import Any

import pytest

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.load_settings import LoadSettings
from langchain_amulet.chat_models.settings import AnswerSettings
from langchain_amulet.errors import AmuletError, ConfigurationError, EngineClosedError
from support.engines import engine_of
from support.usage import counted
from support.ways import invoke

QUESTION = "How do I sleep better?"

# A hot draw differs from the greedy answer, unless something else leaves one token to draw from.
HOT = {"temperature": 3.0, "seed": 1}


def make(llm: ChatAmulet, **fields: Any) -> ChatAmulet:
    names = ("model", "dtype", "temperature", "max_tokens")
    return ChatAmulet(**{**{name: getattr(llm, name) for name in names}, **fields})


@pytest.mark.parametrize(
    "narrow", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str
)
def test_each_way_of_narrowing_a_draw_leads_to_the_likeliest_tokens(
    llm: ChatAmulet, narrow: dict[str, Any]
) -> None:
    greedy = invoke(llm, QUESTION)
    assert invoke(llm, QUESTION, **HOT) != greedy
    assert invoke(llm, QUESTION, **{**HOT, **narrow}) == greedy
    assert invoke(make(llm, **{**HOT, **narrow}), QUESTION) == greedy


@pytest.mark.parametrize(
    "change",
    [
        {"preference": "Be kind."},
        {"temperature": 3.0, "seed": 1},
        {"repetition_penalty": 5.0},
        {"presence_penalty": 50.0},
        {"max_tokens": 3},
        {"chat_template": "{% for m in messages %}{{ m.content }}\n{% endfor %}"},
        {"preference": "Be kind.", "method": "pref"},
        {"preference": "Be kind.", "placement": "user"},
        {"preference": "Be kind.", "preference_template": "Please: {preference}"},
    ],
    ids=str,
)
def test_a_setting_has_the_same_effect_on_the_model_and_by_a_call(
    llm: ChatAmulet, change: dict[str, Any]
) -> None:
    without = {name: value for name, value in change.items() if name == "preference"}
    baseline = invoke(llm, QUESTION, **(without if len(change) > 1 else {}))
    changed = invoke(llm, QUESTION, **change)
    assert changed == invoke(make(llm, **change), QUESTION) != baseline


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("preference", "Be kind."),
        ("preference", ["Be kind.", {"text": "Keep it short.", "weight": 0.5}]),
        ("preference", None),
        ("method", "balanced"),
        ("method", 1.5),
        ("temperature", 1),
        ("stop", "."),
        ("max_tokens", 3),
        ("memory", lambda user_id: "Be kind."),
        ("streaming", True),
        ("redact_preferences", True),
    ],
)
def test_a_setting_can_be_changed_later_to_what_a_new_model_would_have(
    llm: ChatAmulet, name: str, value: Any
) -> None:
    changed = make(llm)
    invoke(changed, QUESTION)  # which has LangChain keep what it knows of the model
    setattr(changed, name, value)
    expected = make(llm, **{name: value})
    assert type(getattr(changed, name)) is type(getattr(expected, name))
    assert changed.model_dump() == expected.model_dump()
    assert changed._serialized == expected._serialized
    assert engine_of(changed) is engine_of(llm)
    assert invoke(changed, QUESTION, seed=1) == invoke(expected, QUESTION, seed=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("temperature", -1.0),
        ("method", "nope"),
        ("preference", 7),
        ("preference", ""),
        ("preference_template", "Please."),
        ("top_logprobs", 2),
        ("temprature", 0.5),
    ],
)
def test_what_a_new_model_would_refuse_cannot_be_set_later(
    llm: ChatAmulet, name: str, value: Any
) -> None:
    before = llm.model_dump()
    with pytest.raises(AmuletError) as of_a_new_one:
        make(llm, **{name: value})
    with pytest.raises(type(of_a_new_one.value)) as of_this_one:
        setattr(llm, name, value)
    assert str(of_this_one.value) == str(of_a_new_one.value)
    assert llm.model_dump() == before


@pytest.mark.parametrize("name", LoadSettings.model_fields)
def test_what_is_loaded_cannot_be_changed_later(llm: ChatAmulet, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} is fixed .*ChatAmulet\({name}=...\)"):
        setattr(llm, name, getattr(llm, name))


def test_a_closed_model_stays_closed_when_it_is_changed(tiny: str) -> None:
    llm = ChatAmulet(model=tiny)
    llm.close()
    llm.preference = "Be kind."  # type: ignore[assignment]
    with pytest.raises(EngineClosedError):
        llm.invoke(QUESTION)


def test_variables_reach_the_chat_template(llm: ChatAmulet) -> None:
    template = "{{ messages[0].content }}{{ ' Think hard.' if enable_thinking }}"
    thinking = {"chat_template_kwargs": {"enable_thinking": True}}
    plain = llm.invoke(QUESTION, chat_template=template).usage_metadata
    thought = llm.invoke(QUESTION, chat_template=template, **thinking).usage_metadata
    assert plain and thought
    assert thought["input_tokens"] > plain["input_tokens"]
    settled = make(llm, chat_template=template, **thinking).invoke(QUESTION)
    assert counted(settled.usage_metadata) == counted(thought)


def test_a_preference_in_the_users_message_shares_the_prefill_of_the_conversation(
    llm: ChatAmulet,
) -> None:
    conversation = [("system", "Be exact. " * 30), ("user", "Hello!"), ("ai", "Hi."), QUESTION]

    def prefilled(placement: str) -> int:
        before = engine_of(llm).stats().prefill_tokens
        answer = llm.invoke(conversation, preference="Be kind.", placement=placement)
        assert answer.usage_metadata
        asked = answer.usage_metadata["input_token_details"]
        cost = engine_of(llm).stats().prefill_tokens - before
        assert cost < asked["base"] + asked["preference"]
        return cost - asked["base"]

    assert 0 < prefilled("user") < 40
    assert prefilled("user") < prefilled("system")


def test_every_loading_option_reaches_the_loader() -> None:
    fields: dict[str, Any] = {
        "backend": "sequential",
        "device": "cpu",
        "dtype": "float32",
        "device_map": {"": "cpu"},
        "quantization_config": object(),
        "attn_implementation": "eager",
        "revision": "v1",
        "trust_remote_code": True,
        "use_safetensors": False,
        "cuda_graphs": False,
        "compile": True,
        "max_rows": 3,
        "max_queue": 5,
        "prefill_chunk": 7,
        "kv_cache_memory": 2**30,
        "gguf_file": "model.gguf",
    }
    of_servers = {"base_url", "api_key"}
    assert fields.keys() == LoadSettings.model_fields.keys() - {"model"} - of_servers
    options = ChatAmulet(**fields).load_options
    expected = {**fields, "device_map": (("", "cpu"),)}
    assert {name: getattr(options, name) for name in fields} == expected


def test_a_server_s_address_and_key_reach_the_loader_and_nobody_else() -> None:
    url = "http://127.0.0.1:1/v1"
    llm = ChatAmulet(backend="vllm", base_url=url, api_key="very-secret")
    assert (llm.load_options.base_url, llm.load_options.api_key) == (url, "very-secret")
    shown = (repr(llm), llm.model_dump_json(), repr(llm.load_options), str(llm._identifying_params))
    assert not any("very-secret" in text for text in shown)


@pytest.mark.parametrize("settings", [{"backend": "vllm"}, {"base_url": "http://host/v1"}])
def test_a_server_s_address_goes_with_its_backend(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="set both or none"):
        ChatAmulet(**settings)


@pytest.mark.parametrize("backend", ["batch", "examples.extending.own_backend:load", None, 3])
def test_a_backend_that_is_not_registered_is_refused_at_once(backend: Any) -> None:
    with pytest.raises(ConfigurationError, match="backend must be"):
        ChatAmulet(backend=backend)


def test_code_that_comes_with_a_model_is_not_run_unless_asked_for() -> None:
    assert ChatAmulet().trust_remote_code is False
    assert ChatAmulet().load_options.trust_remote_code is False


def test_models_loaded_by_other_options_answer_alike(llm: ChatAmulet) -> None:
    expected = invoke(llm, QUESTION, preference="Be kind.")
    for options in (
        {"attn_implementation": "eager"},
        {"device_map": "cpu"},
        {"prefill_chunk": 5},
        {"backend": "sequential"},
    ):
        other = make(llm, **options)
        assert engine_of(other) is not engine_of(llm)
        assert invoke(other, QUESTION, preference="Be kind.") == expected


def test_the_names_of_settings_stay() -> None:
    names = (
        "preference method placement preference_template temperature top_p top_k min_p "
        "repetition_penalty max_tokens stop seed timeout chat_template chat_template_kwargs"
    )
    assert AnswerSettings.model_fields.keys() >= set(names.split())
    assert ChatAmulet.model_fields.keys() >= {"model", "streaming", "max_retries"}


TOO_LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "variables": ({"chat_template_kwargs": {f"a{i}": 1 for i in range(10_001)}}, "10000 values"),
    "values of one": ({"chat_template_kwargs": {"a": [1] * 1_000_000}}, "10000 values"),
    "a template of preferences": ({"preference_template": "{preference}" * 200_000}, "2000"),
    "a method's text": ({"method": 'amulet:a=,"' * 200_000}, "2000 characters"),
    "streams": ({"preference": ["a"] * 1000}, "at most max_rows, here 64"),
    "a tool": ({"tools": [{"name": "f", "parameters": {"enum": [1] * 100_001}}]}, "100000 values"),
}


@pytest.mark.parametrize(("given", "told"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_costs_more_time_than_its_length_has_a_bound(
    llm: ChatAmulet, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(AmuletError, match=told):
        llm.invoke("Hello!", **given)


def test_lists_that_share_their_lists_count_as_long_as_they_are_written(llm: ChatAmulet) -> None:
    value: Any = []
    for _ in range(60):
        value = [value, value]
    for given in (
        {"chat_template_kwargs": {"a": value}},
        {"tools": [{"name": "f", "parameters": {"default": value}}]},
        {"response_format": {"type": "object", "default": value}},
    ):
        with pytest.raises(AmuletError, match="values together"):
            llm.invoke("Hello!", **given)
