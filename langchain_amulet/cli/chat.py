"""`langchain-amulet chat`: a conversation in the terminal, steered as one goes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.console import Console

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
from langchain_amulet.cli.store import DEFAULT_STORE, Store, opened


def chat(
    model: Model = "pocket",
    backend: Backend = "auto",
    device: Device = None,
    dtype: Dtype = None,
    user: Annotated[
        str | None, typer.Option(help="Who is talking; what they prefer is remembered.")
    ] = None,
    prefer: Annotated[
        str | None,
        typer.Option(
            "--prefer", "-p", help="A style to begin with: words, or traits as in `concise ++`."
        ),
    ] = None,
    strength: Strength = None,
    method: Steering = None,
    system: System = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    store: Store = DEFAULT_STORE,
) -> None:
    """Talk with the model; /help lists what else can be typed."""
    from langchain_amulet.cli.conversation import Conversation, Person
    from langchain_amulet.cli.models import model_of, warm
    from langchain_amulet.cli.styles import style_or_none

    console = Console()
    with reporting(), ExitStack() as stack:
        person = None if user is None else Person(user, stack.enter_context(opened(store)))
        llm = model_of(
            method,
            strength,
            model=model,
            backend=backend,
            device=device,
            dtype=dtype,
            preference=None if prefer is None else style_or_none(prefer),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        with warm(llm, console):
            Conversation(llm, console, person, system).run()
