"""Tools with which an agent remembers and forgets how its user likes to be answered.

Whose preference it is, the model has no say in: that comes from the agent's config or context.

This module knows LangChain's tools and preference stores: nothing of agents or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.store.base import BaseStore
from pydantic import BaseModel, Field

from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.memory.coercion import AgentStore
from langchain_amulet.memory.preference_store import PreferenceStore
from langchain_amulet.memory.profile import StoredPreference
from langchain_amulet.preferences.resolution import find_user, running_graph
from langchain_amulet.waiting.procedure import Procedure, arun, run
from langchain_amulet.waiting.wait import twins

MAX_CHARS = 300
"""The longest preference that a model may have remembered: some words, no essay."""


class Remember(BaseModel):
    """Remember how the user likes to be answered, now and in later conversations."""

    preference: str = Field(
        max_length=MAX_CHARS, description="The wish in a few words, such as 'Keep it short.'"
    )


class Forget(BaseModel):
    """Forget a preference that the user takes back."""

    preference: str = Field(max_length=MAX_CHARS, description="The wish as it was remembered.")


def preference_tools(
    memory: PreferenceStore | BaseStore | AgentStore | None = None,
) -> list[BaseTool]:
    """``remember_preference`` and ``forget_preference``, for synchronous and asynchronous agents.

    What can't be done, such as where nobody is signed in, the model reads as the tool's error.
    Without a memory of their own they can be pickled.

    Args:
        memory: Where preferences are kept: a `PreferenceStore`, a LangGraph store, or None for the
            store of the agent that has the tools.

    Raises:
        ConfigurationError: The memory is no store that can be written to.
    """
    kept = memory if isinstance(memory, AgentStore) else AgentStore(memory)
    return [
        _tool("remember_preference", Remember, _Work(_remember, kept)),
        _tool("forget_preference", Forget, _Work(_forget, kept)),
    ]


@dataclass(frozen=True)
class _Work:
    """What a tool does, in both ways; functions within another one couldn't be pickled."""

    procedure: Callable[[AgentStore, str, RunnableConfig], Procedure[None, str]]
    kept: AgentStore

    def do(self, preference: str, config: RunnableConfig) -> str:
        return run(self.procedure(self.kept, preference, config))

    async def ado(self, preference: str, config: RunnableConfig) -> str:
        return await arun(self.procedure(self.kept, preference, config))


def _tool(name: str, schema: type[BaseModel], work: _Work) -> BaseTool:
    return StructuredTool.from_function(
        work.do,
        coroutine=work.ado,
        name=name,
        args_schema=schema,
        description=schema.__doc__,
        handle_tool_error=True,
        handle_validation_error=True,
    )


def _remember(kept: AgentStore, preference: str, config: RunnableConfig) -> Procedure[None, str]:
    with _as_tool_errors():
        user_id, store = _user_and_store(kept, config)
        # In words, as a model said it, even if it looks like traits.
        yield twins(store.add, store.aadd, user_id, [StoredPreference(text=preference)])
        return "Remembered."


def _forget(kept: AgentStore, preference: str, config: RunnableConfig) -> Procedure[None, str]:
    with _as_tool_errors():
        user_id, store = _user_and_store(kept, config)
        if (yield twins(store.forget, store.aforget, user_id, preference)):
            return "Forgotten."
        profile = yield twins(store.profile, store.aprofile, user_id)
        # For the model to try again, in the words in which it was remembered.
        known = [each.text for each in profile.lasting] if profile else []
        return f"Nothing was forgotten. What is remembered: {' | '.join(known) or 'nothing'}"


def _user_and_store(kept: AgentStore, config: RunnableConfig) -> tuple[str, PreferenceStore]:
    user_id = find_user(config)
    if user_id is None:
        raise ToolException("Nothing was done, as nobody is signed in.")
    return user_id, kept.of(getattr(running_graph(config), "store", None))


@contextmanager
def _as_tool_errors() -> Iterator[None]:
    """Make errors of the package the tool's; those of the program that has the tools stay."""
    try:
        yield
    except ConfigurationError:
        raise
    except AmuletError as error:
        raise ToolException(str(error)) from error
