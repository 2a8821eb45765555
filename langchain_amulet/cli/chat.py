"""`langchain-amulet chat`: a conversation in the terminal, steered as one goes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.console import Console

from langchain_amulet.cli.options import (
    Backend,
    MaxTokens,
    Model,
    Seed,
    Strength,
    Temperature,
    reporting,
)
from langchain_amulet.cli.store import DEFAULT_STORE, Store, opened


def chat(
    model: Model = "pocket",
    backend: Backend = "auto",
    user: Annotated[
        str | None, typer.Option(help="Who is talking; what they prefer is remembered.")
    ] = None,
    prefer: Annotated[
        str | None, typer.Option("--prefer", "-p", help="A style to begin with.")
    ] = None,
    strength: Strength = "amulet",
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    store: Store = DEFAULT_STORE,
) -> None:
    """Talk with the model; /help lists what else can be typed."""
    from langchain_amulet import ChatAmulet
    from langchain_amulet.cli.conversation import Conversation, Person
    from langchain_amulet.cli.models import method_at, warm
    from langchain_amulet.engine.backends import import_backend

    console = Console()
    with reporting(), ExitStack() as stack:
        person = None if user is None else Person(user, stack.enter_context(opened(store)))
        llm = ChatAmulet(
            model=model,
            backend=import_backend(backend),
            preference=prefer,
            method=method_at(strength),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        with warm(llm, console):
            Conversation(llm, console, person).run()
