"""An agent with tools that is told how to answer, remembers it, and keeps to it.

::

    python examples/agent.py

Needs ``pip install 'langchain-amulet[agents]'``.
"""

from __future__ import annotations

from dataclasses import dataclass

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langgraph.store.memory import InMemoryStore

from langchain_amulet import ChatAmulet
from langchain_amulet.middleware import PreferenceMiddleware

SAID = {
    "ada": ("Please keep it short from now on.", "What is the weather in Rome?"),
    "bob": ("From now on, answer formally, please.", "What is the weather in Rome?"),
}


@dataclass
class Context:
    """Who is talking."""

    user_id: str


@tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return {"Rome": "sunny", "Oslo": "rainy"}.get(city, "unknown")


def main() -> dict[str, list[BaseMessage]]:
    """Let both users say their wish, and ask in a new conversation; returns the latter."""
    with ChatAmulet(model="pocket", temperature=0) as llm:
        agent = create_agent(
            llm,
            [get_weather],
            middleware=[PreferenceMiddleware(learning=True)],
            store=InMemoryStore(),
            context_schema=Context,
        )
        conversations = {}
        for user, lines in SAID.items():
            print(f"--- {user}")
            for line in lines:
                state = agent.invoke({"messages": [("user", line)]}, context=Context(user))
                show(state["messages"])
                conversations[user] = state["messages"]
        return conversations


def show(messages: list[BaseMessage]) -> None:
    """Print a conversation, calls of tools included."""
    for message in messages:
        for call in getattr(message, "tool_calls", ()):
            print(f"call: {call['name']}({call['args']})")
        if message.text:
            print(f"{message.type}: {message.text}")


if __name__ == "__main__":
    main()
