"""A chatbot that knows how each of its users likes to be answered, before and after a restart.

::

    python examples/chatbot.py             # two days in the life of a chatbot
    python examples/chatbot.py my_folder   # the same, and it is all still there the next time

Conversations are LangGraph checkpoints, preferences lie in a LangGraph store; both are files.
Needs ``pip install 'langchain-amulet[sqlite]' langgraph``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from langchain_core.messages import BaseMessage, trim_messages
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.sqlite import SqliteStore

from langchain_amulet import ChatAmulet, PreferenceMemory

WISHES = {"ada": "Keep it short.", "bob": "Please use a formal tone."}


def talk(
    folder: Path, question: str, wishes: Mapping[str, str] | None = None
) -> dict[str, list[BaseMessage]]:
    """Open the chatbot, let every user ask a question, and close it again.

    Args:
        folder: Where everything is kept.
        question: What ada and bob ask.
        wishes: How users like to be answered, where that is new.

    Returns:
        Each user's conversation so far.
    """
    with (
        SqliteStore.from_conn_string(str(folder / "preferences.db")) as store,
        SqliteSaver.from_conn_string(str(folder / "conversations.db")) as checkpoints,
    ):
        store.setup()
        memory = PreferenceMemory(store)
        for user, wish in (wishes or {}).items():
            memory.set(user, wish)
        llm = ChatAmulet(model="pocket", memory=memory, temperature=0)

        def answer(state: MessagesState) -> MessagesState:
            # All of it is kept, but the model reads as much as leaves its context room to answer.
            recent = trim_messages(
                state["messages"], max_tokens=600, token_counter=llm, start_on="human"
            )
            return {"messages": [llm.invoke(recent)]}

        builder = StateGraph(MessagesState)
        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        bot = builder.compile(checkpointer=checkpoints)

        conversations = {}
        for user in WISHES:
            # The model finds the user here by itself; the node above knows nothing of users.
            config = {"configurable": {"thread_id": user, "user_id": user}}
            state = bot.invoke({"messages": [("user", question)]}, config)
            conversations[user] = state["messages"]
        return conversations


def main(folder: Path) -> None:
    """Two days: on the second nobody says any more how they like to be answered."""
    talk(folder, "How do I sleep better?", WISHES)
    for user, messages in talk(folder, "What should I pack for a trip?").items():
        print(f"--- {user}")
        for message in messages:
            print(f"{message.type}: {message.text}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]))
    else:
        with TemporaryDirectory() as temporary:
            main(Path(temporary))
