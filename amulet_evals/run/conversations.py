"""Whole conversations, decoded turn by turn: does a wish last?

What users say is written beforehand; what is answered becomes the history of the next turn. Every
answer is on disk as soon as it is there, and a run goes on within a conversation. One that fills
the model's context ends there.

This module knows ChatAmulet's public face and journals: nothing of how style is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import count, product
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from amulet_evals.config import Decoding
from amulet_evals.data.questions import Question
from amulet_evals.data.styles import Style, traits_in
from amulet_evals.hashing import digest, number
from amulet_evals.method_spec import method_of
from amulet_evals.run.journal import Journal, rows
from langchain_amulet import ChatAmulet
from langchain_amulet.chat_formats.placement import Placement
from langchain_amulet.errors import ConfigurationError, ContextLengthError
from langchain_amulet.preferences import Preference

KEPT = ("talk", "turn", "window", "text")
"""What of a journal's rows a run goes on from."""


@dataclass(frozen=True)
class Script:
    """What a user says in a conversation, turn by turn."""

    id: str
    says: tuple[str, ...]


@dataclass(frozen=True)
class Talk:
    """What tells a conversation from others, besides how a run decodes.

    Attributes:
        model: Name of the model.
        method: The method, as text.
        script: Name of the script.
        style: Name of the style; None for no preference.
        preference: How answers are wanted, in words or as traits; None for no preference.
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
        return digest(*asdict(self).values())

    @property
    def wanted(self) -> tuple[Preference, ...] | str | None:
        """How it is wanted, as a model is told: traits with their strengths, one by one."""
        return traits_in(self.preference or "") or self.preference


def scripts(
    topics: Iterable[Mapping[str, str]], openings: Sequence[str], turns: Sequence[str], length: int
) -> tuple[Script, ...]:
    """A script per topic: an opening, then turns in an order that is the topic's own.

    Args:
        topics: What conversations are about: a name, and what goes into the texts' braces.
        openings: Texts to begin with.
        turns: Texts to go on with; ``length - 1`` at least.
        length: Turns of a script.

    Raises:
        ConfigurationError: There are fewer texts to go on with.
    """
    if length > len(turns) + 1:
        raise ConfigurationError(
            f"A conversation can have an opening and the {len(turns)} turns that are written, but "
            f"{length} turns were asked for: ask for {len(turns) + 1} at the most."
        )
    found = []
    for topic in topics:
        name = topic["name"]
        opening = openings[number(name) % len(openings)]
        order = sorted(turns, key=partial(number, name))
        says = tuple(text.format(**topic) for text in (opening, *order[: length - 1]))
        found.append(Script(name, says))
    return tuple(found)


def chunked(questions: Iterable[Question], turns: int) -> tuple[Script, ...]:
    """Scripts that ask one question after the other, so many each; what is left over is left out.

    Args:
        questions: What is asked.
        turns: How many a script asks.
    """
    found = tuple(questions)
    whole = range(0, len(found) - turns + 1, turns)
    return tuple(
        Script(found[at].id, tuple(each.text for each in found[at : at + turns])) for at in whole
    )


def talks(
    model: str,
    methods: Iterable[str],
    found: Iterable[Script],
    styles: Iterable[Style],
    placements: Iterable[Placement],
) -> tuple[Talk, ...]:
    """Every script in every style, by every method, at every placement; and once unasked.

    They are in order of the scripts, so that of a part of them whole scripts are comparable.
    """
    asked = tuple(product(methods, placements, styles))
    return tuple(
        talk
        for each in found
        for talk in (
            Talk(model, "base", each.id, None, None, "system"),
            *(
                Talk(model, method, each.id, style.name, style.wordings[0], placement)
                for method, placement, style in asked
            ),
        )
    )


@dataclass(frozen=True)
class Talker:
    """Who answers, and where the answers go.

    Attributes:
        llm: The chat model.
        scripts: What users say, by the scripts' names.
        decoding: How to decode; where the preference goes is each talk's own.
        path: The journal of answers.
        window: How many turns of the past are shown with each; None for all of them, as far as the
            model's context goes.
    """

    llm: ChatAmulet
    scripts: Mapping[str, Script]
    decoding: Decoding
    path: Path
    window: int | None = None

    async def talk(
        self, found: Iterable[Talk], concurrency: int, on_done: Callable[[int, int], None]
    ) -> None:
        """Have all conversations to their ends, so many at a time.

        Args:
            found: The conversations.
            concurrency: How many at a time.
            on_done: Called with how many turns are done, and of how many.

        Raises:
            ConfigurationError: There are answers with another window, or something else.
        """
        found, known = tuple(found), self._known()
        asked = {
            (each.key, turn)
            for each in found
            for turn, _ in enumerate(self.scripts[each.script].says, 1)
        }
        done, total = count(len(asked & known.keys()) + 1), len(asked)
        room = asyncio.Semaphore(concurrency)
        with Journal(self.path) as journal:

            async def one(each: Talk) -> None:
                async with room:
                    await self._one(each, known, journal, lambda: on_done(next(done), total))

            async with asyncio.TaskGroup() as group:
                for each in found:
                    group.create_task(one(each))

    def _known(self) -> dict[tuple[str, int], str]:
        """What was answered before, by talk and turn."""
        known = {}
        for row in rows(self.path):
            if missing := [name for name in KEPT if name not in row]:
                raise ConfigurationError(
                    f"Conversations go on from rows that have {', '.join(KEPT)}, but {self.path} "
                    f"has one without {', '.join(missing)}, so something else wrote it: name a "
                    "new folder."
                )
            if row["window"] != self.window:
                raise ConfigurationError(
                    "Conversations go on with the window that they began with, but these were "
                    f"shown {_turns(row['window'])} and are to be shown {_turns(self.window)}: "
                    "give the same, or name a new folder."
                )
            known[row["talk"], row["turn"]] = row["text"]
        return known

    async def _one(
        self,
        talk: Talk,
        known: Mapping[tuple[str, int], str],
        journal: Journal,
        on_done: Callable[[], None],
    ) -> None:
        beginning, history = tuple(self._beginning()), list[BaseMessage]()
        for turn, text in enumerate(self.scripts[talk.script].says, 1):
            history.append(HumanMessage(text))
            answer = known.get((talk.key, turn))
            if answer is None:
                try:
                    shown = history if self.window is None else history[-2 * self.window - 1 :]
                    answer = await self._answer(talk, turn, (*beginning, *shown), journal)
                except ContextLengthError:
                    return  # what was said fills the model's context: nothing more can be
                on_done()
            history.append(AIMessage(answer))

    async def _answer(
        self, talk: Talk, turn: int, history: Sequence[BaseMessage], journal: Journal
    ) -> str:
        started = time.time()
        settings = {**self.decoding.call(method_of(talk.method)), "placement": talk.placement}
        seed = number(self.decoding.seed, talk.script, turn)  # all methods have the same luck
        message = await self.llm.ainvoke(
            list(history), preference=talk.wanted, seed=seed, **settings
        )
        metadata, usage = message.response_metadata, message.usage_metadata
        journal.append(
            {
                "talk": talk.key,
                **asdict(talk),
                "window": self.window,
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


def _turns(window: int | None) -> str:
    return "all past turns" if window is None else f"{window} past turns"
