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
from langchain_amulet.validation.checks import check_type

Matcher = Callable[[Sequence[str], str], bool]
"""``matcher(topics, text)``: whether the text is about one of the topics."""

SHORT = 1000
"""Up to how many characters of a text `mentions` takes no longer than another thread would."""

LONGEST = 10_000
"""How many characters of a text are looked through for topics: of a longer one half of them at its
beginning and half at its end, so that nobody waits for a message of millions."""

PIECE = re.compile(r"\w{0,100}\W{1,100}|\w{1,100}")
"""A word with the marks and spaces behind it, cut if it goes on: Unicode's normal form takes time
by the square of how many accents follow each other."""


def mentions(topics: Sequence[str], text: str) -> bool:
    """Whether the text names one of the topics, in whole words and whatever the case.

    Of a text of more than `LONGEST` characters its beginning and end are looked at.
    """
    check_type("topics", topics, list, tuple, error=RequestError)
    for part in (*topics, text):
        check_type("A topic or text", part, str, error=RequestError)
    if not topics:
        return False
    # Cut again, as some characters fold into many.
    folded = _ends(_folded(_ends(text)))
    anyone = "|".join(map(_pattern, topics))  # in one, as each search looks at every letter
    return re.search(rf"(?<!\w)(?:{anyone})(?!\w)", folded) is not None


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
    return r"\s+".join(re.escape(word) for word in _folded(topic).split())


def _ends(text: str) -> str:
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}\n{text[-half:]}"


def _folded(text: str) -> str:
    normal = (unicodedata.normalize("NFKC", piece) for piece in PIECE.findall(text))
    return "".join(normal).casefold()


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0.0, 1.0, lengths)
