"""The command line: `langchain-amulet compare` and `langchain-amulet chat`.

Knows ChatAmulet's public face and the terminal; nothing of tokens or tensors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from transformers.utils.logging import disable_progress_bar

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import AmuletError
from langchain_amulet.methods import Amulet, Method
from langchain_amulet.terminal import coloured, legend, why

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
    with _reporting(console), _open(console, model, max_tokens, temperature, seed) as llm:
        steering = _method(strength)
        console.print(Text(question, "bold"))
        base = _ask(llm, question, None, None)
        for wish in prefer:
            prompted = _ask(llm, question, wish, "pref")
            steered = _ask(llm, question, wish, steering)
            console.print(_side_by_side(wish, base, prompted, steered))
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
    with _reporting(console), _open(console, model, max_tokens, temperature, seed) as llm:
        Conversation(llm, console, _method(strength), prefer).run()


@dataclass(frozen=True)
class _Answer:
    message: AIMessage
    seconds: float

    @property
    def caption(self) -> Text:
        words = len(self.message.text.split())
        return Text(f"{words} words, {self.seconds:.1f} s", "dim")


class Conversation:
    """A conversation in the terminal: its messages, its preference and the last answer."""

    def __init__(
        self, llm: ChatAmulet, console: Console, method: Method, preference: str | None
    ) -> None:
        """Begin with no messages; ``preference`` None is no preference."""
        self._llm, self._console = llm, console
        self._method, self._preference = method, preference
        self._messages: list[BaseMessage] = []

    def run(self) -> None:
        """Read lines until /quit or the end of input."""
        self._console.print(f"{self._llm.model}: ask something, or /help.", style="dim")
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
                self._console.print(Text(str(error), "red"))
            except KeyboardInterrupt:
                self._console.print("\n(stopped)", style="dim")

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = self._console.input("[bold]> [/bold]").strip()
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if line:
                yield line

    def _obey(self, command: str, argument: str) -> None:
        match command:
            case "/prefer":
                self._preference = Preference(text=argument).text if argument else None
                self._console.print(f"preference: {self._preference or 'off'}", style="dim")
            case "/strength":
                self._method = _method(argument)
                self._console.print(f"strength: {argument}", style="dim")
            case "/why":
                self._console.print(self._why())
            case "/reset":
                self._messages.clear()
            case "/help":
                self._console.print(HELP, markup=False, highlight=False)
            case _:
                self._console.print(f"There is no command {command}; /help lists them.")

    def _reply(self, question: str) -> None:
        asked = [*self._messages, HumanMessage(question)]
        answer: AIMessageChunk | None = None
        for chunk in self._llm.stream(
            asked, preference=self._preference, method=self._method, trace=True
        ):
            self._console.print(chunk.text, end="", markup=False, highlight=False)
            answer = chunk if answer is None else answer + chunk
        self._console.print()
        if answer is not None:
            # Only a whole answer is kept: the next one must not build on half of it.
            said = AIMessage(answer.content, response_metadata=answer.response_metadata)
            self._messages = [*asked, said]

    def _why(self) -> RenderableType:
        trace = self._messages[-1].response_metadata.get("trace") if self._messages else None
        if not trace:
            return Text("There is no answer yet to explain.")
        return Group(coloured(trace), why(trace, limit=12), legend())


def _ask(llm: ChatAmulet, question: str, wish: str | None, method: Method | str | None) -> _Answer:
    settings: dict[str, Any] = {} if method is None else {"method": method}
    started = time.perf_counter()
    message = llm.invoke(question, preference=wish, trace=True, **settings)
    return _Answer(message, time.perf_counter() - started)


def _side_by_side(wish: str, base: _Answer, prompted: _Answer, steered: _Answer) -> Panel:
    table = Table("base", "prompt only", "Amulet", expand=True, box=None, padding=(0, 1))
    for column in table.columns:
        column.ratio = 1
    table.add_row(
        base.message.text,
        prompted.message.text,
        coloured(steered.message.response_metadata["trace"]),
    )
    table.add_row()
    table.add_row(base.caption, prompted.caption, steered.caption)
    return Panel(table, title=Text(wish), title_align="left")


def _method(strength: str) -> Method:
    try:
        return Amulet(strength=float(strength))
    except ValueError:
        return Amulet(strength=strength)


def _open(
    console: Console, model: str, max_tokens: int, temperature: float, seed: int
) -> ChatAmulet:
    """The model, loaded and warm, so that the seconds shown are those of the answer alone."""
    llm = ChatAmulet(model=model, max_tokens=max_tokens, temperature=temperature, seed=seed)
    with console.status(f"loading {model}"):
        disable_progress_bar()
        llm.invoke("Hello!", max_tokens=1)
    return llm


class _reporting:
    """Shows the package's own errors as one line and exits with 1; other errors are bugs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Turn an AmuletError into a message."""
        if isinstance(error, AmuletError):
            self._console.print(Text(str(error), "red"))
            raise typer.Exit(1) from error
