"""Finds out who is calling, by what a request's headers show.

The first of these that names a user counts: the API key, if it is a user's; the signed header; the
trusted header. All that are there are checked, those that don't count, too, and each may be there
once. A key that may speak for others leaves the rest to the request's body.

Knows headers and addresses. Doesn't know bodies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import jwt
from starlette.datastructures import Headers

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
        self._ways = " or ".join(_ways(settings))

    def caller(self, headers: Headers, address: str | None) -> Caller:
        """Who sent a request.

        Args:
            headers: The request's headers, those that were sent twice included.
            address: From where the connection comes.

        Raises:
            ApiError: A key or a signature is wrong, a header may not come from there or is there
                more than once, or nothing shows who it is.
        """
        self._check_once(headers)
        key = self._key(headers)
        signed = self._by_signature(headers)
        trusted = self._by_proxy(headers, address)
        if key is None:
            found = signed or trusted or self._anybody()
            if found is None:
                raise _unauthorized(
                    f"A call must show who makes it, but this one doesn't: send {self._ways}."
                )
            return found
        caller = Caller(key.name, key.user, key.tenant, key.for_others)
        shown = signed or trusted
        if caller.user is not None or shown is None:
            return caller
        if key.tenant is not None and shown.tenant not in (None, key.tenant):
            raise _unauthorized(
                "An API key and a header must be of one tenant, but these are of two: send those "
                "that go together."
            )
        # Who is shown to be talking is no longer for the body to say.
        return replace(caller, user=shown.user, tenant=key.tenant or shown.tenant, for_others=False)

    def _check_once(self, headers: Headers) -> None:
        """Refuse what is said twice: a proxy that adds a header leaves its caller's in front."""
        shown = ("Authorization", *(each.header for each in (self._signed, self._trusted) if each))
        for name in shown:
            if len(headers.getlist(name)) > 1:
                raise ApiError(
                    400,
                    f"The header {name} must be sent once, as it shows who calls, but it is there "
                    "more than once: leave all but one out, and have a proxy replace what its "
                    "callers send under that name.",
                    code="repeated_header",
                )

    def _anybody(self) -> Caller | None:
        if not self._lets_anybody_in:
            return None
        return Caller(NOBODY, for_others=not self._identifies)

    def _key(self, headers: Headers) -> ApiKey | None:
        """The key that was sent; where there are none, clients send anything, as they must."""
        sent = _bearer(headers.get("authorization"))
        is_token = self._signed is not None and self._signed.header.lower() == "authorization"
        if not sent or not self._keys or (is_token and sent.count(".") == 2):
            return None
        # By its hash, so that the time that it takes tells nothing of the keys.
        key = self._keys.get(hashlib.sha256(sent.encode()).hexdigest())
        if key is None:
            raise _unauthorized(
                "An API key must be one that this server has, but the one in Authorization isn't: "
                "check it, or ask whoever runs the server for one."
            )
        return key

    def _by_signature(self, headers: Headers) -> Caller | None:
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
        except jwt.MissingRequiredClaimError as error:
            raise _unauthorized(
                f"The header {settings.header} must have the claim {error.claim!r}, but hasn't: "
                "have whoever signs put it in."
            ) from None
        except jwt.PyJWTError as error:
            raise _unauthorized(
                f"The header {settings.header} must be a JWT that is signed as this server has "
                f"agreed and hasn't expired, but it isn't ({type(error).__name__}): have whoever "
                "signs use the same secret, algorithm, issuer and audience, and sign anew."
            ) from None
        user = claims[settings.claim]
        if not isinstance(user, str) or not user:
            raise _unauthorized(
                f"The header {settings.header} must name a user by its claim "
                f"{settings.claim!r}, a text, but doesn't: have whoever signs put it in."
            )
        return Caller("signed", user, settings.tenant)

    def _by_proxy(self, headers: Headers, address: str | None) -> Caller | None:
        if self._trusted is None or not (user := headers.get(self._trusted.header.lower())):
            return None
        if not self._trusted.trusts(address):
            raise ApiError(
                403,
                f"The header {self._trusted.header} must come from a trusted proxy, but this "
                "connection comes from none: leave it out, or have the server's trusted_proxies "
                "name this one.",
                code="not_allowed",
                kind="permission_error",
            )
        return Caller("trusted", user, self._trusted.tenant)


def _ways(settings: ServerSettings) -> Iterator[str]:
    """What callers may show who they are by, as they are told to."""
    if settings.keys:
        yield "an API key behind Bearer in Authorization"
    if settings.signed_header is not None:
        yield f"a signed JWT in {settings.signed_header.header}"
    if settings.trusted_header is not None:
        yield f"{settings.trusted_header.header} by a trusted proxy"


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
