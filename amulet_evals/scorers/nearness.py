"""How near answers are to their questions: cosines between embeddings of both.

An answer that has drifted off its question lies farther from it. One that only says the question
again lies nearest of all, so that no number of these is best.

This module knows transformers' encoders: nothing of styles or of how answers came about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from amulet_evals.run.manifest import Metric, Needs
from amulet_evals.scorers.scoring import ScorableAnswer, Score
from langchain_amulet.engine.loading.hub import check_exists, resolve_model

NEARNESS = "nearness"


class NearnessScorer:
    """The cosine between an answer's embedding and its question's; loaded when it is needed."""

    needs: Needs = "answer"

    def __init__(self, model: str) -> None:
        """Find the model.

        Args:
            model: A folder or a Hub id. Its embedding of a text is the mean over the tokens' last
                states, as of MiniLM and most sentence encoders.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        check_exists(resolve_model(model))
        self._model = model
        self.name = f"{NEARNESS} by {model}"
        title = "nearness to question"
        self.metrics = (
            Metric(name=NEARNESS, title=title, scorer=self.name, needs=self.needs, better=None),
        )

    def score(self, items: Sequence[ScorableAnswer]) -> Iterator[Score]:
        """That of each; none of an empty answer."""
        if not items:
            return
        embed = encoder(self._model)
        question = cache(embed)
        for item in items:
            if item.answer.text.strip():
                near = torch.dot(question(item.question), embed(item.answer.text))
                yield Score(item, {NEARNESS: near.item()})
            else:
                yield Score(item, {NEARNESS: None})


def encoder(model: str) -> Callable[[str], Tensor]:
    """A function from a text to its embedding, ``[size]``, float32 on the CPU, of length 1.

    A text longer than the model's limit is read up to there.
    """
    place = resolve_model(model)
    tokenizer = AutoTokenizer.from_pretrained(place)
    weights = AutoModel.from_pretrained(place, dtype=torch.float32).eval()
    limit = min(tokenizer.model_max_length, weights.config.max_position_embeddings)

    def embed(text: str) -> Tensor:
        read = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
        with torch.inference_mode():
            states = weights(**read).last_hidden_state[0]  # one text at a time has no padding
        return torch.nn.functional.normalize(states.mean(0), dim=0)

    return embed
