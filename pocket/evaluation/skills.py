"""What the model can do besides styles: exact-match shares over samples with values never seen.

Each skill makes tasks, of one or more conversations each with a test of what is said next. Plain
greedy decoding, no preference: these figures are the model's own. Knows the engine, not LangChain.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from langchain_amulet.engine import ModelRuntime, Request
from langchain_amulet.methods import Base
from langchain_amulet.sampling import SamplingParams
from pocket.corpus.dialogue import Reply, Sample, ToolCall
from pocket.corpus.passages import passage_sample
from pocket.corpus.structured import structured_sample
from pocket.corpus.tools import preference_sample, relay_sample, tool_sample
from pocket.corpus.world import World

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
LONGEST = 160  # tokens of an answer


@dataclass(frozen=True)
class Trial:
    """A conversation, the tools on offer, and whether what is said next is right."""

    messages: list[dict[str, Any]]
    right: Callable[[str], bool]
    tools: Sequence[Mapping[str, Any]] = ()


Task = tuple[Trial, ...]
"""Trials that follow each other in one conversation: a task is done if all of them are right."""


@dataclass(frozen=True)
class ToolRequest:
    """What a user asks for, the tools on offer, and the calls that are right; none where none fits.

    All of them are made in one round.
    """

    messages: list[dict[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    calls: Sequence[ToolCall]


def tool_request(rng: random.Random) -> ToolRequest:
    """A request with names and values never seen."""
    sample = _in_rounds(rng, 0, 1)
    first = sample.exchanges[0]
    calls = [call for turn in first.rounds for call in turn.calls]
    return ToolRequest(_asked(sample.system, first.user), sample.tools, calls)


def facts(world: World, rng: random.Random) -> Task:
    """A topic's fact, asked as it stands."""
    topic = rng.choice(world.topics)
    return (Trial(_asked(None, topic.question), _says(Reply(topic.fact, topic.fact_short))),)


def passages(world: World, rng: random.Random) -> Task:
    """A name, number or date from a passage never seen, or that the passage doesn't say."""
    return _steps(passage_sample(rng))


def retrieved(world: World, rng: random.Random) -> Task:
    """The same where a context has two to four passages, as retrieval puts them."""
    return _steps(passage_sample(rng, fewest=2))


def tool_calls(world: World, rng: random.Random) -> Task:
    """The right functions with exactly the right arguments, and no call where none fits."""
    asked = tool_request(rng)
    return (Trial(asked.messages, _calls_just(asked.calls), asked.tools),)


def tool_results(world: World, rng: random.Random) -> Task:
    """An answer that quotes what the tools returned."""
    return _steps(_in_rounds(rng, 1))[-1:]


def relays(world: World, rng: random.Random) -> Task:
    """A call, a call with what the first returned, and an answer that quotes the results."""
    return _steps(relay_sample(rng))


def wishes(world: World, rng: random.Random) -> Task:
    """The call that has a wish remembered or forgotten, for wordings that training never saw."""
    return _steps(preference_sample(world, rng, held_out=True))[:1]


def structured(world: World, rng: random.Random) -> Task:
    """A JSON object with the keys asked for and the values given."""
    sample = structured_sample(rng)
    first = sample.exchanges[0]
    wanted = _json(first.reply.sentence)
    return (Trial(_asked(sample.system, first.user), lambda text: _json(text) == wanted),)


def ignorance(world: World, rng: random.Random) -> Task:
    """Questions outside its world, never trained on, are declined."""
    asks = [f"How do I {ask}?" for ask in world.unknown_asks_held_out]
    question = rng.choice([*asks, *world.outside_held_out])
    return (Trial(_asked(None, question), lambda text: text in world.unknown_replies),)


SKILLS: Mapping[str, Callable[[World, random.Random], Task]] = {
    "facts of its world": facts,
    "values from passages": passages,
    "values from two to four retrieved passages": retrieved,
    "tool calls": tool_calls,
    "answers from tool results": tool_results,
    "two tools in a row, from request to answer": relays,
    "wishes remembered and forgotten": wishes,
    "JSON on request": structured,
    "declines what it doesn't know": ignorance,
}


def share_right(runtime: ModelRuntime, tasks: Sequence[Task]) -> float:
    """The share of tasks done, all decoded together."""
    tokenizer = runtime.loaded.tokenizer
    plan = Base().plan(())
    trials = [trial for task in tasks for trial in task]
    generations = []
    for trial in trials:
        ids = tokenizer.apply_chat_template(
            trial.messages, tools=trial.tools or None, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        request = Request(
            prompts=(tuple(ids),),
            plan=plan,
            sampling=SamplingParams(temperature=0.0),
            max_tokens=LONGEST,
            stop_ids=frozenset({tokenizer.eos_token_id}),
        )
        generations.append(runtime.engine.submit(request))
    answers = (tokenizer.decode([token.id for token in generation]) for generation in generations)
    # A step is asked with the right ones before it: wherever one is wrong, the task is anyway.
    right = (trial.right(answer) for trial, answer in zip(trials, answers, strict=True))
    return mean(all([next(right) for _ in task]) for task in tasks)


def _in_rounds(rng: random.Random, *numbers: int) -> Sample:
    """A sample whose first request needs one of these numbers of rounds of calls."""
    while len((sample := tool_sample(rng)).exchanges[0].rounds) not in numbers:
        pass
    return sample


def _steps(sample: Sample) -> Task:
    """The first exchange step by step: each round of calls, then the reply."""
    first = sample.exchanges[0]
    messages, trials = _asked(sample.system, first.user), []
    for turn in first.rounds:
        trials.append(Trial(messages, _calls_just(turn.calls), sample.tools))
        messages = [*messages, *turn.messages()]
    return (*trials, Trial(messages, _says(first.reply), sample.tools))


def _asked(system: str | None, user: str) -> list[dict[str, Any]]:
    turns = [{"role": "user", "content": user}]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _says(reply: Reply) -> Callable[[str], bool]:
    values = reply.short.lower().rstrip(".").split(". ")

    def right(text: str) -> bool:
        quoted = reply.sentence in text or all(value in text.lower() for value in values)
        return quoted and not CALL.search(text)

    return right


def _calls_just(calls: Sequence[ToolCall]) -> Callable[[str], bool]:
    wanted = [asdict(call) for call in calls]
    return lambda text: _calls(text) == wanted


def _calls(text: str) -> list[Any]:
    return [_json(call) for call in CALL.findall(text)]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
