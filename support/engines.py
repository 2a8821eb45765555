"""The engine behind a chat model, looked at from outside."""

import asyncio

from langchain_amulet import ChatAmulet
from langchain_amulet.engine import Engine, acquire
from langchain_amulet.engine.loading.hub import resolve_model


def engine_of(llm: ChatAmulet) -> Engine:
    """The engine that decodes for a chat model."""
    return acquire(resolve_model(llm.model), llm.load_options).engine


async def wait_until_idle(llm: ChatAmulet) -> None:
    """The engine drops what was left at its next step."""

    async def poll() -> None:
        while engine_of(llm).stats().rows:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), timeout=30)
