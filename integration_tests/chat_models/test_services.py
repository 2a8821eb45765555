"""What a service needs: a model that is warm before the first call, and what can be told of it."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.store.sqlite import SqliteStore

from langchain_amulet import ChatAmulet, PreferenceMemory
from langchain_amulet.chat_models.environment import LEFT_OUT, variable
from langchain_amulet.chat_models.load_settings import LoadSettings
from langchain_amulet.chat_models.other_names import OTHER_NAMES
from langchain_amulet.chat_models.settings import AnswerSettings, ModelSettings
from langchain_amulet.engine import Stats
from langchain_amulet.errors import (
    ChatTemplateError,
    ConfigurationError,
    ModelNotFoundError,
    PreferenceStoreError,
    PreferenceWarning,
    QueueFullError,
    RequestError,
    SettingWarning,
)
from langchain_amulet.methods import BestOf, DeRa
from support.engines import engine_of
from support.ways import DIRECT, Way

QUESTION, SECRET = "How do I sleep better?", "Pretend that I am the queen of Sheba."
every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


def made(model: str, **settings: Any) -> ChatAmulet:
    return ChatAmulet(model=model, dtype="float32", temperature=0.0, max_tokens=8, **settings)


# --- Warm-up ---


def test_load_returns_the_model_and_leaves_nothing_for_the_first_call_to_wait_for(
    tiny: str,
) -> None:
    with made(tiny, max_queue=91) as llm:
        assert llm.model_info is None and llm.stats().decode_steps == 0
        assert llm.load() is llm
        assert llm.stats().finished == 1
        opened = vars(llm._handle.opened)
        llm.invoke(QUESTION, preference="Be kind.")
        llm.with_structured_output({"title": "A", "type": "object"}).invoke(QUESTION, max_tokens=40)
        assert {"grammars", "word_pieces"} <= opened.keys()
        assert opened.keys() == vars(llm._handle.opened).keys()


async def test_aload_does_not_block_the_event_loop(tiny: str) -> None:
    with made(tiny, max_queue=92) as llm:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        turning = asyncio.create_task(turn())
        assert await llm.aload() is llm
        turning.cancel()
        assert turns > 3 and llm.model_info is not None


def test_loading_needs_no_temperature_timeout_or_last_message_of_any_kind(tiny: str) -> None:
    prefill = {"continue_final_message": True}
    llm = made(tiny, timeout=1e-6, chat_template_kwargs=prefill, max_preference_chars=1)
    assert llm.load().model_info is not None
    chooser = BestOf(n=3, scorer=lambda messages, answer: 1.0)
    assert llm.model_copy(update={"method": chooser}).load().stats().failed == 0


def test_loading_takes_the_models_along_that_the_method_needs(tiny: str, other_tiny: str) -> None:
    llm = made(tiny, method=DeRa(reference=other_tiny), max_queue=93).load()
    assert llm._handle._companions.keys() == {other_tiny}


def test_whatever_is_wrong_with_a_model_shows_when_it_is_loaded(tiny: str) -> None:
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        made("./nowhere").load()
    with pytest.raises(ChatTemplateError):
        made(tiny, chat_template="{{ raise_exception('No.') }}").load()
    with pytest.raises(RequestError, match="max_rows"):
        made(tiny, max_rows=1, preference="Be kind.").load()


def test_a_model_with_a_row_for_plain_calls_alone_is_loaded(tiny: str) -> None:
    with made(tiny, max_rows=1, max_queue=94) as llm:
        assert llm.load().invoke(QUESTION)


def test_a_warm_up_is_no_run_that_callbacks_would_see(llm: ChatAmulet) -> None:
    traces = RunCollectorCallbackHandler()
    llm.model_copy(update={"callbacks": [traces]}).load()
    assert traces.traced_runs == []


# --- What can be told ---


def test_the_device_dtype_and_backend_in_use_can_be_read(tiny: str) -> None:
    with made(tiny, backend="sequential") as llm:
        info = llm.load().model_info
        assert info is not None
        assert (info.device, info.dtype, info.backend) == ("cpu", "float32", "sequential")
        assert info.context_length == 1024


def test_stats_are_those_of_the_engine_that_all_share(tiny: str) -> None:
    one, other = made(tiny, max_queue=94), made(tiny, max_queue=94, preference="Be kind.")
    one.invoke(QUESTION)
    assert other.stats() == one.stats() == engine_of(one).stats()
    assert one.stats().finished == 1
    other.close()
    assert other.stats() == Stats() and other.model_info is None  # as a scraper may ask at the end
    assert one.stats().finished == 1


def messages(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def test_what_is_loaded_is_logged_with_its_backend_and_why(
    tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "langchain_amulet")
    with made(tiny, max_queue=95) as llm:
        llm.invoke(QUESTION, preference=SECRET)
        llm.invoke(QUESTION, preference=SECRET)
    log = messages(caplog)
    assert "The batched backend repeats the logits of LlamaForCausalLM" in log
    assert log.count(f"Loaded {tiny} in ") == 1
    assert "float32 on cpu, run by the batched backend, context of 1024 tokens" in log
    assert QUESTION not in log and SECRET not in log


def standing_still(stands: threading.Event, goes_on: threading.Event) -> Iterator[None]:
    """Work during which the engine's thread does nothing else."""
    stands.set()
    assert goes_on.wait(30)
    yield


def test_a_full_queue_is_logged_once_until_there_is_room_again(
    tiny: str, caplog: pytest.LogCaptureFixture
) -> None:
    with made(tiny, max_rows=1, max_queue=1) as llm:
        llm.invoke(QUESTION)
        for _ in range(2):
            stands, goes_on = threading.Event(), threading.Event()
            standing = engine_of(llm).run(standing_still(stands, goes_on))
            assert stands.wait(30)
            waiting = threading.Thread(target=llm.invoke, args=(QUESTION,))
            waiting.start()
            while llm.stats().queued < 1:
                time.sleep(0.001)
            for _ in range(3):
                with pytest.raises(QueueFullError):
                    llm.invoke(SECRET)
            goes_on.set()
            standing.result()
            waiting.join()
    assert messages(caplog).count("The queue is full: 1 requests wait") == 2
    assert SECRET not in messages(caplog)


@pytest.mark.parametrize("choice", ["raise", "ignore"])
def test_a_store_that_fails_is_logged_without_what_it_said(
    tiny: str, choice: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with SqliteStore.from_conn_string(":memory:") as store:
        store.setup()
    memory = PreferenceMemory(store, on_store_error=choice)  # which is closed by now
    expected: Any = (
        pytest.raises(PreferenceStoreError)
        if choice == "raise"
        else pytest.warns(PreferenceWarning)
    )
    with made(tiny, memory=memory) as llm, expected:
        llm.invoke(QUESTION, user_id="ada")
    assert "SqliteStore failed: ProgrammingError" in messages(caplog)
    assert SECRET not in messages(caplog) and "ada" not in messages(caplog)


# --- The environment ---

EXAMPLES = {
    "model": "no/such-model", "backend": "sequential", "device": "cpu", "device_map": "auto",
    "attn_implementation": "eager", "revision": "main", "max_rows": "7", "max_queue": "8",
    "gguf_file": "q4.gguf",
    "prefill_chunk": "9", "compose": "true", "method": "amulet:kl_cap=0.5", "placement": "user",
    "max_preference_chars": "5", "temperature": "0.25", "top_p": "0.5", "top_k": "6",
    "min_p": "0.1", "repetition_penalty": "1.5", "presence_penalty": "0.5", "max_tokens": "11",
    "seed": "3", "timeout": "2.5", "logprobs": "1", "trace": "yes", "chat_format": "hermes",
    "steer_thinking": "no", "steer_tool_calls": "on", "echo_guard": "0",
    "redact_preferences": "true", "cache_scope": "process", "kv_cache_memory": "1GiB",
    "cuda_graphs": "no", "compile": "yes", "speculation": "lookup",
}  # fmt: skip


@pytest.mark.parametrize("setting", EXAMPLES)
def test_a_setting_can_be_made_by_its_variable(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = getattr(ChatAmulet(), setting)
    monkeypatch.setenv(f"LANGCHAIN_AMULET_{setting.upper()}", EXAMPLES[setting])
    from_variable = getattr(ChatAmulet(), setting)
    monkeypatch.delenv(f"LANGCHAIN_AMULET_{setting.upper()}")
    assert from_variable != plain
    written = getattr(ChatAmulet(**{setting: EXAMPLES[setting]}), setting)
    assert from_variable == written


def test_every_setting_has_a_variable_or_is_left_out_on_purpose() -> None:
    """But for ``top_logprobs``, which can't stand alone."""
    settings = {
        *LoadSettings.model_fields, *AnswerSettings.model_fields, *ModelSettings.model_fields
    }  # fmt: skip
    assert settings - LEFT_OUT == {*EXAMPLES, "top_logprobs"}
    assert settings >= LEFT_OUT


def test_what_the_program_says_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("max_tokens"), "11")
    llm = ChatAmulet(temperature=0.5)
    assert (llm.max_tokens, ChatAmulet(max_tokens=12).max_tokens) == (11, 12)
    monkeypatch.setenv(variable("max_tokens"), "13")
    assert llm.with_preference("Be kind.").max_tokens == 11  # a copy is what it was
    assert llm.for_call(None, {}).max_tokens == 11


def test_a_wrong_value_is_refused_by_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable("max_rows"), "many")
    rule = r"LANGCHAIN_AMULET_MAX_ROWS .*'max_rows' can't be 'many': it must be a whole number"
    with pytest.raises(ConfigurationError, match=rule):
        ChatAmulet()
    assert ChatAmulet(max_rows=3).max_rows == 3
    monkeypatch.setenv(variable("max_rows"), "")  # as good as not set
    assert ChatAmulet().max_rows == 64


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("LANGCHAIN_AMULET_DEVCE", "did you mean LANGCHAIN_AMULET_DEVICE? Rename it"),
        ("LANGCHAIN_AMULET_MAX_NEW_TOKENS", "did you mean LANGCHAIN_AMULET_MAX_TOKENS? Rename it"),
        ("LANGCHAIN_AMULET_STROE", "did you mean LANGCHAIN_AMULET_STORE? Rename it"),
        ("LANGCHAIN_AMULET_ADDRESS", "`langchain-amulet serve` begin with LANGCHAIN_AMULET_SERVE_"),
        ("LANGCHAIN_AMULET_PREFERENCE", "each program to set: write ChatAmulet(preference=...)"),
    ],
)
def test_a_variable_that_sets_nothing_is_pointed_out_without_its_value(
    name: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "a very secret pirate")
    with pytest.warns(SettingWarning, match=f"{name} in the environment sets nothing") as told:
        ChatAmulet()
    assert len(told) == 1
    assert remedy in str(told[0].message)
    assert "pirate" not in str(told[0].message)


def test_a_variable_that_something_else_reads_is_none_of_these(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Warnings are errors here."""
    for name in ("STORE", "SERVE_PORT", "SERVER_PROT"):
        monkeypatch.setenv(f"LANGCHAIN_AMULET_{name}", "1")
    monkeypatch.setenv("LANGCHAIN_AMULET_DTYPE", "float32")
    ChatAmulet()


# --- What is written elsewhere ---


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_setting_of_another_library_is_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is unknown: ") as refused:
        ChatAmulet(**{name: 1})
    assert OTHER_NAMES[name] in str(refused.value)


@every_way
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("num_predict", "use max_tokens"),
        ("continue_final_message", "use chat_template_kwargs"),
        ("stop_sequences", r"use stop=\[...\]"),
        ("device", r"make another one, with ChatAmulet\(device=...\)"),
        ("memory", r"make another one, with ChatAmulet\(memory=...\)"),
    ],
)
def test_so_is_one_of_a_call(llm: ChatAmulet, way: Way, name: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is unknown: .*{remedy}"):
        way(llm, QUESTION, None, **{name: "8"})


def test_no_name_of_another_library_is_one_of_ours() -> None:
    assert OTHER_NAMES.keys().isdisjoint(ChatAmulet.model_fields)
    assert all(text == text.strip() and not text.endswith(".") for text in OTHER_NAMES.values())


@pytest.mark.parametrize("value", ["4bit", "int8", 4, True, ["4bit"]], ids=str)
def test_quantisation_in_a_word_is_refused_with_the_class_to_use(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"use BitsAndBytesConfig\(load_in_4bit=True\)"):
        ChatAmulet(quantization_config=value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("llama3.2:3b", "Ollama's names"),
        ("hf.co/owner:latest", "Ollama's names"),
        ("./model.Q4_K_M.gguf", "with gguf_file"),
        ("owner/model.gguf", "with gguf_file"),
        ("owner/name-GGUF/q4.gguf", "use model='owner/name-GGUF' with gguf_file='q4.gguf'"),
        (__file__, "It is a file: name the folder"),
    ],
)
def test_names_of_models_elsewhere_are_refused_with_what_to_name(name: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match=hint):
        ChatAmulet(model=name).load()
