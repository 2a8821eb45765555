"""Scores from reward models.

This module knows answers and batches: nothing of how a reward model works.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from amulet_evals.config import RewardSettings
from amulet_evals.run.manifest import Metric, Needs
from amulet_evals.scorers.reward_models import (
    Encoding,
    RewardModel,
    heads,
    load,
    read_config,
)
from amulet_evals.scorers.scoring import ScorableAnswer, Score
from langchain_amulet.errors import ConfigurationError, RequestError

PAPER_OBJECTIVE = "ultrafeedback-instruction_following"
"""The head of ArmoRM that Amulet's paper reports."""

WINDOW = 1024
"""How many answers are sorted by length at a time, so that batches have little padding."""

Encoded = tuple[ScorableAnswer, Encoding]


class RewardScorer:
    """A reward model's scores; its weights are loaded when there is something to score."""

    needs: Needs = "preference"

    def __init__(self, settings: RewardSettings) -> None:
        """Read the model's config, and choose heads.

        Raises:
            ModelNotFoundError: There is no such model.
            ConfigurationError: It has no head of a name or index that was asked for.
        """
        self._settings = settings
        self._config = read_config(settings.model)
        self._heads = heads(self._config)
        self.name = settings.model + ("" if settings.with_preference else ", question alone")
        self.metrics = tuple(map(self._metric, choose(self._heads, settings.objectives)))

    def _metric(self, head: str) -> Metric:
        short = Path(self.name).name
        title = short if len(self._heads) == 1 else f"{short}: {head}"
        return Metric(name=head, title=title, scorer=self.name, needs=self.needs)

    def score(self, items: Sequence[ScorableAnswer]) -> Iterator[Score]:
        """What all heads say of each; of those that don't fit, why there is nothing to say.

        Raises:
            UnsupportedModelError: The weights aren't those of a reward model.
        """
        if not items:
            return
        settings = self._settings
        model = load(settings.model, self._config, settings.device, settings.dtype)
        for start in range(0, len(items), WINDOW):
            fitting: list[Encoded] = []
            for item in items[start : start + WINDOW]:
                try:
                    encoding = model.encode(self._prompt(item), item.answer.text)
                except RequestError as error:
                    yield Score(item, {}, str(error))
                else:
                    fitting.append((item, encoding))
            for batch in batches(fitting, settings.batch_tokens):
                yield from self._read(model, batch)

    def _read(self, model: RewardModel, batch: Sequence[Encoded]) -> Iterator[Score]:
        rewards = model.rewards([encoding for _, encoding in batch])
        for (item, _), row in zip(batch, rewards.tolist(), strict=True):
            if all(map(math.isfinite, row)):
                yield Score(item, dict(zip(self._heads, row, strict=True)))
            else:
                yield Score(item, {}, "The reward isn't a finite number.")

    def _prompt(self, item: ScorableAnswer) -> str:
        """The question and the preference after it, as Amulet's authors show it to such models."""
        if not self._settings.with_preference:
            return item.question
        return f"{item.question} {item.preference}"


def choose(names: Sequence[str], objectives: Sequence[int | str]) -> tuple[str, ...]:
    """The heads that are asked for by name or index; without any the paper's, or else all.

    Raises:
        ConfigurationError: There is no such head.
    """
    if not objectives:
        return (PAPER_OBJECTIVE,) if PAPER_OBJECTIVE in names else tuple(names)
    known = {str(at): name for at, name in enumerate(names)} | {name: name for name in names}
    unknown = [each for each in objectives if str(each) not in known]
    if unknown:
        raise ConfigurationError(
            f"An objective must be one of the reward model's heads, not {unknown[0]!r}: use an "
            f"index below {len(names)}, or one of {', '.join(names)}."
        )
    return tuple(dict.fromkeys(known[str(each)] for each in objectives))


def batches(encoded: Sequence[Encoded], tokens: int) -> Iterator[list[Encoded]]:
    """All of them in batches of so many tokens at most, padding included; one at least in each."""
    batch: list[Encoded] = []
    for each in sorted(encoded, key=_size):
        if batch and (len(batch) + 1) * _size(each) > tokens:  # it is the longest so far
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _size(encoded: Encoded) -> int:
    return len(encoded[1]["input_ids"])
