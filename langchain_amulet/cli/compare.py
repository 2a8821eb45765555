"""`langchain-amulet compare`: a question answered plainly, prompted and steered, side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from langchain_amulet.cli.colours import Legend, coloured
from langchain_amulet.cli.options import (
    Backend,
    Device,
    Dtype,
    MaxTokens,
    Model,
    Seed,
    Steering,
    Strength,
    System,
    Temperature,
    reporting,
)

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

    from langchain_amulet import ChatAmulet
    from langchain_amulet.methods import Method


def compare(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    prefer: Annotated[
        list[str],
        typer.Option(
            "--prefer", "-p", help="A style: words, or traits as in `concise ++`; may be repeated."
        ),
    ],
    model: Model = "pocket",
    backend: Backend = "auto",
    device: Device = None,
    dtype: Dtype = None,
    strength: Strength = None,
    method: Steering = None,
    system: System = None,
    max_tokens: MaxTokens = 160,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
) -> None:
    """Answer QUESTION plainly, with the style in the prompt alone, and steered."""
    from langchain_amulet.cli.models import model_of, warm
    from langchain_amulet.cli.styles import in_words, styled

    console = Console()
    with reporting():
        styles = [styled(text) for text in prefer]
        llm = model_of(
            method,
            strength,
            model=model,
            backend=backend,
            device=device,
            dtype=dtype,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        with warm(llm, console):
            console.print(Text(question, "bold"))
            asked = [("system", system)] if system else []
            asked.append(("human", question))
            base = _ask(llm, asked, method="base")
            for style in styles:
                prompted = _ask(llm, asked, preference=style, method="pref")
                steered = _ask(llm, asked, preference=style)
                shown = _side_by_side(base, prompted, steered, _title(llm.method))
                console.print(Panel(shown, title=Text(in_words(style)), title_align="left"))
            console.print(Legend())


@dataclass(frozen=True)
class _Answer:
    message: AIMessage
    seconds: float

    @property
    def caption(self) -> Text:
        words = len(self.message.text.split())
        metadata = self.message.response_metadata
        cut = f"\ncut off after {len(metadata['trace'])} tokens"
        is_cut = metadata["finish_reason"] == "length"
        return Text(f"{words} words, {self.seconds:.1f} s{cut if is_cut else ''}", "dim")


def _ask(llm: ChatAmulet, asked: list[tuple[str, str]], **style: Any) -> _Answer:
    started = time.perf_counter()
    message = llm.invoke(asked, trace=True, **style)
    return _Answer(message, time.perf_counter() - started)


def _title(method: Method) -> str:
    """What a method's column is called."""
    return "Amulet" if method.name in ("amulet", "auto") else method.name


def _side_by_side(base: _Answer, prompted: _Answer, steered: _Answer, title: str) -> Table:
    table = Table("base", "prompt only", escape(title), expand=True, box=None, padding=(0, 1))
    for column in table.columns:
        column.ratio = 1
    table.add_row(
        Text(base.message.text),
        Text(prompted.message.text),
        coloured(steered.message.response_metadata["trace"]),
    )
    table.add_row()
    table.add_row(base.caption, prompted.caption, steered.caption)
    return table
