"""Tools with which an agent remembers and forgets how its user likes to be answered.

Whose preference it is, the model has no say in: that comes from the agent's config or context.

This module knows LangChain's tools and a memory: nothing of agents or models.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, Field

from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.memory.graph_memory import GraphMemory
from langchain_amulet.memory.preference_memory import PreferenceMemory
from langchain_amulet.memory.profile import Profile
from langchain_amulet.preferences.resolution import PreferenceSource, find_user, running_graph

MAX_CHARS = 300
"""The longest preference that a model may have remembered: a wish in a few words, no essay."""


class Remember(BaseModel):
    """Remember how the user likes to be answered, now and in later conversations."""

    preference: str = Field(
        max_length=MAX_CHARS, description="The wish in a few words, such as 'Keep it short.'"
    )


class Forget(BaseModel):
    """Forget a preference that the user takes back."""

    preference: str = Field(max_length=MAX_CHARS, description="The wish as it was remembered.")


def preference_tools(memory: PreferenceSource | GraphMemory | None = None) -> list[BaseTool]:
    """``remember_preference`` and ``forget_preference``, for synchronous and asynchronous agents.

    What can't be done, such as where nobody is signed in, is told to the model as the tool's
    error.

    Args:
        memory: Where preferences are kept; None for the store of the agent that has the tools.

    Raises:
        ConfigurationError: Nothing can be written to the memory.
    """
    keeper = memory if isinstance(memory, GraphMemory) else GraphMemory(memory)

    def remember(preference: str, config: RunnableConfig) -> str:
        with _told_to_the_model():
            user_id, kept = _whose(keeper, config)
            kept.add(user_id, preference)
            return "Remembered."

    async def aremember(preference: str, config: RunnableConfig) -> str:
        with _told_to_the_model():
            user_id, kept = _whose(keeper, config)
            await kept.aadd(user_id, preference)
            return "Remembered."

    def forget(preference: str, config: RunnableConfig) -> str:
        with _told_to_the_model():
            user_id, kept = _whose(keeper, config)
            forgotten = kept.forget(user_id, preference)
            return "Forgotten." if forgotten else _unknown(kept.profile(user_id))

    async def aforget(preference: str, config: RunnableConfig) -> str:
        with _told_to_the_model():
            user_id, kept = _whose(keeper, config)
            forgotten = await kept.aforget(user_id, preference)
            return "Forgotten." if forgotten else _unknown(await kept.aprofile(user_id))

    return [
        _tool("remember_preference", Remember, remember, aremember),
        _tool("forget_preference", Forget, forget, aforget),
    ]


def _tool(
    name: str,
    schema: type[BaseModel],
    func: Callable[..., str],
    coroutine: Callable[..., Awaitable[str]],
) -> BaseTool:
    return StructuredTool.from_function(
        func,
        coroutine=coroutine,
        name=name,
        args_schema=schema,
        description=schema.__doc__,
        handle_tool_error=True,
        handle_validation_error=True,
    )


def _whose(keeper: GraphMemory, config: RunnableConfig) -> tuple[str, PreferenceMemory]:
    user_id = find_user(config)
    if user_id is None:
        raise ToolException("Nothing was done, as nobody is signed in.")
    return user_id, keeper.over(getattr(running_graph(config), "store", None))


def _unknown(profile: Profile | None) -> str:
    """For the model to try again, in the words in which it was remembered."""
    known = [preference.text for preference in profile.preferences] if profile else []
    return f"Nothing was forgotten. What is remembered: {' | '.join(known) or 'nothing'}"


@contextmanager
def _told_to_the_model() -> Iterator[None]:
    """Make errors of the package the tool's; those of the program that has the tools stay."""
    try:
        yield
    except ConfigurationError:
        raise
    except AmuletError as error:
        raise ToolException(str(error)) from error
