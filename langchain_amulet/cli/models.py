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
from langchain_amulet.engine.backends import import_backend
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import METHODS, STRENGTHS, Amulet, Auto, Method, as_method, spell
from langchain_amulet.methods.spec import read_strength
from langchain_amulet.registry import import_named
from langchain_amulet.validation.wording import choose, quoted


def method_at(strength: str) -> Method:
    """The method of a strength as it is typed: Amulet at it, or another one by its name.

    Raises:
        ConfigurationError: It is neither, or can't work.
    """
    name = strength.partition(":")[0].strip()
    if read_strength(strength) is None and name not in METHODS:
        known = [Auto.name, *STRENGTHS]
        raise ConfigurationError(
            f"A strength must be one of {', '.join(known)}, a number or a method's name, not "
            f"{quoted(strength)}: {choose(name, (*known, *METHODS))} one of those."
        )
    return as_method(strength)


def model_of(method: str | None, strength: str | None, **settings: Any) -> ChatAmulet:
    """The model that a command's options ask for; what they leave out is as for any other.

    Args:
        method: A method as it is typed, which may name code.
        strength: A strength as it is typed, in place of a method; see `method_at`.
        **settings: Other settings, None for those that are left out.

    Raises:
        ConfigurationError: A setting can't work, or both a method and a strength are given.
    """
    if method is not None and strength is not None:
        raise ConfigurationError(
            "--strength says how far to steer, and --method how: give one of them, or a parameter, "
            f"as in --method amulet:strength={strength}."
        )
    chosen = {name: value for name, value in settings.items() if value is not None}
    chosen["backend"] = import_backend(chosen["backend"])
    if method is not None:
        chosen["method"] = as_method(method, import_named)
    if strength is not None:
        chosen["method"] = method_at(strength)
    return ChatAmulet(**chosen)


def strength_of(method: Method) -> str:
    """How a method is typed as a strength, see `method_at`: by its text if it is no strength."""
    if not isinstance(method, Amulet) or method != Amulet(strength=method.strength):
        return spell(method)
    names = (name for name, known in STRENGTHS.items() if known == method.strength)
    return next(names, f"{method.strength:g}")


def warm(llm: ChatAmulet, console: Console) -> ChatAmulet:
    """The model, loaded and run once, so that the seconds shown are those of the answer alone."""
    quiet_loading()
    with console.status(Text(f"loading {llm.model}")):
        return llm.load()


def quiet_loading() -> None:
    """Keep what loads models from writing into what the commands show."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries, without a network
