"""Whose computed prompts a call may make use of: that of everybody, of its user, or of nobody else.

The user goes with the call's arguments from where LangChain hands the call over, since a config
doesn't reach the engine. Nobody's calls share among themselves.

This module knows users and the engine's scopes: nothing of how prefixes are kept.
"""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

from langchain_amulet.engine import CacheScope

CACHE_USER = "_cache_user"
"""The argument that holds a call's user; no setting, and neither caches nor traces see it."""

ScopeName = Literal["process", "user", "off"]
"""How far computed prompts are shared."""


def cache_scope(name: ScopeName, user: str | None) -> CacheScope:
    """What one call shares with others.

    Args:
        name: "process" for all calls, "user" for those of the same user, "off" for none.
        user: In whose name the call is made; None for nobody's.
    """
    if name == "process":
        return CacheScope()
    if name == "user":
        return CacheScope(("user", user))
    return CacheScope(uuid4(), keeps=False)
