"""What tests of searches ask, of whom, and what they look at."""

from typing import Any

from langchain_core.messages import AIMessage

from langchain_amulet import ChatAmulet

SHORT: dict[str, Any] = {"preference": "Keep it short."}


def sampling() -> ChatAmulet:
    """The bundled model, whose samples differ but come again."""
    settings: dict[str, Any] = {"temperature": 1.0, "seed": 0, "max_tokens": 60}
    return ChatAmulet(dtype="float32", preference="Be cheerful.", **settings)


def searched(answer: AIMessage) -> dict[str, Any]:
    """What an answer says of the search that found it."""
    found: dict[str, Any] = answer.response_metadata["search"]
    return found
