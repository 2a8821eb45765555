"""Whether a message is about one of a preference's topics.

A matcher is any callable of topics and a text. This module knows nothing of preferences.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_amulet.errors import RequestError
from langchain_amulet.validation import check_type

Matcher = Callable[[Sequence[str], str], bool]
"""``matcher(topics, text)``: whether the text is about one of the topics."""


def mentions(topics: Sequence[str], text: str) -> bool:
    """Whether the text names one of the topics, in whole words and whatever the case."""
    check_type("topics", topics, list, tuple, error=RequestError)
    for part in (*topics, text):
        check_type("A topic or text", part, str, error=RequestError)
    folded = _folded(text)
    return any(re.search(_pattern(topic), folded) for topic in topics)


@dataclass(frozen=True)
class Resembles:
    """Whether the text means something like one of the topics, by vectors of a model's making.

    Topics are embedded anew each time: LangChain's ``CacheBackedEmbeddings`` keeps them.

    Attributes:
        embeddings: Any LangChain embeddings.
        threshold: The least cosine similarity that counts. It depends on the embeddings; by those
            of MiniLM's size a question is seldom as like a topic of one word as 0.4.
    """

    embeddings: Embeddings
    threshold: float = 0.3

    def __call__(self, topics: Sequence[str], text: str) -> bool:
        """Compare."""
        about = _unit(np.asarray([self.embeddings.embed_query(text)], dtype=np.float64))
        known = _unit(np.asarray(self.embeddings.embed_documents(list(topics)), dtype=np.float64))
        return bool((known @ about[0]).max(initial=-1.0) >= self.threshold)


def _pattern(topic: str) -> str:
    words = r"\s+".join(re.escape(word) for word in _folded(topic).split())
    return rf"(?<!\w){words}(?!\w)"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0.0, 1.0, lengths)
