"""`langchain-amulet preferences`: what `chat --user` remembers, listed, set and forgotten."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from langchain_amulet.cli.options import reporting, typed
from langchain_amulet.cli.store import DEFAULT_STORE, Store, listed, opened, shown

preferences = typer.Typer(help="What `chat --user` remembers of its users.", no_args_is_help=True)

User = Annotated[str, typer.Option(help="Whose preferences.")]


@preferences.command("list")
def list_preferences(
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most users to show.")] = 1000,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show what users prefer."""
    console = Console()
    with reporting(), opened(store) as memory:
        for user_id in listed(memory, limit) if user is None else (user,):
            profile = memory.profile(user_id)
            console.print(Text(user_id, "bold"), soft_wrap=True)
            for preference in profile.preferences if profile else ():
                console.print(Text("  "), shown(preference), sep="", soft_wrap=True)
            if profile is None:
                console.print(Text("  nothing", "dim"))


@preferences.command("set")
def set_preferences(
    texts: Annotated[
        list[str],
        typer.Argument(help="What the user prefers: words, or traits as in `concise ++`."),
    ],
    user: User,
    strength: Annotated[
        str | None, typer.Option(help="How far to steer: a name or a number, as in `chat`.")
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Have a user prefer TEXTS, and nothing else."""
    from langchain_amulet import Preference
    from langchain_amulet.cli.styles import styled

    with reporting(), opened(store) as memory:
        wanted = [each for text in texts for each in styled(text)]
        if strength is not None:
            change = {"strength": typed(strength)}
            wanted = [Preference(**{**dict(each), **change}) for each in wanted]
        memory.set(user, wanted)


@preferences.command("forget")
def forget_preferences(
    user: User,
    text: Annotated[
        str | None,
        typer.Argument(help="The one to forget, in words or as traits; all without it."),
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Forget what a user prefers."""
    from langchain_amulet.cli.styles import forgotten

    console = Console()
    with reporting(), opened(store) as memory:
        gone = memory.forget(user) if text is None else forgotten(memory, user, text)
        for preference in gone:
            console.print(Text("forgotten: ", "dim"), shown(preference), sep="", soft_wrap=True)
        if not gone:
            console.print(Text("There was nothing to forget.", "dim"))
