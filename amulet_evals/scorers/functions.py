"""Scorers that need no model: attributes of texts, echoes, and functions of one's own.

This module knows how they are called: nothing of what they count.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from amulet_evals.run.manifest import Metric, Needs
from amulet_evals.scorers.attributes import attributes
from amulet_evals.scorers.scoring import ScorableAnswer, Score
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences.echo_guard import echoes
from langchain_amulet.registry import import_named
from langchain_amulet.validation.wording import message_of


@dataclass(frozen=True)
class AttributeScorer:
    """What can be counted in a text, see `attributes`."""

    name: str = "attributes"
    needs: Needs = "answer"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All of them; none is best: that depends on the style, and short texts repeat least."""
        return (
            self._metric("words", "words"),
            self._metric("readability", "school years"),
            self._metric("sentiment", "sentiment"),
            self._metric("formality", "formality"),
            self._metric("repetition", "repeated 4-grams"),
            self._metric("longest_repeat", "longest repeat"),
            self._metric("distinct_1", "distinct words"),
            self._metric("distinct_2", "distinct 2-grams"),
        )

    def _metric(self, name: str, title: str) -> Metric:
        return Metric(name=name, title=title, scorer=self.name, needs=self.needs, better=None)

    def score(self, items: Sequence[ScorableAnswer]) -> Iterator[Score]:
        """All counts of each."""
        counted = attributes()
        for item in items:
            text = item.answer.text
            yield Score(item, {name: count(text) for name, count in counted.items()})


@dataclass(frozen=True)
class EchoScorer:
    """How many phrases of a preference an answer repeats that were in neither message before it.

    Attributes:
        system: The system message.
    """

    system: str = ""
    name: str = "echoes"
    needs: Needs = "preference"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """That number; none is best: who says little or never saw the preference has few."""
        title = "echoed phrases"
        return (
            Metric(name="echoes", title=title, scorer=self.name, needs=self.needs, better=None),
        )

    def score(self, items: Sequence[ScorableAnswer]) -> Iterator[Score]:
        """That of each."""
        for item in items:
            said = (self.system, item.question)
            found = echoes(item.answer.text, [item.preference or ""], said)
            yield Score(item, {"echoes": float(found)})


class FunctionScorer:
    """A function of one's own: question, answer and preference to a number, higher for better."""

    needs: Needs = "preference"

    def __init__(self, path: str) -> None:
        """Import it.

        Raises:
            ConfigurationError: There is no such function.
        """
        self.name = path
        self._function: Callable[[str, str, str], Any] = import_named(path)
        if not callable(self._function):
            raise ConfigurationError(
                f"A score must be a function, but {path!r} is {type(self._function).__name__}: "
                "name one that takes a question, an answer and a preference."
            )
        name = path.partition(":")[2]
        title = name.replace("_", " ")
        self.metrics = (Metric(name=name, title=title, scorer=path, needs=self.needs),)

    def score(self, items: Sequence[ScorableAnswer]) -> Iterator[Score]:
        """Its number for each.

        Raises:
            ConfigurationError: It raised, or returned something else than a finite number.
        """
        for item in items:
            value = self._value(item)
            number = float(value) if isinstance(value, Real) else math.nan
            if not math.isfinite(number):
                raise ConfigurationError(
                    f"A score must be a finite number, but {self.name!r} gave {value!r} for "
                    f"{item.answer.text[:80]!r}: mend the function."
                )
            yield Score(item, {self.metrics[0].name: number})

    def _value(self, item: ScorableAnswer) -> Any:
        try:
            return self._function(item.question, item.answer.text, item.preference or "")
        except Exception as error:  # whatever somebody's own code raises
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigurationError(
                f"A score must be a finite number, but {self.name!r} raised "
                f"{type(error).__name__} in {frame.filename}, line {frame.lineno}: "
                f"{message_of(error)}. "
                "Mend the function and run the command again; the answers are kept."
            ) from error
