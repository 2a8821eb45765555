"""An engine's own life: its thread, its end, forks, and what it tells of itself."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
import weakref
from typing import Any

import pytest
import torch

from langchain_amulet.engine import Engine, HuggingFaceModel
from langchain_amulet.engine.backends.huggingface.kv_cache import KVCache, KVCacheLayer
from langchain_amulet.errors import ConfigurationError, EngineClosedError, GenerationError
from support.engines import whole
from support.tiny_engine import ENDLESS, ids_of, request_for, wait_until


def test_closing_fails_what_is_under_way_and_what_comes_after(model: Any) -> None:
    engine = Engine(HuggingFaceModel(model))
    answer = engine.submit(request_for(max_tokens=ENDLESS))
    next(answer)
    engine.close()
    with pytest.raises(EngineClosedError):
        list(answer)
    with pytest.raises(EngineClosedError):
        engine.submit(request_for())
    engine.close()


def test_an_unused_engine_starts_no_thread(model: Any) -> None:
    before = threading.active_count()
    with Engine(HuggingFaceModel(model)):
        assert threading.active_count() == before


def test_an_engine_that_nobody_holds_is_collected_and_its_thread_ends(model: Any) -> None:
    others = set(threading.enumerate())
    engine = Engine(HuggingFaceModel(model))
    ids_of(engine, request_for())
    gone = weakref.ref(engine)
    new = set(threading.enumerate()) - others
    (thread,) = [each for each in new if each.name == "amulet-engine"]
    del engine
    gc.collect()
    assert gone() is None
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_stream_keeps_its_engine_alive(model: Any) -> None:
    answer = Engine(HuggingFaceModel(model)).submit(request_for(max_tokens=20))
    gc.collect()
    assert len(list(answer)) == 20


def test_no_caller_waits_for_ever_when_even_letting_go_fails(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # the thread does die of it
    answers = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    for answer in answers:
        next(answer)
    with monkeypatch.context() as patch:
        patch.setattr(KVCache, "free", lost)
        patch.setattr(KVCacheLayer, "update", lost)
        for answer in answers:
            with pytest.raises(GenerationError, match="the device is lost"):
                list(answer)
        with pytest.raises(EngineClosedError):
            wait_until(lambda: ids_of(engine, request_for()))


def test_a_thread_that_could_not_start_is_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError, match="new thread"):
            engine.submit(request_for())
    assert engine.stats().queued == 0
    assert len(ids_of(engine, request_for())) == 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_fork_of_the_process_is_told_instead_of_waiting_for_ever(engine: Engine) -> None:
    ids_of(engine, request_for())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python says that it is unwise, which is the point
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            engine.close()
            engine.submit(request_for())
        except EngineClosedError as error:
            os._exit(0 if "fork" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(ids_of(engine, request_for())) == 8


def test_an_idle_engine_does_not_step(engine: Engine) -> None:
    ids_of(engine, request_for())
    steps = engine.stats().decode_steps
    time.sleep(0.05)
    assert engine.stats().decode_steps == steps


def test_between_two_passes_the_model_is_as_it_was(engine: Engine, model: Any) -> None:
    seen = []
    answer = engine.submit(request_for(max_tokens=ENDLESS))
    for _ in range(3):
        next(answer)
        seen.append(engine.run(whole(lambda: len(model.lm_head._forward_hooks))).result())
    assert seen == [0, 0, 0]


@pytest.mark.parametrize("thing", [None, "pocket", torch.nn.Linear(2, 2)], ids=lambda it: str(it))
def test_what_is_no_model_is_refused_by_name(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"loaded model, not {type(thing).__name__}"):
        Engine(thing)
    with pytest.raises(ConfigurationError, match=f"{type(thing).__name__} lacks .*config"):
        HuggingFaceModel(thing)


def test_stats_add_up(engine: Engine) -> None:
    for seed in range(4):
        ids_of(engine, request_for(seed))
    stats = engine.stats()
    assert (stats.admitted, stats.finished, stats.failed, stats.cancelled) == (4, 4, 0, 0)
    assert (stats.active_requests, stats.rows, stats.queued) == (0, 0, 0)
