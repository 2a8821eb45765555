"""A request for a chat completion: OpenAI's fields, and those of this server beside them.

Every field does what it says or is refused by its name; a field that this model can't do anything
about may only have the value at which it asks for nothing. Unknown fields are refused.

Knows what may be asked. Doesn't know what is made of it.
"""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from amulet_server.protocol.errors import ApiError
from amulet_server.protocol.message_input import MessageInput
from amulet_server.protocol.tool_input import (
    AllowedChoice,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    TextFormat,
    ToolSpec,
)
from amulet_server.protocol.wire import Each, Listed, Wire
from langchain_amulet.preferences.preference import MOST_PREFERENCES

SEEDS = 2**63 - 1

MOST_METADATA = 16
"""How many names there may be in ``metadata``, by OpenAI's rule."""


def _asks_for_nothing(value: Any) -> Any:
    if value:
        raise ValueError("the model can't do that: leave it out")
    return value


UNAVAILABLE = BeforeValidator(_asks_for_nothing)
"""Marks what the model can do nothing about, so that it is refused for that reason."""


def _one_too_many(value: Any) -> Any:
    return dict(islice(value.items(), MOST_METADATA + 1)) if isinstance(value, dict) else value


FEW = BeforeValidator(_one_too_many)
"""Marks that of too many no more is looked at than what makes them so."""

StopString = Annotated[str, Field(min_length=1)]

Wish = Annotated[str, Field(max_length=20_000)]
"""A text that is looked through for names: how much may be preferred is the model's to say."""


class StreamOptions(Wire):
    """What a stream tells besides the answer.

    Attributes:
        include_usage: Whether its last event says what the answer cost.
        include_obfuscation: Accepted: there is no padding to be left out.
    """

    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class PreferenceInput(Wire):
    """How an answer is wanted; see `langchain_amulet.preferences.Preference`."""

    text: Wish
    strength: float | str | None = None
    weight: float = Field(default=1.0, ge=0.0)


Preferences = Annotated[Listed[Each], Field(max_length=MOST_PREFERENCES)]
"""A list of so many preferences at most: each is looked through for names."""

PreferenceValue = Wish | PreferenceInput | Preferences[Wish | PreferenceInput]


class ChatRequest(Wire):
    """A request for a chat completion.

    Attributes:
        model: The model's name, with a style's behind it if one is wanted: ``pocket@brief``.
        messages: The conversation.
        stream: Whether the answer comes in events.
        stream_options: What the stream tells besides.
        n: How many answers.
        seed: Makes answers repeatable; the k-th of several has this number plus k.
        stop: Where what is said ends.
        temperature: 0 takes the likeliest token.
        top_p: Share of the probability to draw from.
        top_k: Number of tokens to draw from.
        min_p: Least share of the likeliest token's probability.
        presence_penalty: Above 0 makes tokens that were written less likely.
        repetition_penalty: Above 1 does, too, by a factor.
        frequency_penalty: Can't be done: 0.
        logit_bias: Can't be done: empty.
        max_tokens: The most tokens of an answer, as
        max_completion_tokens: which has taken its place.
        logprobs: Whether each token's log-probability is told.
        top_logprobs: How many alternatives with it.
        tools: What may be called.
        tool_choice: Whether, or which.
        parallel_tool_calls: Whether several at once.
        response_format: How the answer is structured.
        user: In whose name the call is made, for keys that may speak for others, as is
        safety_identifier: this.
        metadata: Texts by names: ``preference``, ``method`` and ``user_id`` mean what the fields of
            these names do, all others nothing.
        store: Nothing of a conversation is kept: false.
        modalities: Text.
        service_tier: There is one.
        preference: How the answer is wanted: a text, one with strength and weight, several, or
            traits; null for no preference, whatever is stored.
        compose: Whether the preference is put on top of what is stored, not in its place.
        method: How preferences steer: a strength's name or number, or a method.
        guidance_scale: Classifier-free guidance: 1 is the prompt alone, more is more.
        negative_prompt: What is not wanted.
        trace: Whether each token's probability before and after steering is told.
        steer_thinking: Whether thoughts are steered.
        steer_tool_calls: Whether calls that needn't be made are.
        chat_template_kwargs: Variables of the chat template, such as ``enable_thinking``.
    """

    model: str
    messages: Listed[MessageInput] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=1, ge=1)
    seed: int | None = Field(default=None, ge=-SEEDS, le=SEEDS)
    stop: StopString | Listed[StopString] | None = None
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    top_k: int | None = Field(default=None, ge=1)
    min_p: float | None = Field(default=None, ge=0.0, le=1.0)
    presence_penalty: float | None = Field(default=None, ge=-2.0, le=2.0)
    repetition_penalty: float | None = Field(default=None, gt=0.0, le=10.0)
    frequency_penalty: Annotated[float, Field(ge=0.0, le=0.0), UNAVAILABLE] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0), UNAVAILABLE] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: Listed[ToolSpec] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | AllowedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: (
        Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]
        | None
    ) = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: Annotated[dict[str, Wish], FEW, Field(max_length=MOST_METADATA)] | None = None
    store: Literal[False] | None = None
    modalities: Annotated[Listed[Literal["text"]], Field(min_length=1)] | None = None
    service_tier: Literal["auto", "default"] | None = None
    preference: PreferenceValue | None = None
    compose: bool = False
    method: str | float | None = None
    guidance_scale: float | None = Field(default=None, ge=0.0, le=20.0)
    negative_prompt: str | None = None
    trace: bool = False
    steer_thinking: bool | None = None
    steer_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        lengths = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(lengths) > 1:
            raise _at_odds(
                "max_completion_tokens",
                "max_tokens and max_completion_tokens say the same, but differ: give one of them.",
            )
        if self.stream_options is not None and not self.stream:
            raise _at_odds(
                "stream_options",
                "stream_options are for streams, but stream isn't true: leave them out.",
            )
        if self.top_logprobs and not self.logprobs:
            raise _at_odds(
                "top_logprobs",
                "top_logprobs adds to what logprobs gives, but logprobs isn't true: set it, or "
                "leave top_logprobs out.",
            )
        if self.guidance_scale not in (None, 1.0) and self.method is not None:
            raise _at_odds(
                "guidance_scale",
                "guidance_scale is a strength of its own, but there is a method, too: give one of "
                "them.",
            )
        return self

    @property
    def length(self) -> int | None:
        """The most tokens of an answer; None for what the server has."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Where what is said ends."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


def _at_odds(param: str, message: str) -> ApiError:
    """What to raise for a field that doesn't go with another one."""
    return ApiError(400, message, param=param, code="invalid_request")
