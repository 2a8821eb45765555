"""Settings from the environment: ``LANGCHAIN_AMULET_DEVICE=cuda:1`` is the default of ``device``.

One rule for all that are written as a text or a number. Left out are those that belong to one
program or one user, and those that have a model's own code run: a variable is set for everything
that runs after it. What is called like a variable and is none is pointed out, by its name alone.

This module knows names of settings and variables: nothing of what settings mean.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from pydantic import BaseModel

from langchain_amulet.chat_models.load_settings import LoadSettings
from langchain_amulet.chat_models.settings import AnswerSettings, ModelSettings
from langchain_amulet.errors import AmuletError, ConfigurationError, SettingWarning
from langchain_amulet.validation.packages import warn
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.validation.wording import nearest

PREFIX = "LANGCHAIN_AMULET_"

SERVER_PREFIX = f"{PREFIX}SERVE"
"""How the variables of ``langchain-amulet serve`` begin, which knows them by itself."""

GROUPS: tuple[type[BaseModel], ...] = (LoadSettings, AnswerSettings, ModelSettings)

LEFT_OUT = frozenset(
    {
        "api_key",
        "base_url",  # which goes with a backend that the program names
        "chat_template",
        "chat_template_kwargs",
        "dtype",  # which the loader itself reads, for models of an evaluation, too
        "max_retries",
        "memory",
        "preference",
        "preference_template",
        "quantization_config",
        "stop",
        "streaming",
        "trust_remote_code",
        "use_safetensors",
    }
)
"""Settings that no variable sets here."""

READ = frozenset({name for group in GROUPS for name in group.model_fields} - LEFT_OUT)
"""Settings that a variable sets here."""

ELSEWHERE = frozenset({"dtype", "store"})
"""What has a variable that is read elsewhere: by the loader, and by the command line."""


def variable(setting: str) -> str:
    """The name of the variable for a setting."""
    return f"{PREFIX}{setting.upper()}"


def from_environment(given: Collection[str]) -> dict[str, str]:
    """The settings that variables set, as they are written there.

    Warns of variables that set nothing.

    Args:
        given: Settings that the program sets, which wins.

    Raises:
        ConfigurationError: A variable's value can't be its setting's.
    """
    _warn_of_ours()
    found: dict[str, str] = {}
    for group in GROUPS:
        for name in (group.model_fields.keys() & READ) - set(given):
            if value := os.environ.get(variable(name)):
                _check(group, name, value)
                found[name] = value
    return found


def warn_of_unread(names: Iterable[str], known: Iterable[str], prefix: str) -> None:
    """Warn of variables that set nothing, by the nearest one that would and never by their value.

    Each is told once for each line of a program, as Python shows warnings.

    Args:
        names: The variables.
        known: The variables that there are.
        prefix: How all of these begin.
    """
    rests = [each.removeprefix(prefix) for each in known]
    for name in sorted(names):
        close = nearest(name.upper().removeprefix(prefix), rests)
        remedy = (
            f"rename it after one (those of `langchain-amulet serve` begin with {SERVER_PREFIX}_)"
            if close is None
            else f"did you mean {prefix}{close}? Rename it"
        )
        _warn(name, f"it is called after no setting: {remedy}, or unset it")


def _warn_of_ours() -> None:
    known = {variable(name) for name in READ | ELSEWHERE}
    capitals = {name: name.upper() for name in os.environ if name.upper().startswith(PREFIX)}
    ours = {name for name, each in capitals.items() if not each.startswith(SERVER_PREFIX)} - known
    left_out = {variable(name): name for name in LEFT_OUT - ELSEWHERE}
    for name in sorted(ours):
        if setting := left_out.get(capitals[name]):
            _warn(name, f"{setting} is for each program to set: write ChatAmulet({setting}=...)")
    warn_of_unread((name for name in ours if capitals[name] not in left_out), known, PREFIX)


def _warn(name: str, reason: str) -> None:
    warn(f"{name} in the environment sets nothing, as {reason}.", SettingWarning)


def _check(group: type[BaseModel], name: str, value: str) -> None:
    """Refuse a wrong value by the variable's name, which nothing else in a program shows."""
    try:
        with explained(ConfigurationError):
            group.model_validate({name: value})
    except AmuletError as error:
        raise ConfigurationError(
            f"{variable(name)} in the environment must be right for the setting {name}: {error}"
        ) from None
