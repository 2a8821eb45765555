"""What a server is told: by options, the environment and a config file, in this order.

Each setting has the same name everywhere: ``port`` is ``--port``, ``LANGCHAIN_AMULET_SERVE_PORT``
and ``port = 8000`` in TOML; a setting in a table has two underscores between the names, such as
``LANGCHAIN_AMULET_SERVE_LIMITS__MESSAGES``, and what isn't a text or a number is written as JSON.

Knows which settings there are and what they may be. Doesn't know how they are used.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from amulet_server.credentials import (
    NAME,
    ApiKey,
    SettingsTable,
    SignedHeader,
    TrustedHeader,
)
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation import explained, message_of

ENVIRONMENT = "LANGCHAIN_AMULET_SERVE_"
"""What the names of all environment variables begin with."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Addresses at which only this machine is heard."""

TRAITS: Mapping[str, str] = MappingProxyType(
    {
        "concise": "Keep it short.",
        "creative": "Be creative.",
        "detailed": "Please explain everything in detail.",
        "formal": "Please use a formal tone.",
        "uplifting": "Be uplifting.",
    }
)
"""Traits that there are unless a config names others."""


class StyleSettings(SettingsTable):
    """A named style, which callers choose as a model: ``pocket@brief``.

    Attributes:
        preference: How answers are wanted, in words; or else
        traits: traits with more or less of each, such as "concise +, formal -".
        method: How it steers, such as "strong"; None for the server's.
    """

    preference: str | None = Field(default=None, min_length=1)
    traits: str | None = Field(default=None, min_length=1)
    method: str | float | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.preference is None) == (self.traits is None):
            raise ConfigurationError(
                "A style has either a preference or traits, but one has both or neither: give one."
            )
        return self


class RequestLimits(SettingsTable):
    """How large a request may be.

    Attributes:
        body_bytes: Bytes of its body.
        messages: Messages of a conversation.
        tools: Tools that may be called.
        choices: Answers to one request, OpenAI's ``n``.
        stops: Stop strings.
    """

    body_bytes: int = Field(default=4 * 2**20, ge=1024)
    messages: int = Field(default=2000, ge=1)
    tools: int = Field(default=128, ge=1)
    choices: int = Field(default=8, ge=1)
    stops: int = Field(default=16, ge=1)


Named = Annotated[str, Field(pattern=NAME)]


class ServerSettings(BaseSettings):
    """Everything that a server is told.

    Attributes:
        model: ``pocket``, a Hub id, or a local folder of a causal LM.
        name: What callers call the model; None for the same.
        load: How it is loaded: settings of `ChatAmulet`, such as ``device`` and ``max_rows``.
        answers: How it answers where calls don't say: settings of `ChatAmulet`, such as
            ``max_tokens``, ``temperature`` and ``method``.
        store: Where preferences are kept: a file of SQLite, the URL of a PostgreSQL database, or
            a store of your own, named as module:name; None to keep none.
        memory: How the store is used: settings of `PreferenceMemory`, such as ``on_store_error``.
        host: The address to listen at.
        port: The port to listen at; 0 for any that is free.
        no_auth: Whether anybody who reaches another address than this machine's own may call.
        allowed_hosts: What browsers may call this server besides its loopback names; checked
            where nobody has to show who they are.
        cors_origins: Web pages of other origins that may call it from a browser.
        keys: API keys.
        signed_header: A header with a JWT that says who is talking.
        trusted_header: A header by which a proxy says who is talking.
        task_header: A header that front ends send with calls of their own, such as for titles.
            These aren't steered.
        playground: Whether there is a page for browsers at ``/``.
        methods: Methods that calls may ask for by name, besides strengths and numbers. Leave out
            those that load further models, and those that decode many answers for one.
        traits: What a preference's or style's traits stand for.
        styles: Styles by name. Each trait is one, too.
        limits: How large a request may be.
        drain_seconds: How long answers under way may take to end when the server is told to stop.
        reader_seconds: How long a caller may leave a piece of an answer unread before it is let go.
        log_level: The least severe lines that are logged.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
    )

    model: str = Field(default="pocket", min_length=1)
    name: str | None = Field(default=None, pattern=r"^[^@\s]+$")
    load: dict[str, Any] = Field(default_factory=dict)
    answers: dict[str, Any] = Field(default_factory=dict)
    store: str | None = None
    memory: dict[str, Any] = Field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    no_auth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    signed_header: SignedHeader | None = None
    trusted_header: TrustedHeader | None = None
    task_header: str = "X-OpenWebUI-Task"
    playground: bool = True
    methods: tuple[str, ...] = (
        "base",
        "pref",
        "amulet",
        "linear_alignment",
        "context_steering",
    )
    traits: dict[Named, str] = Field(default_factory=lambda: dict(TRAITS))
    styles: dict[Named, StyleSettings] = Field(default_factory=dict)
    limits: RequestLimits = RequestLimits()
    drain_seconds: int = Field(default=30, ge=0)
    reader_seconds: float = Field(default=60.0, gt=0.0, allow_inf_nan=False)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, the one that counts most first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        repeated = len(self.keys) - len({key.name for key in self.keys})
        if repeated or len({key.digest for key in self.keys}) < len(self.keys):
            raise ConfigurationError(
                "API keys must differ, in their names, too, but two of them don't: give each its "
                "own."
            )
        if self.no_auth and self.keys:
            raise ConfigurationError(
                "With no_auth anybody may call, but there are API keys: leave either out."
            )
        if self.host not in LOOPBACK and not (self.identifies or self.no_auth):
            raise ConfigurationError(
                "A server that others can reach must know who calls, but host is "
                f"{self.host!r} and there is neither an API key nor a signed or trusted header: "
                "add one to the config file, or say --no-auth to answer anybody."
            )
        return self

    @property
    def model_name(self) -> str:
        """What callers call the model; no style can be meant by it."""
        return self.name or self.model.rstrip("/").replace("@", "-")

    @property
    def identifies(self) -> bool:
        """Whether there is anything by which callers show who they are."""
        return bool(self.keys or self.signed_header or self.trusted_header)

    @property
    def lets_anybody_in(self) -> bool:
        """Whether callers needn't show who they are."""
        return self.no_auth or not self.identifies


def read_settings(config: Path | None = None, **options: Any) -> ServerSettings:
    """The settings of a server.

    Args:
        config: The config file, in TOML; None for none.
        **options: Settings that override those of the environment and the file.

    Raises:
        ConfigurationError: The file can't be read, or a setting is unknown or can't work.
    """
    if config is not None:
        _check_file(config)

    class FromFile(ServerSettings):
        """The settings with their file, which pydantic wants to know of a class."""

        model_config = SettingsConfigDict(toml_file=config)

    try:
        with explained(ConfigurationError, ServerSettings.model_fields, quoting=False):
            return FromFile(**options)
    except SettingsError as error:  # an environment variable that is no JSON where it must be
        raise ConfigurationError(
            f"An environment variable {ENVIRONMENT}... for a list or a table must be JSON, but "
            f"isn't: {message_of(error)}. Write it as JSON, or put it into the config file."
        ) from None


def _check_file(config: Path) -> None:
    try:
        tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"A config file must be TOML, but {str(config)!r} can't be read: {message_of(error)}. "
            "Mend it, or name another."
        ) from None
