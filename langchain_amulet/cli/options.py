"""What the commands have in common: options, and errors in one line.

This module knows the terminal: nothing of models, which take seconds to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from langchain_amulet.errors import AmuletError

Model = Annotated[str, typer.Option(help="`pocket`, a Hub id, or a local folder of a causal LM.")]
Backend = Annotated[
    str, typer.Option(help="What runs the model: auto, another one's name, or module:name.")
]
Strength = Annotated[
    str, typer.Option(help="subtle, balanced, strong, amulet (the paper's), or a number.")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")]
Seed = Annotated[int, typer.Option(help="Makes sampled answers repeatable.")]


def typed(strength: str) -> float | str:
    """A strength as it is typed: a number, or else a name."""
    with suppress(ValueError):
        return float(strength)
    return strength


@contextmanager
def reporting() -> Iterator[None]:
    """Show the package's own errors as one line and exit with 1; other errors are bugs."""
    try:
        yield
    except AmuletError as error:
        Console(stderr=True).print(Text(one_line(error), "red"), soft_wrap=True)
        raise typer.Exit(1) from error


def one_line(error: AmuletError) -> str:
    """What went wrong, without line breaks."""
    return " ".join(str(error).split())
