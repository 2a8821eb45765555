"""A conversation in the terminal, steered as one goes.

Knows ChatAmulet's public face and the terminal; nothing of options or of where preferences lie.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from rich.console import Console, Group, RenderableType
from rich.text import Text

from langchain_amulet import ChatAmulet
from langchain_amulet.cli.colours import Legend, coloured, why
from langchain_amulet.cli.models import method_at, strength_of
from langchain_amulet.cli.options import one_line
from langchain_amulet.cli.store import shown
from langchain_amulet.cli.styles import forgotten, in_words, style_or_none, styled
from langchain_amulet.errors import AmuletError, ConfigurationError, ContextLengthError
from langchain_amulet.memory import PreferenceStore, StoredPreference
from langchain_amulet.preferences.user_id import check_user_id
from langchain_amulet.trace import TraceEntry
from langchain_amulet.validation.wording import quoted

HELP = """\
/prefer TEXT     answer in this style from now on, in words or as traits such as
                 concise ++, formal -; /prefer off, or alone, turns it off
/strength VALUE  how far to steer: auto (as it begins), subtle, balanced, strong,
                 amulet or a number, or a method's name; /strength alone shows it
/why [NUMBER]    what steering did to the last answer: it as a whole, and the tokens that it
                 moved the furthest, 12 or as many as you say
/reset           forget the conversation, keep the preference
/exit, /quit     leave

With --user, and kept for the next time:
/remember TEXT   answer in this style whenever nothing else is preferred
/forget TEXT     no longer; in words or as traits, as they were remembered;
                 /forget alone forgets all
/preferences     what is remembered"""


FURTHEST = 12
"""How many tokens /why tells of, unless it is asked for more or fewer."""

DIGITS = 9
"""Digits of such a number: no answer has more tokens, and Python doesn't read thousands of them."""

LEAVING = ("/exit", "/quit")


@dataclass(frozen=True)
class Person:
    """Who is talking, and where it is kept what they prefer."""

    user_id: str
    store: PreferenceStore

    def __post_init__(self) -> None:
        """Refuse what can't be a user before a model is loaded."""
        check_user_id(self.user_id)

    @property
    def preferences(self) -> tuple[StoredPreference, ...]:
        """What is remembered."""
        profile = self.store.profile(self.user_id)
        return profile.preferences if profile else ()


class Conversation:
    """A conversation in the terminal: its messages, its style and why the last answer is as it is.

    What users and models write is shown as it is, never read as the terminal's markup.
    """

    def __init__(
        self,
        llm: ChatAmulet,
        console: Console,
        person: Person | None = None,
        system: str | None = None,
    ) -> None:
        """Begin with a system message at most, in the style that ``llm`` is set to."""
        memory = person.store if person else None
        self._llm = llm.with_preference(None).model_copy(update={"memory": memory})
        self._console, self._person = console, person
        self._style = llm.preference
        self._beginning: list[BaseMessage] = [SystemMessage(system)] if system else []
        self._messages = self._beginning
        self._trace: Sequence[TraceEntry] = ()  # of the last answer only: it outweighs the text

    def run(self) -> None:
        """Read lines until /exit, /quit or the end of input."""
        self._say(f"{self._llm.model}: ask something, or /help.", "dim")
        for line in self._lines():
            command, _, argument = line.partition(" ")
            try:
                if command in LEAVING:
                    return
                if command.startswith("/"):
                    self._obey(command, argument.strip())
                else:
                    self._reply(line)
            except AmuletError as error:
                self._say(self._explained(error), "red")
            except KeyboardInterrupt:
                self._say("\n(stopped)", "dim")

    def _lines(self) -> Iterator[str]:
        while sys.stdin is not None:  # as it is for who closes it
            try:
                line = self._console.input("[bold]> [/bold]").strip()
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if line:
                yield line

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style), soft_wrap=True)

    def _obey(self, command: str, argument: str) -> None:
        match command:
            case "/prefer":
                self._style = self._llm.with_preference(style_or_none(argument)).preference
                words = in_words(self._style)
                self._say(f"preference: {words}" if words else "no preference", "dim")
            case "/strength":
                if argument:
                    self._llm = self._llm.model_copy(update={"method": method_at(argument)})
                self._say(f"strength: {strength_of(self._llm.method)}", "dim")
            case "/why":
                self._console.print(self._why(_count_in(argument)))
            case "/reset":
                self._messages, self._trace = self._beginning, ()
                self._say("The conversation begins anew.", "dim")
            case "/remember" | "/forget" | "/preferences":
                self._recall(command, argument)
            case "/help":
                self._say(HELP)
            case _:
                self._say(f"There is no command {command}; /help lists them.")

    def _recall(self, command: str, argument: str) -> None:
        if self._person is None:
            self._say("Nothing is remembered of nobody: start with --user NAME.")
            return
        user_id, store = self._person.user_id, self._person.store
        if command == "/remember":
            store.add(user_id, styled(argument))
        elif command == "/forget":
            gone = forgotten(store, user_id, argument) if argument else store.forget(user_id)
            if not gone:
                self._say("There was nothing to forget.", "dim")
        self._say(f"remembered for {user_id}:", "dim")
        kept = [shown(preference) for preference in self._person.preferences]
        for line in kept or [Text("nothing", "dim")]:
            self._console.print(Text("  "), line, sep="", soft_wrap=True)
        if command == "/remember" and self._style:
            self._say("For now /prefer's style holds; /prefer off turns it off.", "dim")

    def _explained(self, error: AmuletError) -> str:
        """What went wrong in one line, with what can be typed about it."""
        if isinstance(error, ContextLengthError) and self._messages:
            return f"{one_line(error)} /reset begins anew."
        return one_line(error)

    def _reply(self, question: str) -> None:
        asked = [*self._messages, HumanMessage(question)]
        answer, trace, reason = "", list[TraceEntry](), None
        for chunk in self._llm.stream(asked, trace=True, **self._settings):
            self._console.out(chunk.text, end="", highlight=False)
            answer += chunk.text
            trace += chunk.response_metadata.get("trace", [])
            reason = chunk.response_metadata.get("finish_reason", reason)
        self._console.print()
        if reason == "length":
            self._say(f"(cut off after {len(trace)} tokens)", "dim")
        # Only a whole answer is kept: the next one must not build on half of it.
        self._messages, self._trace = [*asked, AIMessage(answer)], trace

    @property
    def _settings(self) -> dict[str, Any]:
        """What a call is told: who asks, and the style of now, if there is one."""
        style = {"preference": self._style} if self._style else {}
        return style | ({"user_id": self._person.user_id} if self._person else {})

    def _why(self, limit: int) -> RenderableType:
        if not self._trace:
            return Text("There is no answer yet to explain.")
        count = len(self._trace)
        left = f"{limit} of {count} tokens; /why {count} shows them all."
        more = [Text(left, "dim")] if count > limit else []
        return Group(coloured(self._trace), why(self._trace, limit), *more, Legend())


def _count_in(argument: str) -> int:
    """How many tokens are asked for.

    Raises:
        ConfigurationError: It is no whole number, or none above 0.
    """
    if not argument:
        return FURTHEST
    if not argument.isdecimal() or len(argument) > DIGITS or int(argument) < 1:
        raise ConfigurationError(
            f"/why takes a number of tokens, at least 1, not {quoted(argument)}: give one, or "
            f"none for {FURTHEST}."
        )
    return int(argument)
