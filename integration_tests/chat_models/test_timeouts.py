"""A call's timeout counts from its start, and whoever is busy, the caller is told in time."""

import asyncio
import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.chat_models.chat_amulet import MOST_LOOKUPS
from langchain_amulet.chat_models.deadline import DEADLINE
from langchain_amulet.errors import ConfigurationError, ContextLengthError, DeadlineError
from langchain_amulet.grammar import constraint
from langchain_amulet.methods import BeamSearch, BestOf
from support.engines import engine_of, wait_until_idle, whole
from support.models import save_model
from support.ways import DIRECT, Way, invoke

QUESTION = "How do I sleep better?"
SOON = 0.3
FAR = 30.0
"""Long before this a caller must be told, however busy the machine."""

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


@pytest.fixture
def gate() -> Iterator[Event]:
    """What slow things wait for: at most until the test is over."""
    event = Event()
    yield event
    event.set()


def refused(call: Callable[[], Any]) -> float:
    """How long it took until a call failed at its deadline."""
    start = time.monotonic()
    with pytest.raises(DeadlineError, match=rf"{SOON:g} s, which counts from"):
        call()
    return time.monotonic() - start


@every_way
def test_a_busy_engine_keeps_no_caller_beyond_the_timeout(
    llm: ChatAmulet, gate: Event, way: Way
) -> None:
    """Such as by a beam search, which the engine does in one piece."""
    invoke(llm, QUESTION)
    busy = engine_of(llm).run(whole(lambda: gate.wait(2 * FAR)))
    assert refused(lambda: way(llm, QUESTION, timeout=SOON)) < FAR
    assert not busy.done()


def test_a_memory_that_hangs_keeps_a_bounded_number_of_threads(
    llm: ChatAmulet, gate: Event
) -> None:
    class Hanging:
        asked = 0

        def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
            if user_id == "ada":
                self.asked += 1
                gate.wait(2 * FAR)
            return (Preference("Keep it short."),)

        async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
            return self.get(user_id)

    memory = Hanging()
    asking = llm.model_copy(update={"memory": memory})
    for _ in range(MOST_LOOKUPS + 20):
        with pytest.raises(DeadlineError):
            asking.invoke(QUESTION, user_id="ada", timeout=0.01)
    assert memory.asked == MOST_LOOKUPS
    gate.set()
    assert asking.invoke(QUESTION, user_id="bob", timeout=FAR)


def test_a_copy_with_another_memory_waits_for_none_that_hangs(llm: ChatAmulet, gate: Event) -> None:
    def hanging(user_id: str) -> str:
        gate.wait(2 * FAR)
        return "Keep it short."

    asking = ChatAmulet(model=llm.model, memory=hanging)
    calls = [Thread(target=_left, args=(asking,)) for _ in range(MOST_LOOKUPS)]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    other = asking.model_copy(
        update={"memory": ChatAmulet(memory={"ada": "Keep it short."}.get).memory}
    )
    assert other.invoke(QUESTION, user_id="ada", timeout=FAR).text
    asking.memory = other.memory
    assert asking.invoke(QUESTION, user_id="ada", timeout=FAR).text


def _left(llm: ChatAmulet) -> None:
    with pytest.raises(DeadlineError, match="memory hadn't said"):
        llm.invoke(QUESTION, user_id="ada", timeout=SOON)


@every_way
def test_the_timeout_counts_the_search_for_a_schema_s_shortest_answer(
    llm: ChatAmulet, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    invoke(llm, QUESTION)
    monkeypatch.setattr(constraint, "SEARCHED", 10**6)  # so that it goes on until its time is over
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 10**6}
    form = {"type": "json_schema", "json_schema": {"name": "many", "schema": schema}}
    assert refused(lambda: way(llm, QUESTION, timeout=SOON, response_format=form)) < FAR


@every_way
def test_the_timeout_counts_the_lookup_of_the_preference(
    llm: ChatAmulet, gate: Event, way: Way
) -> None:
    def slow(user_id: str) -> str:
        gate.wait(2 * FAR)
        return "Keep it short."

    remembering = llm.model_copy(update={"memory": ChatAmulet(memory=slow).memory})
    assert refused(lambda: way(remembering, QUESTION, user_id="ada", timeout=SOON)) < FAR


def test_what_the_lookup_took_is_not_there_for_decoding(llm: ChatAmulet, gate: Event) -> None:
    invoke(llm, QUESTION)
    engine_of(llm).run(whole(lambda: gate.wait(2 * FAR)))

    def slow(user_id: str) -> str:
        time.sleep(1.0)
        return "Keep it short."

    remembering = llm.model_copy(update={"memory": ChatAmulet(memory=slow).memory})
    start = time.monotonic()
    with pytest.raises(DeadlineError):
        remembering.invoke(QUESTION, user_id="ada", timeout=2.0)
    assert time.monotonic() - start < 2.9


async def test_calls_that_are_left_leave_nothing_in_the_engine(
    llm: ChatAmulet, gate: Event
) -> None:
    await llm.ainvoke(QUESTION)
    engine_of(llm).run(whole(lambda: gate.wait(2 * FAR)))
    calls = [llm.ainvoke(QUESTION, timeout=SOON, max_tokens=900) for _ in range(10)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, DeadlineError) for each in found)
    gate.set()
    await wait_until_idle(llm)
    assert engine_of(llm).stats().queued == 0
    assert (await llm.ainvoke(QUESTION)).text


@pytest.mark.parametrize("method", [BeamSearch(2), BestOf(2, scorer=lambda *_: 1.0)])
def test_searches_keep_to_it_too(llm: ChatAmulet, gate: Event, method: Any) -> None:
    invoke(llm, QUESTION)
    engine_of(llm).run(whole(lambda: gate.wait(2 * FAR)))
    call = {"method": method, "temperature": 1.0, "timeout": SOON}
    assert refused(lambda: llm.invoke(QUESTION, **call)) < FAR


def test_scoring_keeps_to_it_too(llm: ChatAmulet, gate: Event) -> None:
    invoke(llm, QUESTION)
    engine_of(llm).run(whole(lambda: gate.wait(2 * FAR)))
    assert refused(lambda: llm.score(QUESTION, AIMessage("Rest."), timeout=SOON)) < FAR


async def test_rendering_that_takes_long_keeps_no_other_call(llm: ChatAmulet) -> None:
    """Those that wait for a thread are told in time; LangChain's own executor stays free."""
    gate = Event()
    await llm.ainvoke(QUESTION)
    workers = llm._handle.workers
    stuck = [workers.submit(lambda: gate.wait(2 * FAR)) for _ in range(100)]
    start = time.monotonic()
    with pytest.raises(DeadlineError):
        await llm.ainvoke(QUESTION, timeout=SOON)
    assert await asyncio.to_thread(lambda: "free") == "free"
    assert time.monotonic() - start < FAR
    gate.set()
    await asyncio.gather(*map(asyncio.wrap_future, stuck))
    assert (await llm.ainvoke(QUESTION, timeout=FAR)).text


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), "soon", [1]])
def test_a_timeout_that_is_none_is_refused_as_before(llm: ChatAmulet, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        llm.invoke(QUESTION, timeout=timeout)


def test_neither_caches_nor_traces_see_the_deadline(llm: ChatAmulet) -> None:
    collector, cache = RunCollectorCallbackHandler(), InMemoryCache()
    cached = llm.model_copy(update={"cache": cache})
    config: Any = {"callbacks": [collector]}
    first = cached.invoke(QUESTION, config, timeout=FAR, preference=Preference("Be kind."))
    again = cached.invoke(QUESTION, config, timeout=FAR, preference=Preference("Be kind."))
    assert list(llm.stream(QUESTION, config, timeout=FAR))
    assert first.content == again.content
    assert len(cache._cache) == 1
    assert DEADLINE not in f"{cache._cache} {collector.traced_runs}"


# --- Length ---


@pytest.mark.parametrize("text", [" " * 2_000_000 + "x", "word " * 400_000, "語" * 500_000])
def test_a_message_far_beyond_the_context_is_refused_at_once(llm: ChatAmulet, text: str) -> None:
    invoke(llm, QUESTION)
    start = time.process_time()
    with pytest.raises(ContextLengthError, match="characters of the messages"):
        llm.invoke(text)
    with pytest.raises(ContextLengthError, match="characters of the messages"):
        llm.score(text, "Rest.")
    assert time.process_time() - start < 5.0


SPACES = " " * 4_000_000
"""What a tokenizer takes for one word, and half a minute for."""

TOOL = {
    "type": "function",
    "function": {"name": "f", "description": SPACES, "parameters": {"type": "object"}},
}
BLOCK = {"type": "text", "text": "a b"}
CALL = AIMessage("", tool_calls=[{"name": "f", "args": {"a": SPACES}, "id": "1"}])
ENUM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [SPACES]}}}

ELSEWHERE: dict[str, Callable[[ChatAmulet], Any]] = {
    "an answer": lambda llm: llm.invoke([("user", "a"), ("ai", f"{SPACES}b"), ("user", "c")]),
    "a call": lambda llm: llm.invoke([("user", "a"), CALL, ToolMessage("b", tool_call_id="1")]),
    "many messages": lambda llm: llm.invoke([("user", "a"), ("ai", "b")] * 2_000),
    "many blocks": lambda llm: llm.invoke([HumanMessage([BLOCK] * 20_000)]),
    "a tool": lambda llm: llm.invoke("a", tools=[TOOL]),
    "a schema": lambda llm: llm.invoke("a", response_format=ENUM),
    "a scored answer": lambda llm: llm.score("a", f"{SPACES}b"),
    "a scored call": lambda llm: llm.score("a", CALL),
}


@pytest.mark.parametrize("call", ELSEWHERE.values(), ids=ELSEWHERE)
def test_so_is_what_is_as_long_anywhere_else(llm: ChatAmulet, call: Callable[..., Any]) -> None:
    invoke(llm, QUESTION)
    start = time.process_time()
    with pytest.raises(ContextLengthError, match="characters"):
        call(llm)
    assert time.process_time() - start < 10.0


def test_a_long_text_that_a_template_leaves_out_is_looked_at_in_little_time(
    llm: ChatAmulet,
) -> None:
    invoke(llm, QUESTION)
    start = time.process_time()
    assert llm.invoke([HumanMessage(QUESTION, name=SPACES)]).text
    assert time.process_time() - start < 10.0


def test_a_long_text_that_a_tokenizer_makes_short_is_answered(tmp_path: Any) -> None:
    """Here by a template that isn't given it, as some don't write earlier thoughts."""
    with ChatAmulet(model=save_model(tmp_path), max_tokens=3) as llm:
        thoughts = AIMessage("", additional_kwargs={"reasoning_content": "hm " * 100_000})
        assert llm.invoke([("user", QUESTION), thoughts, ("user", QUESTION)]).content
