"""`langchain-amulet compare`: a question answered plainly, prompted and steered, side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from langchain_amulet.cli.colours import Legend, coloured
from langchain_amulet.cli.options import (
    Backend,
    MaxTokens,
    Model,
    Seed,
    Strength,
    Temperature,
    reporting,
)

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from langchain_amulet import ChatAmulet


def compare(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    prefer: Annotated[
        list[str], typer.Option("--prefer", "-p", help="A style to answer in; may be repeated.")
    ],
    model: Model = "pocket",
    backend: Backend = "auto",
    strength: Strength = "amulet",
    max_tokens: MaxTokens = 160,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> None:
    """Answer QUESTION plainly, with the style in the prompt alone, and steered by Amulet."""
    from langchain_amulet import ChatAmulet, Preference
    from langchain_amulet.cli.models import method_at, warm
    from langchain_amulet.engine.backends import import_backend

    console = Console()
    with reporting():
        preferences, steering = [Preference(text) for text in prefer], method_at(strength)
        llm = ChatAmulet(
            model=model,
            backend=import_backend(backend),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        with warm(llm, console):
            console.print(Text(question, "bold"))
            base = _ask(llm, question)
            for preference in preferences:
                prompted = _ask(llm, question, preference=preference, method="pref")
                steered = _ask(llm, question, preference=preference, method=steering)
                console.print(_side_by_side(preference.text, base, prompted, steered))
            console.print(Legend())


@dataclass(frozen=True)
class _Answer:
    message: AIMessage
    seconds: float

    @property
    def caption(self) -> Text:
        words = len(self.message.text.split())
        return Text(f"{words} words, {self.seconds:.1f} s", "dim")


def _ask(llm: ChatAmulet, question: str, **style: Any) -> _Answer:
    started = time.perf_counter()
    message = llm.invoke(question, trace=True, **style)
    return _Answer(message, time.perf_counter() - started)


def _side_by_side(preference: str, base: _Answer, prompted: _Answer, steered: _Answer) -> Panel:
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
    return Panel(table, title=Text(preference), title_align="left")
