"""By what callers show who they are, as a config file says it: keys, signed and trusted headers.

Knows these settings and what goes together in them. Doesn't know requests.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers
from langchain_amulet.validation.wording import choose, quoted

SECRET_BYTES = 32
"""The shortest secret that HS256 is safe with (RFC 7518, 3.2)."""

KEY_LENGTH = 8
"""Characters of the shortest API key."""

NAME = re.compile(r"[A-Za-z][\w.-]*")


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            "A key, a trait or a style has a name of letters, digits, dots, dashes and "
            f"underscores, which begins with a letter, but one is {quoted(name)}: rename it."
        )
    return name


Name = Annotated[str, AfterValidator(_check_name)]
"""What a key, a trait or a style can be called."""


class SettingsTable(FlaglessNumbers):
    """A table of the config file: nothing unknown is in it.

    Attributes:
        table: What messages call it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        """Refuse unknown names: pydantic's complaint doesn't say which ones there are here."""
        for name in given if isinstance(given, Mapping) else ():
            if name not in cls.model_fields:
                known = list(cls.model_fields)
                raise ConfigurationError(
                    f"{quoted(name)} is unknown in {cls.table}: {choose(str(name), known)} one of "
                    f"{', '.join(known)}."
                )
        return given


class ApiKey(SettingsTable):
    """A key that callers send as ``Authorization: Bearer ...``.

    Attributes:
        name: What logs and metrics call it.
        key: The key itself; or else
        sha256: its hash, as 64 hexadecimal digits, so that the file holds no secret.
        user: Whose key it is; None for a program's.
        tenant: Whose users it is for: users of different tenants are different, whatever they are
            called. None for those that are of no tenant, as on the command line.
        for_others: Whether calls with it may say in whose name they are made.
    """

    table: ClassVar[str] = "an API key"

    name: Name
    key: SecretStr | None = None
    sha256: str | None = None
    user: str | None = None
    tenant: str | None = Field(default=None, min_length=1)
    for_others: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.key is None) == (self.sha256 is None):
            raise ConfigurationError(
                f"An API key has either a key or its sha256, but {self.name!r} has both or "
                "neither: give one."
            )
        if self.key is not None and len(self.key) < KEY_LENGTH:
            raise ConfigurationError(
                f"An API key must have {KEY_LENGTH} characters at least, but that of "
                f"{self.name!r} has {len(self.key)}: make a longer one."
            )
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ConfigurationError(
                f"An API key's sha256 has 64 digits from 0 to f, but that of {self.name!r} "
                "hasn't: write what `sha256sum` prints of the key without a line break."
            )
        if self.for_others and self.user is not None:
            raise ConfigurationError(
                f"An API key belongs to a user or may speak for others, but {self.name!r} does "
                "both: make two keys of it."
            )
        return self

    @property
    def digest(self) -> str:
        """The key's hash."""
        if self.key is None:
            return str(self.sha256)
        return hashlib.sha256(self.key.get_secret_value().encode()).hexdigest()


class SignedHeader(SettingsTable):
    """A header with a signed JWT that says who is talking, such as Open WebUI sends.

    Attributes:
        header: The header's name. Of ``Authorization`` it is what stands behind ``Bearer``.
        algorithm: "HS256" with a secret that both sides have, "RS256" with the issuer's public key.
        secret: The secret of HS256, 32 bytes at least.
        public_key: The public key of RS256, as PEM.
        claim: Which claim is the user's id.
        issuer: Who must have issued it; None for anybody who can sign.
        audience: Whom it must be for; None if it needn't say.
        leeway: By how many seconds clocks may differ.
        tenant: As for an `ApiKey`.
    """

    table: ClassVar[str] = "signed_header"

    header: str = "X-OpenWebUI-User-Jwt"
    algorithm: Literal["HS256", "RS256"] = "HS256"
    secret: SecretStr | None = None
    public_key: str | None = None
    claim: str = "sub"
    issuer: str | None = None
    audience: str | None = None
    leeway: float = Field(default=10.0, ge=0.0, le=300.0)
    tenant: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        given, needed = self.secret is not None, self.algorithm == "HS256"
        if given != needed or (self.public_key is None) != needed:
            raise ConfigurationError(
                f"A signed header needs secret for HS256 and public_key for RS256, and not the "
                f"other one, but algorithm is {self.algorithm}: give the one that goes with it."
            )
        if needed and len(self.key.encode()) < SECRET_BYTES:
            raise ConfigurationError(
                f"The secret of HS256 must have {SECRET_BYTES} bytes at least, but has "
                f"{len(self.key.encode())}: make a longer one, and give it to who signs."
            )
        return self

    @property
    def key(self) -> str:
        """What signatures are checked with."""
        return self.secret.get_secret_value() if self.secret else str(self.public_key)


class TrustedHeader(SettingsTable):
    """A header that a proxy sets to the user's id once it has let them in.

    Attributes:
        header: The header's name. The proxy must remove what others sent under it.
        trusted_proxies: Addresses or networks of the proxies. From elsewhere it is refused.
        tenant: As for an `ApiKey`.
    """

    table: ClassVar[str] = "trusted_header"

    header: str = Field(min_length=1)
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(min_length=1)
    tenant: str | None = Field(default=None, min_length=1)

    def trusts(self, address: str | None) -> bool:
        """Whether a connection from this address is a proxy's."""
        try:
            host = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        mapped = getattr(host, "ipv4_mapped", None)  # how a socket of IPv6 shows one of IPv4
        return any((mapped or host) in network for network in self.trusted_proxies)
