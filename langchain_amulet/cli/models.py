"""The model of a command: steered as typed, loaded without noise, run once before it is timed.

This module knows ChatAmulet's public face and the terminal.
"""

from __future__ import annotations

import logging

from rich.console import Console
from rich.text import Text
from transformers.utils.logging import disable_progress_bar

from langchain_amulet import ChatAmulet
from langchain_amulet.cli.options import typed
from langchain_amulet.methods import STRENGTHS, Amulet, Method, spell


def method_at(strength: str) -> Method:
    """Amulet at a strength as it is typed."""
    return Amulet(strength=typed(strength))


def strength_of(method: Method) -> str:
    """The strength of a method as it is typed; the method itself if it has none."""
    value = getattr(method, "strength", None)
    names = (name for name, known in STRENGTHS.items() if known == value)
    return next(names, spell(method) if value is None else f"{value:g}")


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
