"""Settings from the environment: ``LANGCHAIN_AMULET_DEVICE=cuda:1`` is the default of ``device``.

One rule for all that are written as a text or a number. Left out are those that belong to one
program or one user, and those that have a model's own code run: a variable is set for everything
that runs after it.

This module knows names of settings and variables: nothing of what settings mean.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from pydantic import BaseModel

from langchain_amulet.chat_models.settings import AnswerSettings, LoadSettings, ModelSettings
from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.validation import explained

PREFIX = "LANGCHAIN_AMULET_"

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
"""Settings that no variable sets."""


def variable(setting: str) -> str:
    """The name of the variable for a setting."""
    return f"{PREFIX}{setting.upper()}"


def from_environment(given: Collection[str]) -> dict[str, str]:
    """The settings that variables set, as they are written there.

    Args:
        given: Settings that the program sets, which wins.

    Raises:
        ConfigurationError: A variable's value can't be its setting's.
    """
    found: dict[str, str] = {}
    for settings in (LoadSettings, AnswerSettings, ModelSettings):
        for name in settings.model_fields.keys() - LEFT_OUT - set(given):
            if value := os.environ.get(variable(name)):
                _check(settings, name, value)
                found[name] = value
    return found


def _check(settings: type[BaseModel], name: str, value: str) -> None:
    """Refuse a wrong value by the variable's name, which nothing else in a program shows."""
    try:
        with explained(ConfigurationError):
            settings.model_validate({name: value})
    except AmuletError as error:
        raise ConfigurationError(
            f"{variable(name)} in the environment must be right for the setting {name}: {error}"
        ) from None
