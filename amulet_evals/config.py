"""What an evaluation is made of, as a config file or a program gives it.

This module knows which settings there are and what they may be: nothing of how they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from amulet_evals.data.questions import QuestionSource
from amulet_evals.data.styles import PAPER_STYLES, Example, as_given
from amulet_evals.method_spec import method_of
from langchain_amulet.chat_formats.placement import Placement
from langchain_amulet.engine.backends import import_backend
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import Method, Pref, SearchPlan, spell
from langchain_amulet.methods.method import search_of
from langchain_amulet.validation.checks import check_type
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers, explained

COMPARED = ("base", "pref", "linear_alignment", "auto", "amulet")
"""The methods that are compared unless others are named."""


class Settings(FlaglessNumbers):
    """What all of the settings here have in common: unknown names are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, protected_namespaces=()
    )

    def __init__(self, **fields: Any) -> None:
        """Check the fields.

        Raises:
            ConfigurationError: One is unknown or has a value that can't work.
        """
        with explained(ConfigurationError, type(self).model_fields):
            super().__init__(**fields)


class Decoding(Settings):
    """How every answer is decoded, whatever the method; see `ChatAmulet` for the rest.

    Attributes:
        temperature: 0 takes the likeliest token.
        sample_temperature: That of the samples which a search chooses among, as best-of-n does, if
            ``temperature`` is 0: greedy ones would all be the same.
        top_p: Share of the probability to draw from.
        top_k: Number of tokens to draw from; None for all.
        min_p: Least share of the likeliest token's probability.
        repetition_penalty: Above 1 makes tokens that were written less likely.
        max_tokens: The most tokens an answer may have.
        seed: Makes a run repeatable. Every answer is drawn with a seed of its own, made of this
            one, the question and the sample: all methods have the same luck.
        system: The system message of every conversation. The preference is put at its end, so
            the base prompt is the same with the preference missing.
        placement: Which message the preference is put at the end of.
        preference_template: A text with ``{preference}`` where the preference goes.
    """

    temperature: float = 0.0
    sample_temperature: float = Field(default=0.7, gt=0.0)
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = Field(default=128, ge=1)
    seed: int = 0
    system: str | None = None
    placement: Placement = "system"
    preference_template: str = "{preference}"

    def call(self, method: Method) -> dict[str, Any]:
        """The arguments for a call of `ChatAmulet` by this method."""
        settings = self.model_dump(exclude={"seed", "system", "sample_temperature"})
        draws = isinstance(search_of(method), SearchPlan)
        temperature = self.temperature or (self.sample_temperature if draws else 0.0)
        return {**settings, "temperature": temperature, "method": method}


class RewardSettings(Settings):
    """A reward model, and what it is shown.

    Attributes:
        model: What ``AutoModelForSequenceClassification`` loads: a folder or a Hub id.
        objectives: Which of its heads are reported, by name or index; none for its usual ones.
        device: Such as "cuda:0"; None for a GPU if there is one.
        dtype: Such as "bfloat16"; None for the default, as of chat models.
        batch_tokens: The most tokens in one pass, padding included.
        with_preference: Whether the preference is shown, after the question.
    """

    model: str = Field(min_length=1)
    objectives: tuple[int | str, ...] = ()
    device: str | None = None
    dtype: str | None = None
    batch_tokens: int = Field(default=8192, ge=1)
    with_preference: bool = True

    @model_validator(mode="before")
    @classmethod
    def _take_text(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Scoring(Settings):
    """How answers are scored.

    Attributes:
        attributes: Whether length, readability, sentiment, formality and repetition are counted,
            and what answers repeat of their preferences.
        nearness: A text encoder, a folder or a Hub id: how near answers are to their questions.
        functions: Functions of your own, as ``package.module:function``. Each is called with a
            question, an answer and a preference, and returns a number, higher for better.
        reward_models: Reward models.
        judge: A chat model that compares answers: for LangChain's ``init_chat_model`` as in
            "openai:gpt-5", or as ``module:name``.
        baseline: What the others are compared with, a label of a method; None for the first
            that only prompts.
    """

    attributes: bool = True
    nearness: str | None = None
    functions: tuple[str, ...] = ()
    reward_models: tuple[RewardSettings, ...] = ()
    judge: str | None = None
    baseline: str | None = None


def as_methods(given: Any) -> dict[str, str | float | Method]:
    """Methods by their labels; of a list, each one's label is how it is spelled.

    Raises:
        ConfigurationError: One isn't a method.
    """
    if isinstance(given, str):
        given = [given]
    check_type("methods", given, Mapping, list, tuple)
    if not isinstance(given, Mapping):
        given = {_spelled(each): each for each in given}
    for value in given.values():
        method_of(value)
    return dict(given)


Methods = Annotated[
    dict[str, Any],
    BeforeValidator(as_methods),
    PlainSerializer(lambda methods: {label: _spelled(each) for label, each in methods.items()}),
]


class Evaluation(Settings):
    """Models, questions, preferences, methods and samples: everything with everything.

    Attributes:
        models: Names of models, as `ChatAmulet` takes them.
        load: What else `ChatAmulet` is to load them with, such as ``{"dtype": "bfloat16"}``.
        questions: Where questions come from.
        limit: The most questions of each source.
        preferences: See `amulet_evals.data.styles.read_styles`.
        examples: By styles' names, answers that are as wanted, for methods that show some, see
            `amulet_evals.in_context.InContext`.
        methods: Methods, or labels with methods: as values, or as text or numbers for `method_of`.
        samples: Answers per question; more than one needs a temperature above 0.
        decoding: How answers are decoded.
        scoring: How answers are scored.
        concurrency: How many answers are decoded at a time.
        traced: Of how many questions of each source the tokens are kept, for the HTML page.
    """

    models: tuple[str, ...] = Field(default=("pocket",), min_length=1)
    load: dict[str, Any] = Field(default_factory=dict)
    questions: tuple[QuestionSource, ...] = Field(min_length=1)
    limit: int | None = Field(default=None, ge=1)
    preferences: Annotated[
        dict[str, str | tuple[str, ...]] | tuple[str, ...], BeforeValidator(as_given)
    ] = PAPER_STYLES[:4]
    examples: dict[str, tuple[Example, ...]] = Field(default_factory=dict)
    methods: Methods = Field(default_factory=lambda: as_methods(COMPARED), min_length=1)
    samples: int = Field(default=1, ge=1)
    decoding: Decoding = Field(default_factory=Decoding)
    scoring: Scoring = Field(default_factory=Scoring)
    concurrency: int = Field(default=32, ge=1)
    traced: int = Field(default=4, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _check_groups(cls, value: Any) -> Any:
        groups = {"decoding": set(Decoding.model_fields), "scoring": set(Scoring.model_fields)}
        for name in value:
            for group, names in groups.items():
                if name in names and name not in cls.model_fields:
                    raise ConfigurationError(
                        f"{name!r} is one of the settings in {group!r}, not beside them: write "
                        f'{{"{group}": {{"{name}": ...}}}}.'
                    )
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Evaluation:
        if self.samples > 1 and self.decoding.temperature == 0.0:
            raise ConfigurationError(
                f"Greedy answers to a question are all the same, but samples is {self.samples}: "
                "use 1, or a temperature above 0."
            )
        if "model" in self.load:
            raise ConfigurationError(
                "What models are loaded with must not name one of them, but load has "
                f"{self.load['model']!r} as its 'model': name it in models."
            )
        if isinstance(backend := self.load.get("backend"), str):
            import_backend(backend)  # who writes settings may name code to run
        if self.scoring.baseline not in {None, *self.methods}:
            raise ConfigurationError(
                f"baseline must be the label of a method, one of {list(self.methods)}, not "
                f"{self.scoring.baseline!r}: use one of those."
            )
        return self

    @property
    def baseline(self) -> str:
        """The method that the others are compared with."""
        if self.scoring.baseline is not None:
            return self.scoring.baseline
        prompting = (label for label, each in self.methods.items() if method_of(each) == Pref())
        return next(prompting, next(iter(self.methods)))


def _spelled(method: str | float | Method) -> str:
    return method if isinstance(method, str) else spell(method_of(method))
