"""What a server is told.

Knows which settings there are and what they may be. Doesn't know where they come from, which is in
`config_reading`, or how they are used.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from amulet_server.credentials import (
    ApiKey,
    Name,
    SettingsTable,
    SignedHeader,
    TrustedHeader,
)
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences import TRAITS, Trait
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers
from langchain_amulet.validation.wording import quoted

HOST = re.compile(r"\*|(\*\.)?[\w.-]+|\[[0-9A-Fa-f:.]+\]")
"""A name by which browsers may call: an address of IPv6 has brackets around it."""

ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\sA-Z]+")
"""Where a page comes from, as browsers say it: in small letters, without a path."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Addresses at which only this machine is heard."""


def _as_trait(value: object) -> object:
    return Trait(more=value) if isinstance(value, str) else value


def _as_style(value: object) -> object:
    return {"preference": value} if isinstance(value, str) else value


def _check_host(name: str) -> str:
    if not HOST.fullmatch(name):
        raise ConfigurationError(
            "allowed_hosts must be names without scheme, port and path, such as 'example.org', "
            f"'*.example.org' for all within it or '*' for any, but one is {quoted(name)}: write "
            "the name alone."
        )
    return name


def _check_origin(origin: str) -> str:
    if not ORIGIN.fullmatch(origin):
        raise ConfigurationError(
            "cors_origins must be origins as browsers send them, such as 'https://example.org', "
            "'http://localhost:3000' or '*' for all, in small letters and without a path, but one "
            f"is {quoted(origin)}: write it so."
        )
    return origin


HostName = Annotated[str, AfterValidator(_check_host)]
"""A name by which browsers may call."""

Origin = Annotated[str, AfterValidator(_check_origin)]
"""A web page's origin."""

NamedTrait = Annotated[Trait, BeforeValidator(_as_trait)]
"""A trait as a config gives it: a table with a trait's fields, or the text that asks for more."""


class StyleSettings(SettingsTable):
    """A named style, which callers choose as a model: ``pocket@brief``.

    Attributes:
        preference: How answers are wanted, in words; or else
        traits: traits with more or less of each, such as "concise +, formal -".
        method: How it steers, such as "strong"; None for the server's.
    """

    table: ClassVar[str] = "a style"

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
        values: Values that its lists and objects hold together.
    """

    table: ClassVar[str] = "limits"

    body_bytes: int = Field(default=4 * 2**20, ge=1024)
    messages: int = Field(default=2000, ge=1)
    tools: int = Field(default=128, ge=1)
    choices: int = Field(default=8, ge=1)
    stops: int = Field(default=16, ge=1)
    values: int = Field(default=100_000, ge=1024)


NamedStyleSettings = Annotated[StyleSettings, BeforeValidator(_as_style)]
"""A style as a config gives it: a table with its settings, or how answers are wanted, in words."""


class ServerSettings(FlaglessNumbers):
    """Everything that a server is told.

    Attributes:
        model: ``pocket``, a Hub id, a local folder of a causal LM, or a GGUF file.
        name: What callers call the model, without @ and spaces; None for the same, of a local
            folder or file its name.
        load: How it is loaded: settings of `ChatAmulet`, such as ``device`` and ``max_rows``.
        answers: How it answers where calls don't say: settings of `ChatAmulet`, such as
            ``max_tokens``, ``temperature`` and ``method``.
        store: Where preferences are kept: a file of SQLite, the URL of a PostgreSQL database, or
            a store of your own, named as module:name; None to keep none.
        memory: How the store is used: settings of `PreferenceMemory`, such as ``on_store_error``.
        host: The address to listen at; empty for all that this machine has.
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
        traits: Traits by name, with which preferences and styles are made.
        styles: Styles by name; None for the package's presets. Each trait is one, too.
        limits: How large a request may be.
        drain_seconds: How long answers under way may take to end when the server is told to stop.
        reader_seconds: How long a caller may leave a piece of an answer unread before it is let go.
        log_level: The least severe lines that are logged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = Field(default="pocket", min_length=1)
    name: str | None = None
    load: dict[str, Any] = Field(default_factory=dict)
    answers: dict[str, Any] = Field(default_factory=dict)
    store: str | None = None
    memory: dict[str, Any] = Field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    no_auth: bool = False
    allowed_hosts: tuple[HostName, ...] = ()
    cors_origins: tuple[Origin, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    signed_header: SignedHeader | None = None
    trusted_header: TrustedHeader | None = None
    task_header: str = "X-OpenWebUI-Task"
    playground: bool = True
    methods: tuple[str, ...] = (
        "base",
        "pref",
        "auto",
        "amulet",
        "linear_alignment",
        "context_steering",
    )
    traits: dict[Name, NamedTrait] = Field(default_factory=lambda: dict(TRAITS))
    styles: dict[Name, NamedStyleSettings] | None = None
    limits: RequestLimits = RequestLimits()
    drain_seconds: int = Field(default=30, ge=0)
    reader_seconds: float = Field(default=60.0, gt=0.0, allow_inf_nan=False)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.name is not None and not re.fullmatch(r"[^@\s]+", self.name):
            raise ConfigurationError(
                f"A model's name must be something without @ and spaces, but it is {self.name!r}: "
                "write dashes in their place."
            )
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
        path = Path(os.path.abspath(os.path.expanduser(self.model)))
        # A link keeps its own name: what it points to in the Hub's cache is called by its hash.
        called = path.name if path.exists() else self.model.rstrip("/")
        return self.name or re.sub(r"[@\s]", "-", called or self.model)

    @property
    def identifies(self) -> bool:
        """Whether there is anything by which callers show who they are."""
        return bool(self.keys or self.signed_header or self.trusted_header)

    @property
    def lets_anybody_in(self) -> bool:
        """Whether callers needn't show who they are."""
        return self.no_auth or not self.identifies
