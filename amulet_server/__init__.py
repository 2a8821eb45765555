"""A chat model behind OpenAI's API, which answers each user in their own style.

`read_settings` reads what a config file, the environment and options say, `opened` opens the model
and the store, and `create_app` makes an ASGI application of them, which a program may serve as it
likes; ``langchain-amulet serve`` does so with uvicorn.

A neighbour of `langchain_amulet`, which doesn't know it: the command line finds its command by an
entry point. It needs langchain-amulet[serve]. What is heavy is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amulet_server.app import create_app
    from amulet_server.config import ServerSettings
    from amulet_server.config_reading import read_settings
    from amulet_server.service import Service, opened

__all__ = ["ServerSettings", "Service", "create_app", "opened", "read_settings"]

_HOMES = MappingProxyType(
    {
        "ServerSettings": "config",
        "Service": "service",
        "create_app": "app",
        "opened": "service",
        "read_settings": "config_reading",
    }
)


def __getattr__(name: str) -> Any:
    """A public name, from the module where it is at home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names, whether they were imported yet or not."""
    return __all__
