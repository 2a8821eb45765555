"""What the commands have in common: options, errors in one line, a model that is warm.

This module knows ChatAmulet's public face and the terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from transformers.utils.logging import disable_progress_bar

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import AmuletError
from langchain_amulet.methods import Amulet, Method

Model = Annotated[str, typer.Option(help="`pocket`, a Hub id, or a local folder of a causal LM.")]
Strength = Annotated[
    str, typer.Option(help="subtle, balanced, strong, amulet (the paper's), or a number.")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")]
Temperature = Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")]
Seed = Annotated[int, typer.Option(help="Makes sampled answers repeatable.")]


def method_at(strength: str) -> Method:
    """Amulet at a strength as it is typed."""
    return Amulet(strength=typed(strength))


def typed(strength: str) -> float | str:
    """A strength as it is typed: a number, or else a name."""
    with suppress(ValueError):
        return float(strength)
    return strength


def warm(llm: ChatAmulet, console: Console) -> ChatAmulet:
    """The model, loaded and run once, so that the seconds shown are those of the answer alone."""
    quiet_loading()
    with console.status(Text(f"loading {llm.model}")):
        llm.invoke("Hello!", max_tokens=1)
    return llm


def quiet_loading() -> None:
    """Keep what loads models from writing into what the commands show."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries, without a network


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
