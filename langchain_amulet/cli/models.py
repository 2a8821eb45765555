"""The model of a command: steered as typed, loaded without noise, run once before it is timed.

This module knows ChatAmulet's public face and the terminal.
"""

from __future__ import annotations

import logging
from typing import Any

from rich.console import Console
from rich.text import Text
from transformers.utils.logging import disable_progress_bar

from langchain_amulet import ChatAmulet
from langchain_amulet.cli.options import typed
from langchain_amulet.engine.backends import import_backend
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import STRENGTHS, Amulet, Method, as_method, spell
from langchain_amulet.registry import import_named


def method_at(strength: str) -> Method:
    """Amulet at a strength as it is typed."""
    return Amulet(strength=typed(strength))


def model_of(method: str | None, strength: str | None, **settings: Any) -> ChatAmulet:
    """The model that a command's options ask for; what they leave out is as for any other.

    Args:
        method: A method as it is typed, which may name code.
        strength: The strength of Amulet as it is typed, in place of a method.
        **settings: Other settings, None for those that are left out.

    Raises:
        ConfigurationError: A setting can't work, or both a method and a strength are given.
    """
    if method is not None and strength is not None:
        raise ConfigurationError(
            "--strength is that of Amulet, and --method names another way to steer: give one of "
            f"them, or a parameter, as in --method amulet:strength={strength}."
        )
    chosen = {name: value for name, value in settings.items() if value is not None}
    chosen["backend"] = import_backend(chosen["backend"])
    if method is not None:
        chosen["method"] = as_method(method, import_named)
    if strength is not None:
        chosen["method"] = method_at(strength)
    return ChatAmulet(**chosen)


def strength_of(method: Method) -> str:
    """The strength of a method as it is typed; the method itself if it has none."""
    value = getattr(method, "strength", None)
    names = (name for name, known in STRENGTHS.items() if known == value)
    return next(names, spell(method) if value is None else f"{value:g}")


def warm(llm: ChatAmulet, console: Console) -> ChatAmulet:
    """The model, loaded and run once, so that the seconds shown are those of the answer alone."""
    quiet_loading()
    with console.status(Text(f"loading {llm.model}")):
        return llm.load()


def quiet_loading() -> None:
    """Keep what loads models from writing into what the commands show."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries, without a network
