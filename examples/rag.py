"""Retrieval: everybody is told the same facts, each in their own style.

::

    python examples/rag.py

The vector store is langchain-core's. The embeddings count words, weighted by how rare they are, so
that nothing has to be fetched: put any other LangChain ``Embeddings`` in their place. Each question
gets two passages, with its fact in one of them. The bundled model finds it less often than a model
of use does, so these are questions that it can answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStoreRetriever
from langgraph.store.memory import InMemoryStore

from langchain_amulet import ChatAmulet, PreferenceMemory

PASSAGES = (
    "Ferrowby lies on the river Quill. The mayor of Ferrowby is Nadia Brask.",
    "Port Ansel was founded in 1791. Its mayor is Oskar Lindholm.",
    "Mira Dawlish works as a baker. She lives in Ferrowby.",
    "Jonas Petrel works as a teacher. His birthday is March 14.",
    "The Halden Museum is in Ferrowby. It was opened in 2004.",
    "The Vexel 40 costs 89 crowns. It runs for 12 days on one charge.",
)
WISHES = {"ada": "Keep it short.", "bob": "Please use a formal tone."}
QUESTIONS = (
    "Which river is Ferrowby on?",
    "Who is the mayor of Ferrowby?",
    "What does Jonas Petrel do for a living?",
    "How much does the Vexel 40 cost?",
)


class RareWords(Embeddings):
    """Texts as counts of their words, each weighted by how rare it is in a collection (tf-idf).

    Args:
        collection: Texts by which to judge how rare a word is.
        size: Of the vectors; words share a place by chance.
    """

    def __init__(self, collection: Sequence[str], size: int = 4096) -> None:
        """Count in how many texts each word is."""
        self._size = size
        self._weights = np.zeros(size)  # first as counts, which make the weights
        seen = sum((self._counts(text) > 0 for text in collection), np.zeros(size))
        self._weights = np.log((1 + len(collection)) / (1 + seen)) + 1

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector of length 1 per text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The text's vector."""
        vector = self._counts(text) * self._weights
        return (vector / max(float(np.linalg.norm(vector)), 1e-12)).tolist()

    def _counts(self, text: str) -> np.ndarray:
        places = [crc32(word.encode()) % self._size for word in re.findall(r"\w+", text.lower())]
        return np.bincount(places, minlength=self._size)


def joined(documents: Sequence[Document]) -> str:
    """What was retrieved, as one text."""
    return "\n\n".join(document.page_content for document in documents)


def retriever() -> VectorStoreRetriever:
    """Finds the two passages that are most like a question."""
    passages = InMemoryVectorStore.from_texts(list(PASSAGES), RareWords(PASSAGES))
    return passages.as_retriever(search_kwargs={"k": 2})


def build(llm: ChatAmulet) -> Runnable[str, str]:
    """A chain from a question to its answer; it knows nothing of users."""
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "Answer the question based only on the following context:\n\n{context}"),
            ("human", "{question}"),
        ]
    )
    retrieved = {"context": retriever() | joined, "question": RunnablePassthrough()}
    return retrieved | prompt | llm | (lambda message: message.text)


def main() -> dict[str, dict[str, str]]:
    """Ask every question for both users; returns their answers."""
    memory = PreferenceMemory(InMemoryStore())
    for user, wish in WISHES.items():
        memory.set(user, wish)
    answers: dict[str, dict[str, str]] = {user: {} for user in WISHES}
    # Passages make a model sure of its words, so that the default's bound leaves a style no room;
    # and the paper's strength costs a small model more facts than "balanced".
    with ChatAmulet(model="pocket", memory=memory, method="balanced", temperature=0) as llm:
        chain = build(llm)
        for question in QUESTIONS:
            print(question)
            for user in WISHES:
                answer = chain.invoke(question, {"configurable": {"user_id": user}})
                print(f"  {user}: {answer}")
                answers[user][question] = answer
    return answers


if __name__ == "__main__":
    main()
