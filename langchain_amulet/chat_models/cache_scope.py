"""Whose computed prompts a call may make use of: that of everybody, of its user, or of nobody else.

The user goes with the call's arguments from where LangChain hands the call over, since a config
doesn't reach the engine. Nobody's calls share among themselves.

This module knows users and the engine's scopes: nothing of how prefixes are kept.
"""

from __future__ import annotations

from types import NoneType
from typing import Literal
from uuid import uuid4

from langchain_amulet.engine import CacheScope

CACHE_USER = "_cache_user"
"""The argument that holds a call's user; no setting, and neither caches nor traces see it."""

TELLS_APART = (
    "This model has no memory, so that no preference is lost: by its user a call makes use of what "
    "was computed for that user alone."
)
"""What a user is good for where there is no memory, as a sentence."""

ScopeName = Literal["process", "user", "off"]
"""How far computed prompts are shared."""


def cache_scope(name: ScopeName, user: object) -> CacheScope:
    """What one call shares with others.

    Args:
        name: "process" for all calls, "user" for those of the same user, "off" for none.
        user: In whose name the call is made, as `named_user` finds it; None for nobody's. Who
            isn't named by a text or a number can't be told from others, and shares with none.
    """
    if name == "process":
        return CacheScope()
    is_told_apart = isinstance(user, (str, int, NoneType)) and not isinstance(user, bool)
    if name == "user" and is_told_apart:
        return CacheScope(("user", user))
    return CacheScope(uuid4(), keeps=False)
