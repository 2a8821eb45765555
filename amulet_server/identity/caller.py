"""A caller, and whose preferences their calls may be made with.

Users of a tenant are that tenant's: their ids are stored as ``tenant/user``, and a slash in an id
is written so that it can't be taken for that one.

Knows names. Doesn't know how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from amulet_server.protocol.errors import ApiError

NOBODY = "anonymous"
"""What logs call a caller who needn't show who they are."""


@dataclass(frozen=True)
class Caller:
    """Who makes a call.

    Attributes:
        name: What logs call them: the name of the key, or how they came in.
        user: Who they are, as those who know them say; None if they are nobody in particular.
        tenant: Whose user that is; None for nobody's.
        for_others: Whether they may say in whose name a call is made.
    """

    name: str
    user: str | None = None
    tenant: str | None = None
    for_others: bool = False

    @property
    def user_id(self) -> str | None:
        """By what their preferences are stored; None if they are nobody in particular."""
        if self.user is None:
            return None
        user = _escaped(self.user)
        return user if self.tenant is None else f"{_escaped(self.tenant)}/{user}"

    def speaking_for(self, user: str | None, param: str = "user") -> Caller:
        """The same in the name that a call gives.

        Args:
            user: The name; None for none.
            param: Where the call gives it.

        Raises:
            ApiError: It is another's, and this caller may not speak for others.
        """
        if user is None or user == self.user:
            return self
        if not self.for_others:
            raise ApiError(
                403,
                "A call is made in its caller's own name unless the API key may speak for others, "
                f"which this one may not: leave {param!r} out.",
                param=param,
                code="not_allowed",
                kind="permission_error",
            )
        return replace(self, user=user)


def users_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """The users that a call's body names, by the fields that name them; it is to be one user."""
    named = {
        "safety_identifier": body.get("safety_identifier"),
        "user": body.get("user"),
        "metadata": (body.get("metadata") or {}).get("user_id"),
    }
    return {field: user for field, user in named.items() if user}


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")
