"""What the commands have in common: options, and errors in one line.

This module knows the terminal: nothing of models, which take seconds to import.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from langchain_amulet.errors import AmuletError

Model = Annotated[
    str,
    typer.Option(
        help="`pocket`, a Hub id, a folder of a causal LM, or a GGUF file.",
        envvar="LANGCHAIN_AMULET_MODEL",
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        help="What runs the model: auto, another one's name, or module:name.",
        envvar="LANGCHAIN_AMULET_BACKEND",
    ),
]
Device = Annotated[
    str | None, typer.Option(help="Such as cpu or cuda:0; if left out a GPU, if there is one.")
]
Dtype = Annotated[str | None, typer.Option(help="Such as bfloat16; if left out what runs fastest.")]
System = Annotated[str | None, typer.Option(help="The system message of the conversation.")]
Steering = Annotated[
    str | None,
    typer.Option("--method", help="How to steer, as in amulet:kl_cap=0.5, or module:Name."),
]
Strength = Annotated[
    str | None,
    typer.Option(
        help="How far to steer: subtle, balanced, strong, amulet (the paper's) or a number; or "
        "auto, as if nothing is said: the paper's with a bound on how far a token is moved."
    ),
]
MaxTokens = Annotated[
    int,
    typer.Option(min=1, help="Longest answer, in tokens.", envvar="LANGCHAIN_AMULET_MAX_TOKENS"),
]
Temperature = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="0 always takes the likeliest token.",
        envvar="LANGCHAIN_AMULET_TEMPERATURE",
    ),
]
Seed = Annotated[
    int, typer.Option(help="Makes sampled answers repeatable.", envvar="LANGCHAIN_AMULET_SEED")
]


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


UNWRITABLE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EROFS}
)
"""What is wrong with where a command writes, and not with the command."""


class Commands(TyperGroup):
    """All commands, which end in a line where they can't write. A closed pipe needs none."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run one of them."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            with suppress(OSError):  # of where errors are shown, too
                reason = f"{error.strerror}. Make room, or write elsewhere."
                typer.echo(f"What was asked for can't be written: {reason}", err=True)
            _write_nowhere()
            raise SystemExit(1) from None


def _write_nowhere() -> None:
    """Let go what is still to be written, or Python would complain of it as it ends."""
    with suppress(OSError, ValueError, AttributeError):  # where it isn't a file, or is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
