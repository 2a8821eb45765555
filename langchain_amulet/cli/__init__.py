"""The command line.

Knows ChatAmulet's public face and the terminal; nothing of tokens or tensors. Commands import what
they run on when they run: PyTorch takes seconds, for which nobody should wait who asks for help.
Other packages add commands by entry points of the group ``langchain_amulet.commands``.
"""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from typing import Annotated

import typer

from langchain_amulet.cli.chat import chat
from langchain_amulet.cli.compare import compare
from langchain_amulet.cli.options import Commands
from langchain_amulet.cli.preferences import preferences
from langchain_amulet.version import VERSION

__all__ = ["app"]

SPIN_COUNT = "1000"
"""How often a thread of OpenMP's, by which PyTorch computes, looks for others to be done before it
sleeps. Left to itself it looks for milliseconds, in which it keeps a core busy that another process
needs, hundreds of times in each step of a model."""

app = typer.Typer(
    cls=Commands,
    help="A local model that answers every user in that user's own style.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(compare)
app.command()(chat)
app.add_typer(preferences, name="preferences")
for command in entry_points(group="langchain_amulet.commands"):
    app.command(command.name)(command.load())


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"langchain-amulet {VERSION}")
        raise typer.Exit


@app.callback()
def _before_commands(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take what is said before a command, and set what must be before PyTorch is imported."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
