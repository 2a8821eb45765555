"""The command line: `langchain-amulet compare` and `langchain-amulet chat`.

Knows ChatAmulet's public face and the terminal; nothing of tokens or tensors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from transformers.utils.logging import disable_progress_bar

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import AmuletError
from langchain_amulet.methods import Amulet, Method
from langchain_amulet.terminal import TraceEntry, coloured, legend, why

HELP = """\
/prefer TEXT     answer in this style from now on; /prefer alone turns it off
/strength VALUE  how far to steer: subtle, balanced, strong, amulet or a number
/why             what steering did to the last answer, token by token
/reset           forget the conversation, keep the preference
/quit            leave"""

app = typer.Typer(
    help="A local model that answers every user in that user's own style.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Model = Annotated[str, typer.Option(help="`pocket`, a Hub id, or a local folder of a causal LM.")]
Strength = Annotated[
    str, typer.Option(help="subtle, balanced, strong, amulet (the paper's), or a number.")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")]
Seed = Annotated[int, typer.Option(help="Makes sampled answers repeatable.")]


@app.command()
def compare(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    prefer: Annotated[
        list[str], typer.Option("--prefer", "-p", help="A style to answer in; may be repeated.")
    ],
    model: Model = "pocket",
    strength: Strength = "amulet",
    max_tokens: MaxTokens = 160,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> None:
    """Answer QUESTION plainly, with the style in the prompt alone, and steered by Amulet."""
    console = Console()
    with _reporting():
        wishes, steering = [Preference(wish) for wish in prefer], _method(strength)
        llm = ChatAmulet(model=model, max_tokens=max_tokens, temperature=temperature, seed=seed)
        with _warm(llm, console):
            console.print(Text(question, "bold"))
            base = _ask(llm, question)
            for wish in wishes:
                prompted = _ask(llm, question, preference=wish, method="pref")
                steered = _ask(llm, question, preference=wish, method=steering)
                console.print(_side_by_side(wish.text, base, prompted, steered))
            console.print(legend())


@app.command()
def chat(
    model: Model = "pocket",
    prefer: Annotated[
        str | None, typer.Option("--prefer", "-p", help="A style to begin with.")
    ] = None,
    strength: Strength = "amulet",
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> None:
    """Talk with the model; /help lists what else can be typed."""
    console = Console()
    with _reporting():
        llm = ChatAmulet(
            model=model,
            preference=prefer,
            method=_method(strength),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        with _warm(llm, console):
            Conversation(llm, console).run()


@dataclass(frozen=True)
class _Answer:
    message: AIMessage
    seconds: float

    @property
    def caption(self) -> Text:
        words = len(self.message.text.split())
        return Text(f"{words} words, {self.seconds:.1f} s", "dim")


class Conversation:
    """A conversation in the terminal: its messages, its style and why the last answer is as it is.

    What users and models write is shown as it is, never read as the terminal's markup.
    """

    def __init__(self, llm: ChatAmulet, console: Console) -> None:
        """Begin with no messages, in the style that ``llm`` is set to."""
        self._llm, self._console = llm, console
        self._messages: list[BaseMessage] = []
        self._trace: Sequence[TraceEntry] = ()  # of the last answer only: it outweighs the text

    def run(self) -> None:
        """Read lines until /quit or the end of input."""
        self._say(f"{self._llm.model}: ask something, or /help.", "dim")
        for line in self._lines():
            command, _, argument = line.partition(" ")
            try:
                if command == "/quit":
                    return
                if command.startswith("/"):
                    self._obey(command, argument.strip())
                else:
                    self._reply(line)
            except AmuletError as error:
                self._say(_one_line(error), "red")
            except KeyboardInterrupt:
                self._say("\n(stopped)", "dim")

    def _lines(self) -> Iterator[str]:
        while True:
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
                self._llm = self._llm.with_preference(argument or None)
                self._say(f"preference: {argument or 'off'}", "dim")
            case "/strength":
                self._llm = self._llm.model_copy(update={"method": _method(argument)})
                self._say(f"strength: {argument}", "dim")
            case "/why":
                self._console.print(self._why())
            case "/reset":
                self._messages, self._trace = [], ()
                self._say("The conversation begins anew.", "dim")
            case "/help":
                self._say(HELP)
            case _:
                self._say(f"There is no command {command}; /help lists them.")

    def _reply(self, question: str) -> None:
        asked = [*self._messages, HumanMessage(question)]
        answer, trace = "", self._trace
        for chunk in self._llm.stream(asked, trace=True):
            self._console.out(chunk.text, end="", highlight=False)
            answer += chunk.text
            trace = chunk.response_metadata.get("trace", trace)
        self._console.print()
        # Only a whole answer is kept: the next one must not build on half of it.
        self._messages, self._trace = [*asked, AIMessage(answer)], trace

    def _why(self) -> RenderableType:
        if not self._trace:
            return Text("There is no answer yet to explain.")
        return Group(coloured(self._trace), why(self._trace, limit=12), legend())


def _ask(llm: ChatAmulet, question: str, **style: Any) -> _Answer:
    started = time.perf_counter()
    message = llm.invoke(question, trace=True, **style)
    return _Answer(message, time.perf_counter() - started)


def _side_by_side(wish: str, base: _Answer, prompted: _Answer, steered: _Answer) -> Panel:
    table = Table("base", "prompt only", "Amulet", expand=True, box=None, padding=(0, 1))
    for column in table.columns:
        column.ratio = 1
    table.add_row(
        Text(base.message.text),
        Text(prompted.message.text),
        coloured(steered.message.response_metadata["trace"]),
    )
    table.add_row()
    table.add_row(base.caption, prompted.caption, steered.caption)
    return Panel(table, title=Text(wish), title_align="left")


def _method(strength: str) -> Method:
    value: float | str = strength
    with suppress(ValueError):
        value = float(strength)
    return Amulet(strength=value)


def _warm(llm: ChatAmulet, console: Console) -> ChatAmulet:
    """The model, loaded and run once, so that the seconds shown are those of the answer alone."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries, without a network
    with console.status(Text(f"loading {llm.model}")):
        llm.invoke("Hello!", max_tokens=1)
    return llm


@contextmanager
def _reporting() -> Iterator[None]:
    """Show the package's own errors as one line and exit with 1; other errors are bugs."""
    try:
        yield
    except AmuletError as error:
        Console(stderr=True).print(Text(_one_line(error), "red"), soft_wrap=True)
        raise typer.Exit(1) from error


def _one_line(error: AmuletError) -> str:
    return " ".join(str(error).split())
