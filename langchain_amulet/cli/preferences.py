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
    texts: Annotated[list[str], typer.Argument(help="What the user prefers, in words.")],
    user: User,
    strength: Annotated[
        str | None, typer.Option(help="How far to steer: a name or a number, as in `chat`.")
    ] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Have a user prefer TEXTS, and nothing else."""
    from langchain_amulet.memory import StoredPreference

    value = None if strength is None else typed(strength)
    with reporting(), opened(store) as memory:
        memory.set(user, [StoredPreference(text=text, strength=value) for text in texts])


@preferences.command("forget")
def forget_preferences(
    user: User,
    text: Annotated[str | None, typer.Argument(help="The one to forget; all without it.")] = None,
    store: Store = DEFAULT_STORE,
) -> None:
    """Forget what a user prefers."""
    console = Console()
    with reporting(), opened(store) as memory:
        forgotten = memory.forget(user, text)
        for preference in forgotten:
            console.print(Text("forgotten: ", "dim"), shown(preference), sep="", soft_wrap=True)
        if not forgotten:
            console.print(Text("There was nothing to forget.", "dim"))
