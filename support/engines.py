"""The engine behind a chat model, looked at from outside."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from langchain_amulet import ChatAmulet
from langchain_amulet.engine import Engine, HuggingFaceModel, ModelRuntime, acquire
from langchain_amulet.engine.backends import Steps
from langchain_amulet.engine.loading.hub import resolve_model

T = TypeVar("T")


def engine_of(llm: ChatAmulet) -> Engine:
    """The engine that decodes for a chat model."""
    return _runtime(llm).engine


def model_of(llm: ChatAmulet) -> Any:
    """The model of transformers that a chat model answers with."""
    loaded = _runtime(llm).loaded
    assert isinstance(loaded, HuggingFaceModel)
    return loaded.model


def _runtime(llm: ChatAmulet) -> ModelRuntime:
    return acquire(resolve_model(llm.model), llm.load_options)


def whole(work: Callable[[], T]) -> Steps[T]:
    """Work as one step, for which everybody waits."""
    return work()
    yield


async def wait_until_idle(llm: ChatAmulet) -> None:
    """The engine drops what was left at its next step."""

    async def poll() -> None:
        while (stats := engine_of(llm).stats()).rows or stats.queued:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), timeout=30)
