"""Finds out who is calling, by what a request's headers show.

The first of these that names a user counts: the API key, if it is a user's; the signed header; the
trusted header. All that are there are checked, those that don't count, too. A key that may speak
for others leaves the rest to the request's body.

Knows headers and addresses. Doesn't know bodies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import jwt

from amulet_server.config import ServerSettings
from amulet_server.credentials import ApiKey
from amulet_server.identity.caller import NOBODY, Caller
from amulet_server.protocol.errors import ApiError

BEARER = "bearer "


class Authenticator:
    """Tells callers by a server's keys and headers."""

    def __init__(self, settings: ServerSettings) -> None:
        """Take the keys and headers of a server."""
        self._keys = {key.digest: key for key in settings.keys}
        self._signed, self._trusted = settings.signed_header, settings.trusted_header
        self._lets_anybody_in = settings.lets_anybody_in
        self._identifies = settings.identifies

    def caller(self, headers: Mapping[str, str], address: str | None) -> Caller:
        """Who sent a request.

        Args:
            headers: The request's headers, by names in any case.
            address: From where the connection comes.

        Raises:
            ApiError: A key or a signature is wrong, a header may not come from there, or nothing
                shows who it is.
        """
        key = self._key(headers)
        signed = self._by_signature(headers)
        trusted = self._by_proxy(headers, address)
        if key is None:
            found = signed or trusted or self._anybody()
            if found is None:
                raise _unauthorized("A call must have an API key or another proof of who makes it.")
            return found
        caller = Caller(key.name, key.user, key.tenant, key.for_others)
        shown = signed or trusted
        if caller.user is not None or shown is None:
            return caller
        if key.tenant is not None and shown.tenant not in (None, key.tenant):
            raise _unauthorized("The API key and the header are of different tenants.")
        # Who is shown to be talking is no longer for the body to say.
        return replace(caller, user=shown.user, tenant=key.tenant or shown.tenant, for_others=False)

    def _anybody(self) -> Caller | None:
        if not self._lets_anybody_in:
            return None
        return Caller(NOBODY, for_others=not self._identifies)

    def _key(self, headers: Mapping[str, str]) -> ApiKey | None:
        """The key that was sent; where there are none, clients send anything, as they must."""
        sent = _bearer(headers.get("authorization"))
        is_token = self._signed is not None and self._signed.header.lower() == "authorization"
        if not sent or not self._keys or (is_token and sent.count(".") == 2):
            return None
        # By its hash, so that the time that it takes tells nothing of the keys.
        key = self._keys.get(hashlib.sha256(sent.encode()).hexdigest())
        if key is None:
            raise _unauthorized("There is no such API key.")
        return key

    def _by_signature(self, headers: Mapping[str, str]) -> Caller | None:
        if self._signed is None or (sent := headers.get(self._signed.header.lower())) is None:
            return None
        if self._signed.header.lower() == "authorization":
            sent = _bearer(sent)
            if sent.count(".") != 2 and self._keys:
                return None  # an API key
        settings = self._signed
        try:
            claims = jwt.decode(
                sent,
                settings.key,
                algorithms=[settings.algorithm],  # never that which the token asks for
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=settings.leeway,
                options={"require": ["exp", settings.claim]},
            )
        except jwt.PyJWTError as error:
            reason = type(error).__name__
            raise _unauthorized(f"The signed header can't be trusted ({reason}).") from None
        user = claims[settings.claim]
        if not isinstance(user, str) or not user:
            raise _unauthorized("The signed header names no user: its claim must be a text.")
        return Caller("signed", user, settings.tenant)

    def _by_proxy(self, headers: Mapping[str, str], address: str | None) -> Caller | None:
        if self._trusted is None or not (user := headers.get(self._trusted.header.lower())):
            return None
        if not self._trusted.trusts(address):
            raise ApiError(
                403,
                f"The header {self._trusted.header} is for trusted proxies, and this connection "
                "comes from none.",
                code="not_allowed",
                kind="permission_error",
            )
        return Caller("trusted", user, self._trusted.tenant)


def _bearer(value: str | None) -> str:
    """What stands behind ``Bearer``; nothing where something else does."""
    if value is None or not value.lower().startswith(BEARER):
        return ""
    return value[len(BEARER) :].strip()


def _unauthorized(message: str) -> ApiError:
    return ApiError(
        401,
        message,
        code="invalid_api_key",
        kind="authentication_error",
        headers={"WWW-Authenticate": "Bearer"},
    )
