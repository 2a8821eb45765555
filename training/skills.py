"""What the model can do besides styles: exact-match shares over samples with values never seen.

Each skill is a list of trials, a conversation and a test of what is said next. Plain greedy
decoding, no preference: these figures are the model's own. Knows the engine, not LangChain.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from langchain_amulet.engine import Request, Runtime
from langchain_amulet.methods import Base
from langchain_amulet.sampling import SamplingParams
from training.dialogue import Reply, Sample
from training.passages import passage_sample
from training.structured import structured_sample
from training.tools import tool_sample
from training.world import World

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
LONGEST = 160  # tokens of an answer


@dataclass(frozen=True)
class Trial:
    """A conversation, the tools on offer, and whether an answer to it is right."""

    messages: list[dict[str, Any]]
    right: Callable[[str], bool]
    tools: Sequence[Mapping[str, Any]] = ()


def facts(world: World, rng: random.Random) -> Trial:
    """A topic's fact, asked as it stands."""
    topic = rng.choice(world.topics)
    return Trial(_asked(None, topic.question), _says(Reply(topic.fact, topic.fact_short)))


def passages(world: World, rng: random.Random) -> Trial:
    """A name, number or date from a passage never seen, or that the passage doesn't say."""
    sample = passage_sample(rng)
    first = sample.exchanges[0]
    return Trial(_asked(sample.system, first.user), _says(first.reply))


def tool_calls(world: World, rng: random.Random) -> Trial:
    """The right functions with exactly the right arguments, and no call where none fits."""
    sample = tool_sample(rng)
    first = sample.exchanges[0]
    wanted = [{"name": call.name, "arguments": call.arguments} for call in first.calls]
    return Trial(
        _asked(sample.system, first.user), lambda text: _calls(text) == wanted, sample.tools
    )


def tool_results(world: World, rng: random.Random) -> Trial:
    """An answer that quotes what the tools returned."""
    sample = _with_results(rng)
    first = sample.exchanges[0]
    calls = [
        {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in first.calls
    ]
    messages = [
        *_asked(sample.system, first.user),
        {"role": "assistant", "content": "", "tool_calls": calls},
        *({"role": "tool", "content": result} for result in first.results),
    ]
    return Trial(messages, _says(first.reply), sample.tools)


def structured(world: World, rng: random.Random) -> Trial:
    """A JSON object with the keys asked for and the values given."""
    sample = structured_sample(rng)
    first = sample.exchanges[0]
    wanted = _json(first.reply.sentence)
    return Trial(_asked(sample.system, first.user), lambda text: _json(text) == wanted)


def ignorance(world: World, rng: random.Random) -> Trial:
    """Questions outside its world, never trained on, are declined."""
    asks = [f"How do I {ask}?" for ask in world.unknown_asks_held_out]
    question = rng.choice([*asks, *world.outside_held_out])
    return Trial(_asked(None, question), lambda text: text in world.unknown_replies)


SKILLS: Mapping[str, Callable[[World, random.Random], Trial]] = {
    "facts of its world": facts,
    "values from passages": passages,
    "tool calls": tool_calls,
    "answers from tool results": tool_results,
    "JSON on request": structured,
    "declines what it doesn't know": ignorance,
}


def share_right(runtime: Runtime, trials: Sequence[Trial]) -> float:
    """The share of trials answered right, all decoded together."""
    tokenizer = runtime.loaded.tokenizer
    plan = Base().plan(())
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
    answers = [tokenizer.decode([token.id for token in generation]) for generation in generations]
    return mean(trial.right(answer) for trial, answer in zip(trials, answers, strict=True))


def _with_results(rng: random.Random) -> Sample:
    while not (sample := tool_sample(rng)).exchanges[0].results:
        pass
    return sample


def _asked(system: str | None, user: str) -> list[dict[str, Any]]:
    turns = [{"role": "user", "content": user}]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _says(reply: Reply) -> Callable[[str], bool]:
    value = reply.short.rstrip(".").lower()
    return lambda text: value in text.lower() or reply.sentence in text


def _calls(text: str) -> list[Any]:
    return [_json(call) for call in CALL.findall(text)]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
