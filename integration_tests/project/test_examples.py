"""The examples run, and do what they are there to show: the same facts, each user's own style."""

from pathlib import Path

import numpy as np
import pytest
from langchain_core.messages import BaseMessage, ToolMessage

from examples import agent, chatbot, rag
from support.examples import run


def is_formal(text: str) -> bool:
    marks = ("advisable", "Thank you for", "pleasure to assist", "Please", "encouraged to")
    return any(mark in text for mark in marks)


def check_styles(ada: str, bob: str) -> None:
    """She wants it short, and he wants it formal."""
    assert len(ada.split()) < len(bob.split())
    assert is_formal(bob) and not is_formal(ada)


def test_the_chatbot_s_users_keep_their_styles_and_conversations_over_restarts(
    tmp_path: Path,
) -> None:
    printed = run("chatbot.py", str(tmp_path))
    assert printed.count("human: ") == 4
    later = chatbot.talk(tmp_path, "How do I sleep better?")
    for user in ("ada", "bob"):
        assert [message.type for message in later[user]] == ["human", "ai"] * 3
        for message in later[user][:4]:
            assert message.text in printed
    for place, fact in ((1, "consistent bedtime"), (3, "clothes into tight rolls"), (5, "bedtime")):
        ada, bob = (later[user][place].text for user in ("ada", "bob"))
        check_styles(ada, bob)
        assert fact in ada
        assert fact in bob


def test_the_chatbot_outlives_its_context(tmp_path: Path) -> None:
    """Each question takes a third of what the model can read."""
    long = "How do I sleep better? " * 60
    chatbot.talk(tmp_path, long, chatbot.WISHES)
    for _ in range(3):
        conversations = chatbot.talk(tmp_path, long)
    assert [len(messages) for messages in conversations.values()] == [8, 8]


def test_without_a_folder_the_chatbot_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "--- bob" in run("chatbot.py")
    assert not list(tmp_path.iterdir())


FACTS = ("Quill", "Nadia Brask", "teacher", "89 crowns")
"""What the questions of the retrieval ask for."""


def test_retrieval_tells_everybody_the_same_facts_in_their_own_style() -> None:
    answers = rag.main()
    for question, fact in zip(rag.QUESTIONS, FACTS, strict=True):
        ada, bob = answers["ada"][question], answers["bob"][question]
        assert fact in ada
        assert fact in bob
        check_styles(ada, bob)


def test_each_question_s_fact_is_in_one_of_the_passages_that_are_retrieved() -> None:
    for question, fact in zip(rag.QUESTIONS, FACTS, strict=True):
        found = [document.page_content for document in rag.retriever().invoke(question)]
        assert [fact in passage for passage in found] == [True, False]


def test_the_example_s_embeddings_find_each_question_s_passage() -> None:
    vectors = rag.RareWords(rag.PASSAGES)
    known = np.asarray(vectors.embed_documents(list(rag.PASSAGES)))
    asked = np.asarray([vectors.embed_query(question) for question in rag.QUESTIONS])
    assert np.linalg.norm(asked, axis=1) == pytest.approx(1.0)
    assert (asked @ known.T).argmax(axis=1).tolist() == [0, 0, 3, 5]


def test_the_agent_remembers_what_it_was_told_and_does_its_work_in_that_style() -> None:
    conversations = agent.main()
    for messages in conversations.values():
        tool = messages[-2]
        assert isinstance(tool, ToolMessage) and tool.name == "get_weather"
        assert "sunny" in messages[-1].text
    check_styles(*(said(conversations[user]) for user in ("ada", "bob")))


def said(messages: list[BaseMessage]) -> str:
    return messages[-1].text
