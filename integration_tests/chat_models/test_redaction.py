"""With ``redact_preferences`` what users prefer stays out of traces, and in the cache's key."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, wrap_model_call
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.load import dumps
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, Runnable
from langchain_core.tracers import LangChainTracer, Run
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langsmith import Client

from langchain_amulet import ChatAmulet, Preference, errors
from langchain_amulet.chat_models.description import REDACTED
from support.engines import engine_of
from support.ways import DIRECT, INSIDE, Way, invoke

QUESTION = "How do I sleep better?"
SECRET = "Mention my gallstones kindly."

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)
every_way_inside = pytest.mark.parametrize("way", INSIDE.values(), ids=INSIDE)


class Recorder(Client):
    """LangSmith's client, which keeps what it would send."""

    def __init__(self) -> None:
        super().__init__("https://nowhere.invalid", api_key="none", auto_batch_tracing=False)
        self.sent: list[dict[str, Any]] = []

    def create_run(self, *args: Any, **kwargs: Any) -> None:
        self.sent.append({"args": args, **kwargs})

    def update_run(self, *args: Any, **kwargs: Any) -> None:
        self.sent.append({"args": args, **kwargs})


class Known:
    """A memory in which everybody prefers the same."""

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return (Preference(SECRET),)

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        return self.get(user_id)


class Traces:
    """All that two tracers see: LangChain's own, and the one that sends to LangSmith."""

    def __init__(self) -> None:
        self.collector = RunCollectorCallbackHandler()
        self.client = Recorder()
        self.callbacks = [self.collector, LangChainTracer(client=self.client)]

    def runs(self, kind: str | None = None) -> list[Run]:
        """The runs, with those inside them."""

        def walk(run: Run) -> Iterator[Run]:
            yield run
            for child in run.child_runs:
                yield from walk(child)

        found = [run for root in self.collector.traced_runs for run in walk(root)]
        return [run for run in found if kind in (None, run.run_type)]

    @property
    def of_models(self) -> str:
        """What the model's own runs show."""
        sent = [run for run in self.client.sent if run.get("run_type") == "llm"]
        return repr([self.shown(run) for run in self.runs("chat_model")]) + repr(sent)

    @property
    def of_everything(self) -> str:
        return repr([self.shown(run) for run in self.runs()]) + repr(self.client.sent)

    @staticmethod
    def shown(run: Run) -> dict[str, Any]:
        names = ("name", "serialized", "extra", "inputs", "outputs", "error", "events", "tags")
        return {name: getattr(run, name) for name in names}


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
def private(tiny: str) -> Iterator[ChatAmulet]:
    with ChatAmulet(
        model=tiny, dtype="float32", temperature=0.0, max_tokens=12, redact_preferences=True
    ) as model:
        yield model


@every_way
@pytest.mark.parametrize("place", ["argument", "configurable", "metadata", "memory", "constructor"])
def test_no_way_of_calling_shows_it(
    private: ChatAmulet, traces: Traces, way: Way, place: str
) -> None:
    config: Any = {"callbacks": traces.callbacks}
    if place == "argument":
        answer = way(private, QUESTION, config, preference=SECRET)
    elif place == "memory":
        knowing = private.model_copy(update={"memory": Known()})
        answer = way(knowing, QUESTION, {**config, "configurable": {"user_id": "ada"}})
    elif place == "constructor":
        answer = way(private.with_preference(SECRET), QUESTION, config)
    else:
        answer = way(private, QUESTION, {**config, place: {"preference": SECRET}})
    assert answer == invoke(private, QUESTION, preference=SECRET) != invoke(private, QUESTION)
    assert REDACTED in traces.of_models
    assert SECRET not in traces.of_everything


def test_without_the_option_traces_show_it(llm: ChatAmulet, traces: Traces) -> None:
    invoke(llm, QUESTION, {"callbacks": traces.callbacks}, preference=SECRET)
    assert SECRET in traces.of_models
    assert REDACTED not in traces.of_everything


def test_traces_still_tell_whether_there_is_a_preference(
    private: ChatAmulet, traces: Traces
) -> None:
    invoke(private.bind(), QUESTION, {"callbacks": traces.callbacks})
    assert REDACTED not in traces.of_everything


@every_way_inside
def test_nothing_around_the_model_shows_a_preference_object(
    private: ChatAmulet, traces: Traces, way: Way
) -> None:
    preference = Preference(SECRET)
    way(
        private,
        QUESTION,
        {"callbacks": traces.callbacks, "configurable": {"preference": preference}},
    )
    assert len(traces.runs()) > 1 or way is INSIDE["in_a_function"]
    assert REDACTED in traces.of_models
    assert SECRET not in traces.of_everything


@every_way_inside
@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_texts_in_a_config_are_hidden_in_the_models_runs_alone(
    private: ChatAmulet, traces: Traces, way: Way, place: str
) -> None:
    """What stands in ``metadata`` is traced by LangChain, and texts in ``configurable`` by its
    tracer for LangSmith: in the runs of the chains and graphs around the model they are seen.
    """
    way(private, QUESTION, {"callbacks": traces.callbacks, place: {"preference": SECRET}})
    assert REDACTED in traces.of_models
    assert SECRET not in traces.of_models
    assert SECRET in traces.of_everything


def test_an_agents_middleware_keeps_it_out_of_every_run(
    private: ChatAmulet, traces: Traces
) -> None:
    @wrap_model_call
    def prefer(request: ModelRequest, handler: Any) -> Any:
        return handler(request.override(model_settings={"preference": SECRET}))

    agent = create_agent(private, tools=[], middleware=[prefer])
    answer = agent.invoke({"messages": [("user", QUESTION)]}, {"callbacks": traces.callbacks})
    assert answer["messages"][-1].content == invoke(private, QUESTION, preference=SECRET)
    assert REDACTED in traces.of_models
    assert SECRET not in traces.of_everything


BINDINGS: dict[str, Callable[[ChatAmulet], Runnable[Any, Any]]] = {
    "bind": lambda llm: llm.bind(preference=SECRET),
    "configurable field": lambda llm: llm.configurable_fields(
        preference=ConfigurableField(id="style")
    ).with_config(configurable={"style": Preference(SECRET)}),
    "retry": lambda llm: llm.bind(preference=SECRET).with_retry(),
    "fallbacks": lambda llm: llm.bind(preference=SECRET).with_fallbacks([llm]),
    "structure": lambda llm: llm.with_structured_output(
        {"title": "a", "type": "object"}, preference=SECRET, max_tokens=40
    ),
}


@pytest.mark.parametrize("name", BINDINGS)
def test_no_binding_shows_it(private: ChatAmulet, traces: Traces, name: str) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | BINDINGS[name](private)
    chain.invoke({"question": QUESTION}, {"callbacks": traces.callbacks})
    assert REDACTED in traces.of_models
    assert SECRET not in traces.of_everything


REFUSED: dict[str, Any] = {
    "too long": SECRET * 100,
    "several": ["Be kind.", SECRET * 100],
    "an object": {"text": SECRET, "loud": True},
    "no text": {"text": [SECRET]},
    "no preference": {SECRET},
    "a weight": {"text": SECRET, "weight": -1},
}


@pytest.mark.parametrize("name", REFUSED)
def test_errors_do_not_quote_it(private: ChatAmulet, traces: Traces, name: str) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | private
    for preference in (REFUSED[name], [REFUSED[name]]):
        config: Any = {"callbacks": traces.callbacks, "configurable": {"preference": [preference]}}
        with pytest.raises(errors.PreferenceError) as caught:
            chain.invoke({"question": QUESTION}, config)
        assert SECRET not in str(caught.value)
    assert any(run.error for run in traces.runs())
    assert SECRET not in traces.of_everything


def test_a_failing_call_does_not_show_it(private: ChatAmulet, traces: Traces) -> None:
    config: Any = {"callbacks": traces.callbacks}
    with pytest.raises(errors.ContextLengthError):
        invoke(private, QUESTION, config, preference=SECRET, max_tokens=5000)
    with pytest.raises(errors.ConfigurationError):
        invoke(private, QUESTION, config, preference=SECRET, temprature=1)
    assert len([run for run in traces.runs() if run.error]) == 2
    assert SECRET not in traces.of_everything


def test_the_cache_still_tells_users_apart(private: ChatAmulet) -> None:
    set_llm_cache(InMemoryCache())
    try:
        wishes = [SECRET, "Be kind.", None]
        copies = [private.with_preference(wish) for wish in wishes]
        before = engine_of(private).stats().admitted
        for _ in range(2):
            answers = [invoke(private, QUESTION, preference=wish) for wish in wishes]
            assert len(set(answers)) == 3
            assert [invoke(copy, QUESTION) for copy in copies] == answers
            together = asyncio.run(
                private.abatch(
                    [QUESTION] * 3, [{"configurable": {"preference": wish}} for wish in wishes]
                )
            )
            assert [answer.content for answer in together] == answers
        assert engine_of(private).stats().admitted == before + 3
    finally:
        set_llm_cache(None)


def test_an_answer_does_not_tell_it(private: ChatAmulet) -> None:
    answer = private.invoke(QUESTION, preference=SECRET, trace=True, logprobs=True)
    assert SECRET not in repr((answer.response_metadata, answer.additional_kwargs))


def test_a_copy_shows_what_it_is_set_to(llm: ChatAmulet, traces: Traces) -> None:
    open_book = llm.with_preference(SECRET)
    invoke(open_book, QUESTION)  # which has LangChain keep what it knows of the model
    closed_book = open_book.model_copy(update={"redact_preferences": True})
    invoke(closed_book, QUESTION, {"callbacks": traces.callbacks})
    assert SECRET not in traces.of_everything


def test_who_writes_the_model_down_writes_its_preference_too(private: ChatAmulet) -> None:
    assert SECRET in dumps(private.with_preference(SECRET))
