"""Whole conversations, decoded turn by turn: does a wish last?

What users say is written beforehand; what is answered becomes the history of the next turn. Every
answer is on disk as soon as it is there, and a run goes on within a conversation.

This module knows ChatAmulet's public face and journals: nothing of how style is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import count
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from amulet_evals.config import Decoding
from amulet_evals.data.styles import Style
from amulet_evals.hashing import digest, number
from amulet_evals.method_spec import method_of
from amulet_evals.run.journal import Journal, rows
from langchain_amulet import ChatAmulet
from langchain_amulet.chat_formats.placement import Placement


@dataclass(frozen=True)
class Script:
    """What a user says in a conversation, turn by turn."""

    id: str
    says: tuple[str, ...]


@dataclass(frozen=True)
class Talk:
    """All that a conversation depends on, besides how a run decodes.

    Attributes:
        model: Name of the model.
        method: The method, as text.
        script: Name of the script.
        style: Name of the style; None for no preference.
        preference: How answers are wanted, in words; None for no preference.
        placement: Where the preference goes.
    """

    model: str
    method: str
    script: str
    style: str | None
    preference: str | None
    placement: Placement

    @cached_property
    def key(self) -> str:
        """A name of its own."""
        parts = (self.model, self.method, self.script, self.preference, self.placement)
        return digest(*parts)


def scripts(
    topics: Iterable[Mapping[str, str]], openings: Sequence[str], turns: Sequence[str], length: int
) -> tuple[Script, ...]:
    """A script per topic: an opening, then turns in an order that is the topic's own.

    Args:
        topics: What conversations are about: a name, and what goes into the texts' braces.
        openings: Texts to begin with.
        turns: Texts to go on with; ``length - 1`` at least.
        length: Turns of a script.
    """
    found = []
    for topic in topics:
        name = topic["name"]
        opening = openings[number(name) % len(openings)]
        order = sorted(turns, key=partial(number, name))
        says = tuple(text.format(**topic) for text in (opening, *order[: length - 1]))
        found.append(Script(name, says))
    return tuple(found)


def talks(
    model: str,
    methods: Iterable[str],
    found: Iterable[Script],
    styles: Iterable[Style],
    placements: Iterable[Placement],
) -> tuple[Talk, ...]:
    """Every script in every style, by every method, at every placement; and once unasked."""
    found, styles, placements = tuple(found), tuple(styles), tuple(placements)
    plain = (Talk(model, "base", each.id, None, None, "system") for each in found)
    asked = (
        Talk(model, method, each.id, style.name, style.wordings[0], placement)
        for method in methods
        for placement in placements
        for style in styles
        for each in found
    )
    return (*plain, *asked)


@dataclass(frozen=True)
class Talker:
    """Who answers, and where the answers go.

    Attributes:
        llm: The chat model.
        scripts: What users say, by the scripts' names.
        decoding: How to decode; where the preference goes is each talk's own.
        path: The journal of answers.
    """

    llm: ChatAmulet
    scripts: Mapping[str, Script]
    decoding: Decoding
    path: Path

    async def talk(
        self, found: Iterable[Talk], concurrency: int, on_done: Callable[[int, int], None]
    ) -> None:
        """Have all conversations to their ends, so many at a time.

        Args:
            found: The conversations.
            concurrency: How many at a time.
            on_done: Called with how many turns are done, and of how many.
        """
        found = tuple(found)
        known = {(row["talk"], row["turn"]): row["text"] for row in rows(self.path)}
        total = sum(len(self.scripts[each.script].says) for each in found)
        done, room = count(len(known) + 1), asyncio.Semaphore(concurrency)
        with Journal(self.path) as journal:

            async def one(each: Talk) -> None:
                async with room:
                    await self._one(each, known, journal, lambda: on_done(next(done), total))

            async with asyncio.TaskGroup() as group:
                for each in found:
                    group.create_task(one(each))

    async def _one(
        self,
        talk: Talk,
        known: Mapping[tuple[str, int], str],
        journal: Journal,
        on_done: Callable[[], None],
    ) -> None:
        history = list(self._beginning())
        for turn, text in enumerate(self.scripts[talk.script].says, 1):
            history.append(HumanMessage(text))
            answer = known.get((talk.key, turn))
            if answer is None:
                answer = await self._answer(talk, turn, history, journal)
                on_done()
            history.append(AIMessage(answer))

    async def _answer(
        self, talk: Talk, turn: int, history: Sequence[BaseMessage], journal: Journal
    ) -> str:
        started = time.time()
        settings = {**self.decoding.call(method_of(talk.method)), "placement": talk.placement}
        seed = number(self.decoding.seed, talk.script, turn)  # all methods have the same luck
        message = await self.llm.ainvoke(
            list(history), preference=talk.preference, seed=seed, **settings
        )
        metadata, usage = message.response_metadata, message.usage_metadata
        journal.append(
            {
                "talk": talk.key,
                **asdict(talk),
                "turn": turn,
                "text": message.text,
                "tokens": usage["output_tokens"] if usage else 0,
                "finish_reason": metadata["finish_reason"],
                "mean_kl": metadata["mean_kl"],
                "started": round(started, 3),
                "seconds": round(time.time() - started, 3),
            }
        )
        return message.text

    def _beginning(self) -> Iterator[BaseMessage]:
        if self.decoding.system is not None:
            yield SystemMessage(self.decoding.system)
