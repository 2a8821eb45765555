"""Every way in which a LangChain program calls a chat model, as one function each."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

from langchain_core._api import LangChainBetaWarning
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.graph import END, START, MessagesState, StateGraph

QUESTION = "How do I sleep better?"

Way = Callable[..., str]
"""``way(llm, question, config, **kwargs)``: the answer's text."""


@contextmanager
def beta() -> Iterator[None]:
    """LangChain warns that v3 of its events is in beta."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        yield


def invoke(
    llm: Runnable, question: str, config: RunnableConfig | None = None, **kwargs: Any
) -> str:
    return str(llm.invoke(question, config, **kwargs).content)


def ainvoke(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    return str(asyncio.run(llm.ainvoke(question, config, **kw)).content)


def stream(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    return "".join(chunk.content for chunk in llm.stream(question, config, **kw))


def astream(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    async def run() -> str:
        return "".join([chunk.content async for chunk in llm.astream(question, config, **kw)])

    return asyncio.run(run())


def batch(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    (answer,) = llm.batch([question], config, **kw)
    return str(answer.content)


def abatch(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    (answer,) = asyncio.run(llm.abatch([question], config, **kw))
    return str(answer.content)


def events_v2(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    async def run() -> str:
        return "".join(
            [
                event["data"]["chunk"].content
                async for event in llm.astream_events(question, config, version="v2", **kw)
                if event["event"] == "on_chat_model_stream"
            ]
        )

    return asyncio.run(run())


def sync_events_v3(
    llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any
) -> str:
    with beta():
        return str(llm.stream_events(question, config, version="v3", **kw).text)


def events_v3(llm: Runnable, question: str, config: RunnableConfig | None = None, **kw: Any) -> str:
    async def run() -> str:
        stream = await llm.astream_events(question, config, version="v3", **kw)
        try:
            return str(await stream.text)
        finally:  # callbacks are told after the reader
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

    with beta():
        return asyncio.run(run())


class Tokens(BaseCallbackHandler):
    """Gathers what callbacks hear."""

    def __init__(self) -> None:
        self.text = ""

    def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.text += token


DIRECT: dict[str, Way] = {
    way.__name__: way
    for way in (
        invoke,
        ainvoke,
        stream,
        astream,
        batch,
        abatch,
        events_v2,
        sync_events_v3,
        events_v3,
    )
}
"""Ways to call a model by itself."""


def chain(llm: Runnable, question: str, config: RunnableConfig | None = None) -> str:
    return invoke(_chain(llm), question, config)


def chain_stream(llm: Runnable, question: str, config: RunnableConfig | None = None) -> str:
    return stream(_chain(llm), question, config)


def chain_astream(llm: Runnable, question: str, config: RunnableConfig | None = None) -> str:
    return astream(_chain(llm), question, config)


def in_a_function(llm: Runnable, question: str, config: RunnableConfig | None = None) -> str:
    """The model is called without a config, inside of a runnable that has one."""
    return str(RunnableLambda(lambda text: llm.invoke(text).content).invoke(question, config))


def graph(
    llm: Runnable, question: str, config: RunnableConfig | None = None, context: Any = None
) -> str:
    answered = _graph(llm).invoke(_asked(question), config, context=context)
    return str(answered["messages"][-1].content)


def graph_messages(
    llm: Runnable, question: str, config: RunnableConfig | None = None, context: Any = None
) -> str:
    stream = _graph(llm).stream(_asked(question), config, context=context, stream_mode="messages")
    return "".join(chunk.content for chunk, _ in stream)


def async_graph(
    llm: Runnable, question: str, config: RunnableConfig | None = None, context: Any = None
) -> str:
    answering = _async_graph(llm).ainvoke(_asked(question), config, context=context)
    return str(asyncio.run(answering)["messages"][-1].content)


GRAPHS: dict[str, Way] = {way.__name__: way for way in (graph, graph_messages, async_graph)}
"""Ways to call a model as a part of a graph, which may be given a context."""

INSIDE: dict[str, Way] = {
    way.__name__: way for way in (chain, chain_stream, chain_astream, in_a_function)
} | GRAPHS
"""Ways to call a model as a part of something."""


class Asked(TypedDict):
    messages: list[tuple[str, str]]


def _asked(question: str) -> Asked:
    return {"messages": [("user", question)]}


def _chain(llm: Runnable) -> Runnable:
    return ChatPromptTemplate.from_messages([("user", "{question}")]) | llm


def _graph(llm: Runnable) -> Any:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [llm.invoke(state["messages"])]}

    return _compiled(answer)


def _async_graph(llm: Runnable) -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    return _compiled(answer)


def _compiled(answer: Callable[..., Any]) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile()
