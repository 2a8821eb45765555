"""Whether two models can be fed the same tokens.

This module knows tokenizers: nothing of models or of what they are used for.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_amulet.errors import VocabularyMismatchError


def check_same_tokens(ours: Mapping[str, int], theirs: Mapping[str, int], model: str) -> None:
    """Refuse a second model whose tokens aren't the first one's.

    Args:
        ours: The first model's tokens and their ids, those that were added included.
        theirs: The second one's.
        model: The second one's name, for the message.

    Raises:
        VocabularyMismatchError: A token has another id, or none.
    """
    if ours == theirs:
        return
    # The lowest id tells most: above it everything may be shifted.
    token = min(
        (token for token in {*ours, *theirs} if ours.get(token) != theirs.get(token)),
        key=lambda token: ours.get(token, theirs.get(token, 0)),
    )
    raise VocabularyMismatchError(
        f"Models that decode together must have the same tokens, but {token!r} is "
        f"{_id(ours, token)} for the model that answers and {_id(theirs, token)} for {model!r}: "
        "use models of one family, with the same tokenizer."
    )


def _id(tokens: Mapping[str, int], token: str) -> str:
    return f"number {tokens[token]}" if token in tokens else "unknown"
