"""Each way in, and each that must not be one."""

import hashlib
import time
from functools import lru_cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from amulet_server import read_settings
from amulet_server.identity.authenticator import Authenticator
from amulet_server.identity.caller import Caller
from amulet_server.protocol.errors import ApiError

SECRET = "a secret of more than 64 bytes, so that it will do for HS512, too, all in all"
OTHER = "another one of more than 32 bytes"
PROXY, STRANGER = "10.0.0.7", "192.0.2.9"
JWT = "x-openwebui-user-jwt"

ADA = {"name": "ada", "key": "sk-of-ada", "user": "ada"}
WEBUI = {"name": "webui", "key": "sk-of-webui", "for_others": True}
ACME = {"name": "acme", "key": "sk-of-acme", "for_others": True, "tenant": "acme"}
PLAIN = {"name": "plain", "key": "sk-of-plain"}
KEYS = {"keys": [ADA, WEBUI, ACME, PLAIN]}
SIGNED = {"signed_header": {"secret": SECRET, "issuer": "open-webui"}}
TRUSTED = {"trusted_header": {"header": "X-User", "trusted_proxies": ["10.0.0.0/24"]}}


def caller(
    settings: dict[str, Any], headers: dict[str, str] | None = None, address: str = STRANGER
) -> Caller:
    return Authenticator(read_settings(**settings)).caller(Headers(headers or {}), address)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> dict[str, str]:
    whole = {"sub": "ada", "iss": "open-webui", "exp": time.time() + 60, **claims}
    kept = {name: value for name, value in whole.items() if value is not None}
    return {JWT: jwt.encode(kept, secret, algorithm=algorithm)}


@lru_cache(maxsize=1)
def rsa_pair() -> tuple[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return secret.decode(), public.decode()


# --- Ways in ---


def test_where_nobody_shows_who_they_are_anybody_may_speak_for_anybody() -> None:
    found = caller({}, bearer("whatever a client must send"))
    assert found.speaking_for("ada").user_id == "ada"


def test_a_key_is_its_user_s() -> None:
    assert caller(KEYS, bearer("sk-of-ada")).user_id == "ada"


def test_a_key_may_be_told_by_its_hash() -> None:
    other = {"keys": [{"name": "ada", "sha256": "0" * 64, "user": "ada"}]}
    with pytest.raises(ApiError):
        caller(other, bearer("sk-of-ada"))
    digest = hashlib.sha256(b"sk-of-ada").hexdigest()
    hashed = {"keys": [{"name": "ada", "sha256": digest, "user": "ada"}]}
    assert caller(hashed, bearer("sk-of-ada")).user_id == "ada"


def test_a_key_that_may_speaks_for_others_who_are_those_of_its_tenant() -> None:
    assert caller(KEYS, bearer("sk-of-webui")).speaking_for("bob").user_id == "bob"
    assert caller(KEYS, bearer("sk-of-acme")).speaking_for("bob").user_id == "acme/bob"


def test_a_signed_header_says_who_is_talking() -> None:
    assert caller(SIGNED, signed()).user_id == "ada"
    assert caller(KEYS | SIGNED, signed() | bearer("sk-of-webui")).user_id == "ada"


def test_a_signed_header_may_be_signed_by_a_private_key() -> None:
    private, public = rsa_pair()
    settings = {"signed_header": {"algorithm": "RS256", "public_key": public}}
    assert caller(settings, signed(private, "RS256")).user_id == "ada"


def test_a_token_may_stand_where_keys_do() -> None:
    settings = {"signed_header": {"secret": SECRET, "header": "Authorization"}}
    token = signed()[JWT]
    assert caller(settings, bearer(token)).user_id == "ada"
    assert caller(settings | KEYS, bearer(token)).user_id == "ada"
    assert caller(settings | {"keys": [WEBUI]}, bearer("sk-of-webui")).name == "webui"


def test_a_proxy_s_header_says_who_is_talking() -> None:
    assert caller(TRUSTED, {"x-user": "ada"}, PROXY).user_id == "ada"
    assert caller(TRUSTED, {"x-user": "ada"}, f"::ffff:{PROXY}").user_id == "ada"


def test_the_key_s_user_counts_before_the_header_s() -> None:
    found = caller(KEYS | SIGNED, signed(sub="bob") | bearer("sk-of-ada"))
    assert found.user_id == "ada"


# --- Ways that are none ---


@pytest.mark.parametrize("headers", [{}, bearer("sk-of-eve"), bearer(""), {"authorization": "x"}])
def test_without_a_key_that_there_is_nobody_gets_in(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        caller(KEYS, headers)
    assert caught.value.status == 401


def test_who_shows_nothing_is_told_by_what_they_may() -> None:
    ways = {
        "an API key behind Bearer in Authorization": KEYS,
        "a signed JWT in X-OpenWebUI-User-Jwt": SIGNED,
        "X-User by a trusted proxy": TRUSTED,
    }
    for told, settings in ways.items():
        with pytest.raises(ApiError, match=f"send {told}\\.$"):
            caller(settings)
    with pytest.raises(ApiError, match=f"send {' or '.join(ways)}\\.$"):
        caller(KEYS | SIGNED | TRUSTED)


@pytest.mark.parametrize("key", ["sk-of-ada", "sk-of-plain"])
def test_a_key_without_the_right_speaks_for_nobody_else(key: str) -> None:
    with pytest.raises(ApiError) as caught:
        caller(KEYS, bearer(key)).speaking_for("bob")
    assert caught.value.status == 403
    assert "bob" not in str(caught.value)


def test_a_key_may_name_its_own_user() -> None:
    assert caller(KEYS, bearer("sk-of-ada")).speaking_for("ada").user_id == "ada"


@pytest.mark.parametrize(
    "headers",
    [
        signed(OTHER),
        signed(exp=time.time() - 3600),
        signed(exp=None),
        signed(iss="somebody"),
        signed(sub=None),
        signed(sub=""),
        signed(algorithm="HS512"),
        {JWT: "no token"},
        {JWT: jwt.encode({"sub": "ada", "exp": 2e9}, None, algorithm="none")},
    ],
    ids=[
        "secret",
        "expired",
        "endless",
        "issuer",
        "nobody",
        "empty",
        "algorithm",
        "nothing",
        "unsigned",
    ],
)
def test_a_header_that_isn_t_signed_as_agreed_gets_nobody_in(headers: dict[str, str]) -> None:
    for settings, more in ((SIGNED, {}), (SIGNED | KEYS, bearer("sk-of-webui"))):
        with pytest.raises(ApiError) as caught:
            caller(settings, headers | more)
        assert caught.value.status == 401


@pytest.mark.parametrize("claim", ["exp", "sub", "iss"])
def test_a_claim_that_a_signed_header_lacks_is_named(claim: str) -> None:
    with pytest.raises(ApiError, match=f"must have the claim '{claim}'") as caught:
        caller(SIGNED, signed(**{claim: None}))
    assert caught.value.status == 401


@pytest.mark.parametrize(
    "settings, sent",
    [
        (TRUSTED, {"X-User": "ada"}),
        (SIGNED, signed()),
        (KEYS, bearer("sk-of-ada")),
        (SIGNED | {"signed_header": {"secret": SECRET, "header": "Authorization"}}, bearer("x")),
        ({}, bearer("anything")),
    ],
    ids=["trusted", "signed", "key", "signed key", "nobody's"],
)
@pytest.mark.parametrize("second", ["same", "another", ""])
def test_what_shows_who_calls_may_not_be_sent_twice(
    settings: dict[str, Any], sent: dict[str, str], second: str
) -> None:
    ((name, value),) = sent.items()
    values = (value, value if second == "same" else second)
    raw = [(name.lower().encode(), each.encode()) for each in values]
    for headers in (raw, raw[::-1]):
        with pytest.raises(ApiError, match="(?i)" + name) as caught:
            Authenticator(read_settings(**settings)).caller(Headers(raw=headers), PROXY)
        assert (caught.value.status, caught.value.detail.code) == (400, "repeated_header")


def test_other_headers_may_be_sent_twice() -> None:
    raw = [(b"x-user", b"ada"), (b"cookie", b"a"), (b"cookie", b"b")]
    assert Authenticator(read_settings(**TRUSTED)).caller(Headers(raw=raw), PROXY).user == "ada"


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    _, public = rsa_pair()
    settings = {"signed_header": {"algorithm": "RS256", "public_key": public}}
    with pytest.raises(ApiError):
        caller(settings, signed("a forger's own secret, long enough for it"))


@pytest.mark.parametrize("address", [STRANGER, "10.0.1.7", "", "proxy"])
def test_a_trusted_header_from_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(ApiError) as caught:
        caller(TRUSTED, {"x-user": "ada"}, address)
    assert caught.value.status == 403


def test_who_is_shown_to_be_talking_can_t_be_another_by_the_body() -> None:
    found = caller(KEYS | SIGNED, signed() | bearer("sk-of-webui"))
    with pytest.raises(ApiError):
        found.speaking_for("bob")


def test_with_headers_to_show_it_nobody_speaks_for_others_without() -> None:
    with pytest.raises(ApiError):
        caller(SIGNED)
    found = caller(SIGNED | {"no_auth": True})
    assert found.user_id is None
    with pytest.raises(ApiError):
        found.speaking_for("bob")


names = st.text(min_size=1)


@given(names, names, st.none() | names, st.none() | names)
def test_two_users_are_never_stored_as_one(
    user: str, other: str, tenant: str | None, other_tenant: str | None
) -> None:
    first = Caller("key", user, tenant)
    second = Caller("key", other, other_tenant)
    assert (first.user_id == second.user_id) == ((user, tenant) == (other, other_tenant))
