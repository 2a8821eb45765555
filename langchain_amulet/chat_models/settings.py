"""What an answer depends on besides the conversation: which model, and how it is to answer.

This module knows which settings there are and what they may be: nothing of how they are used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args

import torch
from pydantic import (
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from langchain_amulet.chat_formats.base import ChatFormat, OutputSpec
from langchain_amulet.chat_formats.placement import Placement
from langchain_amulet.chat_formats.registry import as_chat_format
from langchain_amulet.chat_models.answer_schema import ResponseFormat, as_response_format
from langchain_amulet.chat_models.cache_scope import CACHE_USER, ScopeName
from langchain_amulet.chat_models.deadline import BATCH, DEADLINE
from langchain_amulet.chat_models.other_names import OTHER_NAMES
from langchain_amulet.chat_models.tools import (
    ANY,
    AUTO,
    NONE,
    as_choice,
    as_tools,
    check_choice,
)
from langchain_amulet.engine.backends import LoadOptions, check_backend
from langchain_amulet.engine.loading.hub import POCKET
from langchain_amulet.engine.loading.loader import dtype_of
from langchain_amulet.engine.remote.model import VLLM
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.memory import as_memory
from langchain_amulet.methods import Auto, Guidance, Method, as_method, spell
from langchain_amulet.preferences.preference import Preference, as_preferences, check_lengths
from langchain_amulet.preferences.resolution import PreferenceSource
from langchain_amulet.preferences.user_id import USER
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.validation import (
    LONGEST_WAIT,
    FlaglessNumbers,
    as_flag,
    check_nesting,
    explained,
    quoted,
)

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

SIZE = re.compile(r" *([0-9]+|[0-9]+(\.[0-9]+)? *[kmgtp]i?b) *", re.IGNORECASE)
"""A number of bytes in writing, whole where no unit follows."""

BYTES = TypeAdapter(ByteSize)

LEAST_CACHE = 1024
"""The fewest bytes of keys and values that can be meant: less holds no token of any real model."""


def as_dtype(value: Any) -> str | None:
    """The name of a torch dtype, given as such or by its name; None for the fastest."""
    if value is not None and not isinstance(value, (str, torch.dtype)):
        raise ConfigurationError(
            f"dtype must be a torch dtype or its name, not {quoted(value)}: use 'float32' or "
            "'bfloat16', or None for what runs fastest."
        )
    name = None if value is None else str(value).removeprefix("torch.")
    if name is None or name == "auto":
        return None
    dtype_of(name)
    return name


def as_device(value: Any) -> str | None:
    """The name of a torch device, given as such or by its name; None for a GPU if there is one.

    Whether there is such a device is found out where the model is loaded.
    """
    if value is None:
        return None
    try:
        return str(torch.device(value if isinstance(value, torch.device) else _text(value)))
    except (RuntimeError, TypeError):
        raise ConfigurationError(
            f"device must be the name of a torch device, not {quoted(value)}: use 'cpu' or "
            "'cuda:0', or None for a GPU if there is one."
        ) from None


def as_bytes(value: Any) -> int | None:
    """A number of bytes, given as such or as a text with a unit; None for none."""
    if value is None:
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_written = isinstance(value, str) and SIZE.fullmatch(value) is not None
    try:
        found = int(BYTES.validate_python(value)) if is_number or is_written else 0
    except ValidationError:  # such as a unit that there isn't
        found = 0
    if found < LEAST_CACHE:
        raise ConfigurationError(
            f"kv_cache_memory must be at least {LEAST_CACHE} bytes, as a whole number, or as a "
            f"text of a number with a decimal point or none and a unit, not {quoted(value)}: use "
            "'4GiB', or None for a share of what is free."
        )
    return found


def as_speculation(value: Any) -> Any:
    """Where drafts come from; what isn't None must be the name of a way."""
    if value is None or (isinstance(value, str) and value in get_args(Speculation)):
        return value
    raise ConfigurationError(
        f"speculation must be one of {', '.join(map(repr, get_args(Speculation)))} or None, not "
        f"{quoted(value)}: use None to turn it off."
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def as_quantization(value: Any) -> Any:
    """How weights are quantised: an object or a dict, which means something to backends alone."""
    if not isinstance(value, (str, int, float, list, tuple)):
        return value
    raise ConfigurationError(
        f"quantization_config must be a config of transformers' or a dict of one, not "
        f"{quoted(value)}: use BitsAndBytesConfig(load_in_4bit=True) for 4 bits, "
        "load_in_8bit=True for 8."
    )


def as_backend(value: Any) -> str:
    """The name of a backend that can be found."""
    if not isinstance(value, str):
        raise ConfigurationError(
            f"backend must be the name of one, not {quoted(value)}: register your own, and use its "
            "name."
        )
    check_backend(value)
    return value


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


class LoadSettings(FlaglessNumbers):
    """Everything that decides which weights are loaded, and how; fixed once a model is made.

    Attributes:
        model: ``"pocket"``, the model that comes with this package; or a local folder, a
            repository on the Hub, or a GGUF file.
        backend: What loads and runs it: "auto", or the name of one.
        device: Such as "cpu" or "cuda:0"; None for a GPU if there is one.
        dtype: Such as "bfloat16"; None for what runs fastest.
        device_map: As in ``from_pretrained``.
        quantization_config: As in ``from_pretrained``.
        attn_implementation: As in ``from_pretrained``.
        gguf_file: Which GGUF file of a folder or repository; None for the only one of a folder
            without other weights.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run Python that comes with the model. Off, and better left off.
        use_safetensors: Refuse weights in pickle files, which can run code when they are loaded.
        cuda_graphs: Record short passes on a GPU and play them back, which spares it to wait for
            Python; off takes less of its memory.
        compile: Compile the layers for decoding, for which all calls wait at the first answers, to
            have a GPU's steps of few calls take fewer kernels; of no use on a CPU.
        base_url: The address of the vLLM server that runs the model, for the backend "vllm" alone.
        api_key: What that server wants to be shown.
        max_rows: The most prompt streams decoded at a time, over all calls.
        max_queue: The most calls that may wait.
        prefill_chunk: The most prompt tokens computed between two decode steps; None for what
            takes the device about as long as a few of these.
        kv_cache_memory: The most memory for keys and values, those included that are kept for
            prompts that begin alike: bytes, or a text such as "4GiB"; None for a share of what is
            free.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str = Field(default=POCKET, min_length=1)
    backend: Annotated[str, BeforeValidator(as_backend)] = "auto"
    device: Annotated[str | None, BeforeValidator(as_device)] = None
    dtype: Annotated[str | None, BeforeValidator(as_dtype)] = None
    device_map: str | dict[str, int | str] | None = None
    quantization_config: Annotated[Any, BeforeValidator(as_quantization)] = Field(
        default=None, exclude=True, repr=False
    )
    attn_implementation: str | None = None
    gguf_file: Annotated[str | None, Field(min_length=1)] = None
    revision: str | None = None
    trust_remote_code: bool = False
    use_safetensors: bool = True
    cuda_graphs: bool = True
    compile: bool = False
    base_url: str | None = None
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    max_rows: int = Field(default=64, ge=1)
    max_queue: int = Field(default=4096, ge=1)
    prefill_chunk: int | None = Field(default=None, ge=1)
    kv_cache_memory: Annotated[int | None, BeforeValidator(as_bytes)] = None

    @property
    def load_options(self) -> LoadOptions:
        """The same for the engine.

        Raises:
            ConfigurationError: There is a server's address without its backend, or the other way.
        """
        if (self.backend == VLLM) != (self.base_url is not None):
            raise ConfigurationError(
                "base_url is where a vLLM server is, so it goes with backend='vllm' and that with "
                f"it, but they are {quoted(self.base_url)} and {self.backend!r}: set both or none."
            )
        fixed = {name: getattr(self, name) for name in LoadSettings.model_fields}
        del fixed["model"]
        fixed["api_key"] = self.api_key and self.api_key.get_secret_value()
        if isinstance(self.device_map, dict):
            fixed["device_map"] = tuple(self.device_map.items())
        return LoadOptions(**fixed)


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
