"""Answers to tasks, many at a time, each on disk as soon as it is there.

The rows of the engine stay full: as soon as one answer is whole the next is asked for. Answers
are written by the event loop's one thread, in the order in which they come.

This module knows ChatAmulet's public face and journals: nothing of scores or of what was asked
before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import count, groupby
from typing import ClassVar

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from amulet_evals.config import Decoding
from amulet_evals.run.grid import Task
from amulet_evals.run.journal import Journal
from amulet_evals.run.records import AnswerRecord, Failure, answer, traced_tokens
from langchain_amulet import ChatAmulet
from langchain_amulet.errors import EngineClosedError, EngineError, RequestError
from langchain_amulet.methods import Guidance, Method, SearchPlan
from langchain_amulet.methods.method import plan_of, search_of
from langchain_amulet.steering import Plan


@dataclass(frozen=True)
class OneSample(Method):
    """A search's samples, without the search.

    Attributes:
        method: The search.
    """

    name: ClassVar[str] = "one_sample"
    method: Method

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """How each sample is decoded."""
        return plan_of(self.method, preferences)


@dataclass(frozen=True)
class Decoder:
    """Who answers, and where the answers go.

    Attributes:
        llm: The chat model.
        methods: Methods by their labels.
        decoding: How to decode.
        answers: Where answers and failures are written.
        traces: Where tokens are written.
        traced: Questions whose answers' tokens are.
    """

    llm: ChatAmulet
    methods: Mapping[str, Method]
    decoding: Decoding
    answers: Journal
    traces: Journal
    traced: Collection[str]

    def warm_up(self) -> None:
        """Load the model and what the methods need: what is wrong with them is found now.

        So is what is wrong with the settings, of which some methods can't have all. Who ranks the
        samples of a search isn't asked, as it may know nothing but the run's own questions.
        """
        for method in self.methods.values():
            alone = OneSample(method) if isinstance(search_of(method), SearchPlan) else method
            call = {**self.decoding.call(alone), "max_tokens": 1}
            self.llm.invoke("Hello!", preference="Be kind.", **call)

    async def decode(
        self, tasks: Iterable[Task], concurrency: int, on_done: Callable[[int], None]
    ) -> None:
        """Answer all of them, so many at a time, and no two methods at once: they are timed.

        Args:
            tasks: What is to be answered, method by method.
            concurrency: How many at a time.
            on_done: Called with how many are done, whenever another one is.
        """
        done = count(1)

        async def one(task: Task) -> None:
            self.answers.append((await self._answer(task)).row)
            on_done(next(done))

        for _, of_one_method in groupby(tasks, key=lambda task: task.method):
            await _each(of_one_method, one, concurrency)

    async def _answer(self, task: Task) -> AnswerRecord | Failure:
        started, clock = time.time(), time.perf_counter()
        try:
            message = await self._message(task)
        except EngineClosedError:
            raise  # no answer's own failure: nothing more will come
        except (RequestError, EngineError) as error:
            return Failure(task, type(error).__name__, str(error))
        if task.question in self.traced:
            self._keep_trace(task, message)
        return answer(task, message, started, time.perf_counter() - clock)

    async def _message(self, task: Task) -> AIMessage:
        return await self.llm.ainvoke(
            list(self._conversation(task.question)),
            preference=task.wanted,
            seed=task.seed(self.decoding.seed),
            trace=True,
            **self.decoding.call(self.methods[task.method]),
        )

    def _conversation(self, question: str) -> Iterator[BaseMessage]:
        if self.decoding.system is not None:
            yield SystemMessage(self.decoding.system)
        yield HumanMessage(question)

    def _keep_trace(self, task: Task, message: AIMessage) -> None:
        tokens = map(astuple, traced_tokens(message.response_metadata["trace"]))
        self.traces.append({"key": task.key, "tokens": list(tokens)})


async def _each(
    items: Iterable[Task], work: Callable[[Task], Awaitable[None]], concurrency: int
) -> None:
    """Do the work for all items, so many at a time; the first that raises ends it."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:  # all workers take from the same
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
