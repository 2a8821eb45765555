"""A local chat model that answers every user in that user's own style.

>>> from langchain_amulet import ChatAmulet
>>> llm = ChatAmulet(model="pocket")
>>> llm.invoke("How do I sleep better?", preference="Keep it short.")  # doctest: +SKIP

What is heavy is imported when it is asked for, so that the command line can say how it is used
without loading PyTorch.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from langchain_amulet import errors

if TYPE_CHECKING:
    from langchain_amulet.chat_models.chat_amulet import ChatAmulet
    from langchain_amulet.memory import PreferenceMemory
    from langchain_amulet.methods import Amulet
    from langchain_amulet.preferences.preference import Preference

__all__ = ["Amulet", "ChatAmulet", "Preference", "PreferenceMemory", "errors"]

_HOMES = MappingProxyType(
    {
        "Amulet": "methods",
        "ChatAmulet": "chat_models",
        "Preference": "preferences",
        "PreferenceMemory": "memory",
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
