"""Everything with everything: which answers an evaluation needs, and what each is called.

This module knows names and texts: nothing of models, files or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from amulet_evals.data.questions import Question, QuestionSet
from amulet_evals.data.styles import Style, traits_in
from amulet_evals.hashing import digest, number
from amulet_evals.in_context import InContext
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import Amulet, Base, LinearAlignment, Method
from langchain_amulet.preferences import Preference


@dataclass(frozen=True)
class Case:
    """A question, and a style to answer it in.

    Attributes:
        questions: Name of the set that the question is from.
        id: The question's name within it.
        question: The question.
        style: Name of the style.
        preference: How the answer is wanted, in words.
        examples: Answers to other questions that are as wanted, for methods that show some.
        traits: The traits that ask for it in these words; empty for none.
    """

    questions: str
    id: str
    question: str
    style: str
    preference: str
    examples: str = ""
    traits: str = ""

    @property
    def with_examples(self) -> str:
        """The preference with its examples behind it.

        Raises:
            ConfigurationError: The style has none, or is made of traits.
        """
        if self.traits:
            raise ConfigurationError(
                "A method that shows examples needs styles in words, but "
                f"{self.style!r} is made of traits: word it, as in {self.preference!r}."
            )
        if not self.examples:
            raise ConfigurationError(
                "A method that shows examples needs some of every style, but "
                f"{self.style!r} has none: put them in examples."
            )
        return f"{self.preference}\n\n{self.examples}"


@dataclass(frozen=True)
class Task:
    """All that one answer depends on, besides how a run decodes.

    Attributes:
        model: Name of the model.
        method: Label of the method.
        question: The question.
        preference: How it is wanted, in words; None where the method doesn't read it.
        sample: Which of the answers to the same.
        traits: The traits that ask for it in these words; empty for none.
    """

    model: str
    method: str
    question: str
    preference: str | None
    sample: int = 0
    traits: str = ""

    @cached_property
    def key(self) -> str:
        """A name of its own."""
        strengths = [[each.text, each.strength] for each in traits_in(self.traits)]
        parts = (self.model, self.method, self.question, self.preference, self.sample)
        return digest(*parts, strengths) if strengths else digest(*parts)

    @property
    def wanted(self) -> tuple[Preference, ...] | str | None:
        """How it is wanted, as a model is told: traits with their strengths, one by one."""
        return traits_in(self.traits) or self.preference

    def seed(self, seed: int) -> int:
        """What its draws begin from: the same for all methods, so that luck is shared."""
        return number(seed, self.question, self.sample)


@dataclass(frozen=True)
class MethodNote:
    """What is to be known of a method where it isn't run.

    Attributes:
        definition: Its kind and parameters.
        ignores_preference: Whether it reads no preference, so that one answer counts for all.
        family: What it is called together with those that differ from it in one number.
        parameter: That number; None if there is none.
        shows_examples: Whether it shows examples of the style, too.
    """

    definition: str
    ignores_preference: bool
    family: str
    parameter: float | None = None
    shows_examples: bool = False


def method_note(method: Method) -> MethodNote:
    """What is to be known of a method."""
    family, parameter = _family(method)
    shows_examples = isinstance(method, InContext)
    return MethodNote(
        _definition(method), isinstance(method, Base), family, parameter, shows_examples
    )


def _definition(method: Method) -> str:
    """Its kind and all its parameters: those left at their own values may have others one day."""
    kept: Any = method  # a frozen dataclass, as all methods are
    given = {each.name: getattr(method, each.name) for each in fields(kept) if each.compare}
    text = ", ".join(f"{name}={value!r}" for name, value in given.items())
    # A function's place, and the key of a method that holds one, are others in every process.
    text = re.sub(r" at 0x[0-9a-f]+|, key='[0-9a-f]{32}'", "", text)
    return f"{type(method).__name__}({text})"


def _family(method: Method) -> tuple[str, float | None]:
    kl_cap = getattr(method, "kl_cap", None)
    if kl_cap is not None:
        return f"{method.name}, KL cap", kl_cap
    match method:
        case Amulet(plausibility=0.0):
            return "amulet, no mask", method.strength
        case Amulet():
            return "amulet", method.strength
        case LinearAlignment():
            return "linear_alignment" + (", masked" if method.top_p else ""), method.ratio
    return method.name, None


@dataclass(frozen=True)
class Grid:
    """Models x methods x cases x samples.

    Attributes:
        models: Names of models.
        methods: Notes on the methods by their labels.
        cases: Questions in styles.
        samples: Answers per case.
    """

    models: tuple[str, ...]
    methods: Mapping[str, MethodNote]
    cases: tuple[Case, ...]
    samples: int = 1

    def task(self, model: str, method: str, case: Case, sample: int = 0) -> Task:
        """What is to be answered; what a method doesn't read isn't part of it."""
        note = self.methods[method]
        if note.ignores_preference:
            return Task(model, method, case.question, None, sample)
        preference = case.with_examples if note.shows_examples else case.preference
        return Task(model, method, case.question, preference, sample, case.traits)

    def tasks(self, model: str) -> Iterator[Task]:
        """All that a model is to answer, each once, method by method and style by style."""
        found = (
            self.task(model, method, case, sample)
            for method in self.methods
            for case in self.cases
            for sample in range(self.samples)
        )
        yield from dict.fromkeys(found)

    @cached_property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles, in their order."""
        return tuple(dict.fromkeys(case.style for case in self.cases))

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets of questions, in their order."""
        return tuple(dict.fromkeys(case.questions for case in self.cases))

    def of(self, questions: str, style: str) -> tuple[Case, ...]:
        """The questions of a set in one style, in their order."""
        return self._groups[questions, style]

    @cached_property
    def _groups(self) -> dict[tuple[str, str], tuple[Case, ...]]:
        groups: dict[tuple[str, str], list[Case]] = {}
        for case in self.cases:
            groups.setdefault((case.questions, case.style), []).append(case)
        return {key: tuple(group) for key, group in groups.items()}


def cases(sets: Iterable[QuestionSet], styles: Iterable[Style], seed: int) -> tuple[Case, ...]:
    """Every question in every style, style by style."""
    return tuple(
        _case(each.name, question, style, seed)
        for each in sets
        for style in styles
        for question in each.questions
    )


def _case(questions: str, question: Question, style: Style, seed: int) -> Case:
    wording = style.wording(question.text, seed)
    words = " ".join(each.text for each in traits_in(wording))
    asked = (questions, question.id, question.text, style.name)
    return Case(*asked, words or wording, style.examples, wording if words else "")
