"""What middleware asks a model for its own purposes isn't answered in a user's style."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.callbacks import BaseCallbackHandler

from langchain_amulet import ChatAmulet
from langchain_amulet.memory import as_memory
from support.ways import DIRECT, Way

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)
QUESTION = "How do I sleep better?"
INTERNAL = {"lc_source": "summarization"}


class Watch(BaseCallbackHandler):
    """Remembers by what calls were steered, the internal ones apart."""

    def __init__(self) -> None:
        self.internal: list[Any] = []
        self.others: list[Any] = []

    def on_chat_model_start(
        self, *_: Any, invocation_params: Any, metadata: Any, **__: Any
    ) -> None:
        seen = self.internal if "lc_source" in metadata else self.others
        seen.append(invocation_params.get("preference"))


def test_a_summary_is_plain_and_the_answer_is_steered(llm: ChatAmulet) -> None:
    watch = Watch()
    summing = SummarizationMiddleware(
        model=llm, trigger=("messages", 3), keep=("messages", 1), summary_prompt="{messages}"
    )
    config: Any = {"configurable": {"preference": "Keep it short."}, "callbacks": [watch]}
    talk: Any = [("user", "Hi"), ("ai", "Hello"), ("user", QUESTION)]
    create_agent(llm, [], middleware=[summing]).invoke({"messages": talk}, config)
    assert watch.internal == [()]
    assert [bool(preference) for preference in watch.others] == [True]


@every_way
def test_neither_config_nor_user_nor_model_steers_an_internal_call(
    llm: ChatAmulet, way: Way
) -> None:
    memory = as_memory({"ada": "Be kind."}.get)
    plain = way(llm, QUESTION, {})
    for fields in ({"preference": "Be kind."}, {"memory": memory}, {"compose": True}):
        own = ChatAmulet(**{**{"model": llm.model, "dtype": "float32"}, **settings(llm), **fields})
        config: Any = {"configurable": {"user_id": "ada"}, "metadata": INTERNAL}
        if "memory" not in fields:
            config = {"configurable": {"preference": "Be kind."}, "metadata": INTERNAL}
        assert way(own, QUESTION, config) == plain


@every_way
def test_an_internal_call_that_asks_is_steered(llm: ChatAmulet, way: Way) -> None:
    steered = way(llm, QUESTION, {}, preference="Be kind.")
    assert way(llm, QUESTION, {"metadata": INTERNAL}, preference="Be kind.") == steered


def settings(llm: ChatAmulet) -> dict[str, Any]:
    return {"temperature": llm.temperature, "max_tokens": llm.max_tokens, "seed": llm.seed}
