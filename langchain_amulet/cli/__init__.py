"""The command line.

Knows ChatAmulet's public face and the terminal; nothing of tokens or tensors. Commands import what
they run on when they run: PyTorch takes seconds, for which nobody should wait who asks for help.
"""

import typer

from langchain_amulet.cli.chat import chat
from langchain_amulet.cli.compare import compare
from langchain_amulet.cli.evaluate import evaluate, report
from langchain_amulet.cli.preferences import preferences

__all__ = ["app"]

app = typer.Typer(
    help="A local model that answers every user in that user's own style.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(compare)
app.command()(chat)
app.command()(evaluate)
app.command()(report)
app.add_typer(preferences, name="preferences")
