"""Weights are loaded at first use, shared by all who use them, and let go."""

import copy
import gc
import pickle
import threading
import time
import weakref
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import ConfigurableField

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.model_handle import ModelHandle
from langchain_amulet.engine import LoadedModel, load, model_runtime
from langchain_amulet.errors import ConfigurationError, EngineClosedError
from langchain_amulet.methods import BeamSearch, BestOf, Method
from langchain_amulet.waiting.threads import in_thread
from support.engines import engine_of, whole
from support.models import save_model
from support.ways import DIRECT, Way, invoke

QUESTION = "How do I sleep better?"
every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


SETTINGS = {"dtype": "float32", "temperature": 0.0, "max_tokens": 8}


def make(model: str, **fields: object) -> ChatAmulet:
    return ChatAmulet(model=model, **{**SETTINGS, **fields})


def test_making_models_loads_nothing() -> None:
    began = time.perf_counter()
    models = [ChatAmulet(model="no/such-model") for _ in range(10)]
    assert time.perf_counter() - began < 1.0
    assert len(models) == 10


def test_models_of_one_name_share_the_weights(tiny: str) -> None:
    first, second = make(tiny), make(tiny, preference="Be kind.", temperature=0.5)
    invoke(first, QUESTION)
    assert first._handle.opened.engine is second._handle.opened.engine


def test_models_loaded_in_different_ways_do_not(tiny: str) -> None:
    assert engine_of(make(tiny)) is not engine_of(ChatAmulet(model=tiny, dtype="bfloat16"))


def test_many_threads_load_a_model_once(tiny: str) -> None:
    models = [make(tiny) for _ in range(8)]
    threads = [threading.Thread(target=invoke, args=(llm, QUESTION)) for llm in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(llm._handle.opened.engine) for llm in models}) == 1


@every_way
def test_a_closed_model_refuses_with_a_clear_error(tiny: str, way: Way) -> None:
    with make(tiny) as llm:
        invoke(llm, QUESTION)
    with pytest.raises(EngineClosedError, match=r"was closed: make a new ChatAmulet"):
        way(llm, QUESTION)


def test_a_closed_model_is_named_as_it_was_named() -> None:
    llm = make("pocket")
    llm.close()
    for closed in (llm, copy.deepcopy(llm)):
        closed.close()
        with pytest.raises(EngineClosedError, match="the one for 'pocket' was closed"):
            closed.invoke(QUESTION)


def test_closing_one_leaves_the_others_on_the_same_weights(tiny: str) -> None:
    first, second = make(tiny), make(tiny)
    expected = invoke(first, QUESTION)
    invoke(second, QUESTION)
    first.close()
    first.close()
    assert invoke(second, QUESTION) == expected


def test_closing_the_last_one_frees_weights_and_thread(tiny: str) -> None:
    llm = make(tiny, max_queue=77)  # as nobody else has it, so that nobody holds the weights
    threads = set(threading.enumerate())
    invoke(llm, QUESTION, preference="Be kind.")
    started = set(threading.enumerate()) - threads
    assert started
    weights = weakref.ref(llm._handle.opened.engine)
    llm.close()
    gc.collect()
    assert weights() is None
    for thread in started:
        thread.join(timeout=5)
    assert not any(thread.is_alive() for thread in started)


def test_a_copied_or_pickled_model_answers_the_same_and_takes_no_weights_along(tiny: str) -> None:
    llm = make(tiny, preference="Be kind.", method="subtle")
    expected = invoke(llm, QUESTION)
    pickled = pickle.dumps(llm)
    assert len(pickled) < 10_000
    for other in (pickle.loads(pickled), copy.deepcopy(llm), llm.model_copy(deep=True)):
        assert invoke(other, QUESTION) == expected


def test_names_of_models_that_there_are_not_leave_nothing(tiny: str) -> None:
    def handles() -> int:
        gc.collect()
        return sum(type(each) is ModelHandle for each in gc.get_objects())

    with ChatAmulet(model=tiny, max_tokens=1) as llm:
        llm.invoke(QUESTION, model="pocket")
        before = handles()
        for number in range(5):
            with pytest.raises(ConfigurationError):
                llm.invoke(QUESTION, model=f"no/such/{number}")
        assert handles() == before


def test_a_call_may_name_another_model(tiny: str, other_tiny: str) -> None:
    llm, other = make(tiny), make(other_tiny)
    answer = llm.invoke(QUESTION, model=other_tiny)
    assert answer.content == invoke(other, QUESTION) != invoke(llm, QUESTION)
    assert answer.response_metadata["model_name"] == other_tiny


def test_fields_set_by_the_config_do_not_load_the_weights_again(tiny: str) -> None:
    with ChatAmulet(model=tiny, max_tokens=2) as llm:
        warmer = llm.configurable_fields(temperature=ConfigurableField(id="temperature"))
        for temperature in (0.0, 0.5):
            warmer.invoke("Hello!", {"configurable": {"temperature": temperature}})
        assert engine_of(llm).stats().finished == 2


LONG = {"max_tokens": 900, "temperature": 1.5, "seed": 16}  # 900 tokens by either model


def begun(llm: ChatAmulet, way: Way, **call: object) -> Future[str]:
    """A call in a thread of its own, whose answer has begun."""
    answer = in_thread(partial(way, llm, QUESTION, **LONG, **call))
    while not engine_of(llm).stats().decode_steps:
        time.sleep(0.001)
    return answer


@every_way
def test_closing_the_last_one_fails_what_is_under_way(tiny: str, way: Way) -> None:
    llm = make(tiny, max_queue=79)
    threads = engine_threads()
    answer = begun(llm, way)
    (own,) = engine_threads() - threads
    llm.close()
    with pytest.raises(EngineClosedError, match="was closed before this"):
        answer.result(timeout=30)
    assert not own.is_alive()


@pytest.mark.parametrize("method", [BeamSearch(2), BestOf(2, scorer=lambda *_: 1.0)])
def test_closing_fails_searches_that_are_under_way(tiny: str, method: Method) -> None:
    llm, gate = make(tiny, max_queue=79), threading.Event()
    engine = engine_of(llm)
    engine.run(whole(lambda: gate.wait(30)))
    answer = in_thread(partial(invoke, llm, QUESTION, method=method, **LONG))
    while not (engine.stats().queued or engine._scheduler._jobs):
        time.sleep(0.001)
    closing = in_thread(llm.close)
    while not engine._scheduler._closed:
        time.sleep(0.001)
    gate.set()
    closing.result(timeout=30)
    with pytest.raises(EngineClosedError):
        answer.result(timeout=30)


def test_closing_fails_a_call_of_another_model_by_name(tiny: str, other_tiny: str) -> None:
    llm, twin = make(tiny, max_queue=79), make(other_tiny, max_queue=79)
    answer = begun(twin, lambda _, *args, **call: invoke(llm, *args, **call), model=other_tiny)
    twin.close()  # which isn't the last
    assert not answer.done()
    llm.close()
    with pytest.raises(EngineClosedError):
        answer.result(timeout=30)


def test_what_is_under_way_goes_on_while_another_holds_the_weights(tiny: str) -> None:
    llm, other = make(tiny, max_queue=79), make(tiny, max_queue=79)
    answer = begun(llm, invoke)
    llm.close()
    assert answer.result(timeout=60)
    other.close()


def test_a_model_that_is_closed_while_it_loads_fails_its_calls(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads, goes_on = threading.Event(), threading.Event()

    def slow(*args: Any) -> LoadedModel:
        loads.set()
        assert goes_on.wait(30)
        return load(*args)

    monkeypatch.setattr(model_runtime, "load", slow)
    llm = make(tiny, max_queue=80)
    answer = in_thread(partial(invoke, llm, QUESTION))
    assert loads.wait(30)
    llm.close()  # which doesn't wait
    assert not answer.done()
    goes_on.set()
    with pytest.raises(EngineClosedError, match="was closed before this call ended"):
        answer.result(timeout=30)


def test_who_asks_for_a_model_that_was_just_closed_gets_a_new_one(tiny: str) -> None:
    llm = make(tiny, max_queue=79)
    invoke(llm, QUESTION)
    held = llm._handle.opened.engine
    llm.close()
    with make(tiny, max_queue=79) as again:
        assert invoke(again, QUESTION)
        assert again._handle.opened.engine is not held


async def test_a_model_can_be_closed_by_an_async_block(tiny: str) -> None:
    async with make(tiny, max_queue=79) as llm:
        assert (await llm.ainvoke(QUESTION)).text
    with pytest.raises(EngineClosedError, match="make a new ChatAmulet"):
        await llm.ainvoke(QUESTION)


def engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "amulet-engine"}


def test_closing_the_last_user_of_a_model_ends_its_thread(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()  # closing must be enough: no thread may wait for the next collection
    try:
        before = engine_threads()
        llm = ChatAmulet(model=save_model(tmp_path), max_tokens=2)
        llm.invoke(QUESTION)
        (own,) = engine_threads() - before
        llm.close()
        own.join(timeout=5)
        assert not own.is_alive()
    finally:
        gc.enable()
