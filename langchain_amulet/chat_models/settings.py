"""How calls are answered: what they may set, what is the model's alone, and what is theirs alone.

This module knows which settings there are and what they may be: nothing of how they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from langchain_amulet.chat_formats.base import ChatFormat, OutputSpec
from langchain_amulet.chat_formats.placement import Placement
from langchain_amulet.chat_formats.registry import as_chat_format
from langchain_amulet.chat_models.answer_schema import ResponseFormat, as_response_format
from langchain_amulet.chat_models.cache_scope import CACHE_USER, ScopeName
from langchain_amulet.chat_models.deadline import BATCH, DEADLINE
from langchain_amulet.chat_models.load_settings import LoadSettings
from langchain_amulet.chat_models.other_names import OTHER_NAMES
from langchain_amulet.chat_models.tools import ANY, AUTO, NONE, as_choice, as_tools, check_choice
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import as_memory
from langchain_amulet.methods import Auto, Guidance, Method, as_method, spell
from langchain_amulet.preferences.preference import Preference, as_preferences, check_lengths
from langchain_amulet.preferences.resolution import PreferenceSource
from langchain_amulet.preferences.user_id import USER
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.validation.checks import LONGEST_WAIT, as_flag
from langchain_amulet.validation.json_data import check_nesting
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers, explained
from langchain_amulet.validation.wording import quoted

NOT_OURS = frozenset({"model", "stream", BATCH, CACHE_USER, DEADLINE})
"""Arguments that say which model answers, by what way, in what batch, for whom or until when: not
how."""

Speculation = Literal["lookup"]
"""Where drafts of tokens come from."""

TAKEN = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "conversation",
        "max_length",
        "messages",
        "padding",
        "processor_kwargs",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "self",
        "sanitize_control_tokens",
        "tokenize",
        "tokenizer_kwargs",
        "tools",
        "truncation",
    }
)
"""Names in ``chat_template_kwargs`` that would reach the tokenizer instead of the template."""

MOST_VARIABLES = 10_000
"""How many values ``chat_template_kwargs`` may hold, those in lists and dicts counted: a template
is tried out with them some thirty times."""

LONGEST_TEMPLATE = 2000
"""The most characters of ``preference_template``, in which a preference may stand many times."""


def as_speculation(value: Any) -> Any:
    """Where drafts come from; what isn't None must be the name of a way."""
    if value is None or (isinstance(value, str) and value in get_args(Speculation)):
        return value
    raise ConfigurationError(
        f"speculation must be one of {', '.join(map(repr, get_args(Speculation)))} or None, not "
        f"{quoted(value)}: use None to turn it off."
    )


def as_stops(value: Any) -> tuple[str, ...]:
    """Stop strings as a tuple; a single one may come as it is."""
    several = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
    if not all(isinstance(stop, str) and stop for stop in several):
        raise ConfigurationError(
            f"Stop strings must be texts that aren't empty, not {quoted(value)}: use None for none."
        )
    return tuple(several)


PreferenceSetting = Annotated[
    tuple[Preference, ...],
    BeforeValidator(as_preferences),
    WithJsonSchema({"type": ["string", "object", "array", "null"]}),
]
MethodSetting = Annotated[
    Method,
    BeforeValidator(as_method),
    PlainSerializer(spell),
    WithJsonSchema({"type": ["string", "number"]}),
]
ChatFormatSetting = Annotated[
    ChatFormat | str | None,
    BeforeValidator(as_chat_format),
    PlainSerializer(lambda value: repr(value) if isinstance(value, ChatFormat) else value),
    WithJsonSchema({"type": ["string", "null"]}),
]


class AnswerSettings(FlaglessNumbers):
    """Everything that a call may set for its answer.

    Attributes:
        preference: How the answer is wanted: a text, a `Preference`, several, or None.
        compose: Whether a call's preference is put on top of the standing one, which is stored
            or the model's own, instead of in its place.
        method: How preferences steer: a `Method`, its name, with parameters if they differ as in
            "amulet:kl_cap=0.5", or a strength's name or number.
        placement: Where the preference is put: at the end of the system message, or at the end
            of the last user message, which lets all streams share the conversation's prefill.
        preference_template: A text with ``{preference}`` where the preference goes.
        max_preference_chars: The longest preference accepted.
        temperature: 0 takes the likeliest token.
        top_p: Share of the probability to draw from.
        top_k: Number of tokens to draw from; None for all.
        min_p: Least share of the likeliest token's probability.
        repetition_penalty: Above 1 makes tokens that were written less likely.
        presence_penalty: Above 0 makes tokens that were written less likely.
        max_tokens: The most tokens an answer may have.
        stop: Texts before which what is said ends; thoughts, calls and objects don't end at them.
        seed: Makes an answer repeatable.
        timeout: Seconds from a call's start until it fails, whatever it waits for; None for no
            limit.
        logprobs: Whether ``response_metadata`` holds each token's log-probability.
        top_logprobs: How many alternatives per token are added to them.
        trace: Whether ``response_metadata`` holds each token's probability before and after
            steering.
        chat_template: A Jinja template in place of the tokenizer's.
        chat_template_kwargs: What else the template is given, such as ``enable_thinking``.
        chat_format: How the model writes tool calls and thoughts: a `ChatFormat`, the name of one
            such as "hermes", or None for the one that the chat template writes.
        steer_thinking: Whether a thinking model's thoughts are steered, or its answers only.
        steer_tool_calls: Whether tool calls that the model needn't make are steered, when there is
            one included, or only what it says: a style is to change words and not deeds. Calls
            that it must make, and so structured answers, are steered in any case.
        echo_guard: Whether steering leaves alone what would repeat three words in a row of a
            preference that the conversation doesn't hold: they may be private, and aren't the
            answer.
        speculation: "lookup" to draft tokens that stand in the prompt or in the answer already and
            read several in one step: the same answer, sooner where it copies. None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    preference: PreferenceSetting = ()
    compose: bool = False
    method: MethodSetting = Auto()
    placement: Placement = "system"
    preference_template: str = Field(default="{preference}", max_length=LONGEST_TEMPLATE)
    max_preference_chars: int = Field(default=2000, ge=1)
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int | None = None
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    max_tokens: int = Field(default=256, ge=1)
    stop: Annotated[tuple[str, ...], BeforeValidator(as_stops)] = ()
    seed: int | None = None
    timeout: float | None = Field(default=None, gt=0.0, le=LONGEST_WAIT, allow_inf_nan=False)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0)
    trace: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    chat_format: ChatFormatSetting = None
    steer_thinking: bool = True
    steer_tool_calls: bool = False
    echo_guard: bool = True
    speculation: Annotated[Speculation | None, BeforeValidator(as_speculation)] = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        check_lengths(self.preference, self.max_preference_chars)
        if "{preference}" not in self.preference_template:
            raise ConfigurationError(
                "preference_template must contain {preference}, which stands for the "
                f"preference's text, but is {quoted(self.preference_template)}: add it."
            )
        variables = self.chat_template_kwargs
        check_nesting(ConfigurationError, "chat_template_kwargs", variables, MOST_VARIABLES)
        if taken := sorted(self.chat_template_kwargs.keys() & TAKEN):
            raise ConfigurationError(
                f"chat_template_kwargs are variables of the chat template, but {taken[0]!r} is "
                "decided by the model for each prompt: leave it out."
            )
        _ = self.sampling  # which checks its numbers
        if self.top_logprobs and not self.logprobs:
            raise ConfigurationError(
                f"top_logprobs adds to what logprobs=True gives, but is {self.top_logprobs} "
                "without that: set logprobs=True, or leave top_logprobs out."
            )
        return self

    @property
    def sampling(self) -> SamplingParams:
        """How tokens are drawn."""
        return SamplingParams(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            seed=self.seed,
            top_logprobs=self.top_logprobs if self.logprobs else None,
        )

    def for_call(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> CallSettings:
        """The settings of one call: these, but for what its arguments set.

        Raises:
            ConfigurationError: An argument is unknown or malformed, as for the model itself.
            RequestError: Preferences, tools or a response format are: see `errors`.
        """
        chosen = {name: getattr(self, name) for name in AnswerSettings.model_fields}
        if not as_flag("logprobs", kwargs.get("logprobs", True)):
            chosen["top_logprobs"] = None  # the model's own go with them
        chosen |= {name: kwargs[name] for name in kwargs.keys() - NOT_OURS}
        chosen |= {"stop": stop} if stop is not None else {}
        names = (*CallSettings.model_fields, USER)  # which went to the memory before
        with explained(ConfigurationError, names, others=NOT_A_CALLS):
            return CallSettings.model_validate(chosen)


class ModelSettings(FlaglessNumbers):
    """Everything that is the model's alone: no call may set it, and it can be changed later.

    Attributes:
        memory: Who knows what users prefer: a `PreferenceMemory`, a LangGraph store, or a
            function of a user's id, sync or async.
        streaming: Whether ``invoke`` decodes by way of streaming, so that callbacks see tokens;
            False keeps ``stream`` from streaming, too.
        cache_scope: Whose computed prompts a call may make use of, who can tell by the time to the
            first token what was asked before: "user" for those in the same user's name, nobody's
            sharing among themselves; "process" for all of this model's; "off" for none, and none
            are kept.
        max_retries: Accepted, as other chat models have it; a local model has nothing to retry.
        redact_preferences: Whether traces show ``[redacted]`` in place of preferences. That holds
            for the model's own runs; what a program puts into a config's ``metadata`` LangChain
            writes into the traces of everything around the model, too.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    memory: Annotated[PreferenceSource, BeforeValidator(as_memory)] | None = Field(
        default=None, exclude=True, repr=False
    )
    # None: a copy of a model has all its fields set, and LangChain takes a False that is set for a
    # decision against streaming.
    streaming: bool | None = None
    cache_scope: ScopeName = "user"
    max_retries: int | None = None
    redact_preferences: bool = False


NOT_A_CALLS: Mapping[str, str] = MappingProxyType(
    {
        **OTHER_NAMES,
        **{
            name: f"it is the model's own: make another one, with ChatAmulet({name}=...)"
            for name in (*LoadSettings.model_fields, *ModelSettings.model_fields)
        },
    }
)
"""What to do about names that a call can't set, but something or somebody else can."""


class CallSettings(AnswerSettings):
    """Everything that a call may set, with what makes no sense for all calls of a model.

    Attributes:
        standing_preference: What the call's preference is put on top of.
        tools: What the model may call.
        tool_choice: "auto", "any", "none", or the name of the tool that must be called.
        response_format: How the answer's text is structured; None leaves it free.
        parallel_tool_calls: Whether an answer may hold several calls; None for as many as the
            model likes where it needn't call, and for one where it must.
    """

    standing_preference: Annotated[tuple[Preference, ...], BeforeValidator(as_preferences)] = ()
    tools: Annotated[tuple[dict[str, Any], ...], BeforeValidator(as_tools)] = ()
    tool_choice: Annotated[str, BeforeValidator(as_choice)] = AUTO
    response_format: Annotated[ResponseFormat | None, BeforeValidator(as_response_format)] = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _check_call(self) -> Self:
        check_lengths(self.standing_preference, self.max_preference_chars)
        check_choice(self.tool_choice, self.tools)
        return self

    @property
    def preferences(self) -> tuple[Preference, ...]:
        """All that the call prefers, what is below first."""
        return (*self.standing_preference, *self.preference)

    @property
    def guidance(self) -> tuple[Guidance, ...]:
        """What they bring to a method: the call's own preferences nest on those below."""
        standing = (preference.guidance(layer=0) for preference in self.standing_preference)
        return (*standing, *(preference.guidance(layer=1) for preference in self.preference))

    @property
    def offered(self) -> tuple[dict[str, Any], ...]:
        """The tools that the model hears of."""
        return () if self.tool_choice == NONE else self.tools

    @property
    def may_call(self) -> bool:
        """Whether the model may call a tool and needn't."""
        return bool(self.offered) and self.tool_choice == AUTO

    @property
    def output(self) -> OutputSpec:
        """What the answer may be."""
        must_call = self.tool_choice not in (AUTO, NONE)
        output = OutputSpec(
            functions=[tool["function"] for tool in self.offered],
            schema=self.response_format.schema if self.response_format else None,
            must_call=must_call,
            several=not must_call if self.parallel_tool_calls is None else self.parallel_tool_calls,
        )
        is_named = self.tool_choice not in (AUTO, ANY, NONE)
        return output.only(self.tool_choice) if is_named else output
