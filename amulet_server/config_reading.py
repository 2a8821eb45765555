"""Where a server's settings come from: options, the environment and a config file, in this order.

Each setting has the same name everywhere: ``port`` is ``--port``, ``LANGCHAIN_AMULET_SERVE_PORT``
and ``port = 8000`` in TOML; a setting in a table has two underscores between the names, such as
``LANGCHAIN_AMULET_SERVE_LIMITS__MESSAGES``, and what isn't a text or a number is written as JSON.

Knows where settings are written, and says of one that can't work where that is. Which there are is
in `config`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from amulet_server.config import RequestLimits, ServerSettings
from amulet_server.credentials import SignedHeader, TrustedHeader
from langchain_amulet.chat_models.environment import SERVER_PREFIX, warn_of_unread
from langchain_amulet.chat_models.load_settings import LoadSettings
from langchain_amulet.chat_models.settings import AnswerSettings
from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.validation.pydantic_errors import explanation
from langchain_amulet.validation.wording import message_of, quoted

ENVIRONMENT = f"{SERVER_PREFIX}_"
"""What the names of all environment variables begin with."""

BETWEEN = "__"
"""Between the names of a table and of a setting in it, in a variable's name."""


class _Variables(ServerSettings, BaseSettings):
    """The settings by their variables' names, as pydantic reads the environment; none is made."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT, env_nested_delimiter=BETWEEN, protected_namespaces=()
    )


def read_settings(config: Path | None = None, **options: Any) -> ServerSettings:
    """The settings of a server, which are equal wherever the same is written.

    Args:
        config: The config file, in TOML, which is read once; None for none.
        **options: Settings that override those of the environment and the file.

    Raises:
        ConfigurationError: The file can't be read, or a setting is unknown or can't work.
    """
    written = {} if config is None else _read_file(config)
    try:
        variables = EnvSettingsSource(_Variables)()
        return ServerSettings.model_validate(_overridden(written, variables, options))
    except ValidationError as error:
        raise _refusal(error, options) from None
    except SettingsError as error:  # an environment variable that is no JSON where it must be
        raise ConfigurationError(
            f"An environment variable {ENVIRONMENT}... for a list or a table must be JSON, but "
            f"isn't: {message_of(error)}. Write it as JSON, or put it into the config file."
        ) from None


def _overridden(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """All that sources say, the last of which counts; what they say of a table is put together."""
    found: dict[str, Any] = {}
    for source in sources:
        for name, value in source.items():
            before = found.get(name)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                found[name] = _overridden(before, value)
            else:
                found[name] = value
    return found


def _refusal(error: ValidationError, options: Mapping[str, Any]) -> AmuletError:
    """What to say of settings that can't work: of one from the environment, by its variable."""
    told = explanation(error, ConfigurationError, ServerSettings.model_fields, quoting=False)
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    if not place or place[0] in options:
        return told
    names = (ENVIRONMENT + BETWEEN.join(place[:end]) for end in range(len(place), 0, -1))
    present = {name.upper(): name for name in os.environ}
    variable = next((present[name.upper()] for name in names if name.upper() in present), None)
    if variable is None:
        return told
    # What is to be a number or a truth value is no secret.
    is_shown = first["type"].endswith("_parsing")
    value = f", which is {quoted(first['input'])}" if is_shown else ""
    return type(told)(
        f"{told} It is the variable {variable} in the environment that says so{value}."
    )


def warn_of_misspelled() -> None:
    """Warn of environment variables that look like settings of a server and are none.

    Within a table pydantic refuses what is unknown.
    """
    tables: Mapping[str, type[BaseModel]] = {
        "limits": RequestLimits,
        "signed_header": SignedHeader,
        "trusted_header": TrustedHeader,
        "load": LoadSettings,
        "answers": AnswerSettings,
    }
    names = [f"{table}{BETWEEN}{name}" for table, of in tables.items() for name in of.model_fields]
    names += [*ServerSettings.model_fields, "config"]  # which the command reads
    known = {f"{ENVIRONMENT}{name.upper()}" for name in names}
    unread = {
        name
        for name in os.environ
        if name.upper().startswith(SERVER_PREFIX) and _head(name) not in known
    }
    warn_of_unread(unread, known, SERVER_PREFIX)


def _head(name: str) -> str:
    """A variable's name without what stands behind a table's, as it is read: in any case."""
    return name.upper().partition(BETWEEN)[0]


def _read_file(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"A config file must be a file that is there, but {str(config)!r} can't be read: "
            f"{error.strerror}. Check its name, or leave it out."
        ) from None
    except ValueError as error:
        raise ConfigurationError(
            f"A config file must be TOML, but {str(config)!r} can't be read: {message_of(error)}. "
            "Mend it, or name another."
        ) from None
