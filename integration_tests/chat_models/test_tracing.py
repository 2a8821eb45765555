"""What traces are told of a call: which model, how it was set, what it cost."""

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import ConfigurationError
from support.usage import counted
from support.ways import DIRECT, Way, invoke

QUESTION = "How do I sleep better?"

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


def traced(llm: ChatAmulet, **call: Any) -> Any:
    """The run of one call."""
    collector = RunCollectorCallbackHandler()
    invoke(llm, QUESTION, {"callbacks": [collector]}, **call)
    (run,) = collector.traced_runs
    return run


def test_langsmith_is_told_of_the_models_settings(llm: ChatAmulet) -> None:
    assert (
        traced(llm).metadata.items()
        >= {
            "ls_provider": "amulet",
            "ls_model_type": "chat",
            "ls_model_name": llm.model,
            "ls_temperature": 0.0,
            "ls_max_tokens": 12,
        }.items()
    )
    assert "ls_stop" not in traced(llm).metadata
    assert "langchain-amulet" in traced(llm).metadata["lc_versions"]


def test_it_is_told_of_the_calls_own_where_there_are_any(llm: ChatAmulet, other_tiny: str) -> None:
    run = traced(llm, model=other_tiny, temperature=0.5, max_tokens=3, stop=["a"])
    assert (
        run.metadata.items()
        >= {
            "ls_model_name": other_tiny,
            "ls_temperature": 0.5,
            "ls_max_tokens": 3,
            "ls_stop": ["a"],
        }.items()
    )


def test_stops_of_the_model_hold_until_a_call_sets_others_or_none(tiny: str) -> None:
    llm = ChatAmulet(model=tiny, stop=["a", "b"])
    assert llm._get_ls_params()["ls_stop"] == ["a", "b"]
    assert llm._get_ls_params(stop=["c"])["ls_stop"] == ["c"]
    assert "ls_stop" not in llm._get_ls_params(stop=[])


def test_traces_show_every_setting_as_plain_data(llm: ChatAmulet) -> None:
    copy = llm.with_preference(Preference("Be kind.", strength="subtle"))
    shown = traced(copy).extra["invocation_params"]
    assert shown["method"] == "auto"
    assert shown["model_id"] == llm.model
    assert shown["_type"] == "chat-amulet"
    written = traced(copy).serialized["kwargs"]
    assert written["preference"] == [{"text": "Be kind.", "strength": "subtle", "weight": 1.0}]
    assert written["method"] == "auto"
    assert "quantization_config" not in written


@every_way
def test_usage_callbacks_hear_of_every_way_of_calling(llm: ChatAmulet, way: Way) -> None:
    usage = UsageMetadataCallbackHandler()
    way(llm, QUESTION, {"callbacks": [usage]}, preference="Be kind.")
    answer = llm.invoke(QUESTION, preference="Be kind.")
    assert usage.usage_metadata.keys() == {llm.model}
    assert counted(usage.usage_metadata[llm.model]) == counted(answer.usage_metadata)


class Order(BaseCallbackHandler):
    """What is heard of a call, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("start")

    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("token")

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("end")

    def on_llm_error(self, *args: Any, **kwargs: Any) -> None:
        self.heard.append("error")


@every_way
def test_callbacks_hear_the_start_the_tokens_and_the_end_once(llm: ChatAmulet, way: Way) -> None:
    order = Order()
    way(llm, QUESTION, {"callbacks": [order]})
    assert [event for event in order.heard if event != "token"] == ["start", "end"]
    is_streamed = "stream" in way.__name__ or "events" in way.__name__
    assert order.heard.count("token") == (len(list(llm.stream(QUESTION))) if is_streamed else 0)


@every_way
def test_callbacks_hear_of_an_error_once(llm: ChatAmulet, way: Way) -> None:
    order = Order()
    with pytest.raises(ConfigurationError):
        way(llm, QUESTION, {"callbacks": [order]}, max_tokens=0)
    assert order.heard == ["start", "error"]
