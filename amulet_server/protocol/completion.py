"""Answers as OpenAI's clients read them, by the types of OpenAI's own package.

Of a chat model's message chunks `DeltaWriter` makes the deltas of one choice, `event` an event of a
stream, and `completion` the answer in one piece.

Knows LangChain's chunks and OpenAI's forms. Doesn't know how answers are decoded or sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk
from openai.types.chat import ChatCompletion
from pydantic_core import to_json

OWN = ("method", "strength", "mean_kl", "agreement", "trace")
"""What an answer tells of its steering, under ``amulet``."""


@dataclass(frozen=True)
class Head:
    """What all events of an answer have in common.

    Attributes:
        id: The answer's name.
        created: When it was begun, in seconds since the epoch.
        model: The model as the request named it.
    """

    id: str
    created: int
    model: str

    @property
    def fields(self) -> dict[str, Any]:
        """The same as fields of an event."""
        return {"id": self.id, "created": self.created, "model": self.model}


@dataclass
class DeltaWriter:
    """Writes what one choice adds to its answer, chunk by chunk."""

    _calls: dict[Any, int] = field(default_factory=dict)
    """OpenAI's numbers of calls, which count these alone, by LangChain's."""

    def delta(self, chunk: AIMessageChunk) -> dict[str, Any]:
        """What a chunk adds; often nothing."""
        delta: dict[str, Any] = {}
        if thought := chunk.additional_kwargs.get("reasoning_content"):
            delta["reasoning_content"] = thought
        if text := chunk.text:
            delta["content"] = str(text)
        if chunk.tool_call_chunks:
            delta["tool_calls"] = [self._call(call) for call in chunk.tool_call_chunks]
        return delta

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        index = self._calls.setdefault(call["index"], len(self._calls))
        if call["name"] is None:
            return {"index": index, "function": {"arguments": call["args"] or ""}}
        function = {"name": call["name"], "arguments": call["args"] or ""}
        return {"index": index, "id": call["id"], "type": "function", "function": function}


def event(head: Head, choices: Sequence[dict[str, Any]], **usage: Any) -> str:
    """An event of a stream, as JSON; ``usage`` is in it if it is given, None included."""
    # Not by way of OpenAI's type: there is an event for each token, and checking it would cost more
    # than all the rest of its way. Tests check them.
    body = {"object": "chat.completion.chunk", "choices": list(choices)}
    return to_json({**head.fields, **body, **usage}, inf_nan_mode="null").decode()


def choice_opening(index: int) -> dict[str, Any]:
    """What the first event says of one choice."""
    return {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}


def choice_delta(index: int, chunk: AIMessageChunk, writer: DeltaWriter) -> dict[str, Any] | None:
    """What an event says of one choice; None if there is nothing to say.

    Args:
        index: Which choice.
        chunk: What it adds; the last one also says how it ended.
        writer: Wrote the choice's chunks before this one.
    """
    delta = writer.delta(chunk)
    if chunk.chunk_position == "last":
        return {"index": index, "delta": delta, **_ending(chunk)}
    logprobs, own = _logprobs(chunk), _own(chunk)
    if not delta and logprobs is None and not own:
        return None
    said = {"index": index, "delta": delta, "finish_reason": None, "logprobs": logprobs}
    return {**said, "amulet": own} if own else said


def completion(head: Head, answers: Sequence[AIMessageChunk]) -> dict[str, Any]:
    """An answer in one piece.

    Args:
        head: What it is called.
        answers: Each choice's chunks, added up.
    """
    choices = [
        {"index": index, "message": _message(answer), **_ending(answer)}
        for index, answer in enumerate(answers)
    ]
    body = {"object": "chat.completion", "choices": choices, "usage": usage(answers)}
    return ChatCompletion.model_validate({**head.fields, **body}).model_dump(
        mode="json", exclude_unset=True
    )


def _message(answer: AIMessageChunk) -> dict[str, Any]:
    delta = DeltaWriter().delta(answer)
    calls = [
        {key: value for key, value in call.items() if key != "index"}
        for call in delta.get("tool_calls", ())
    ]
    thought = {k: v for k, v in delta.items() if k == "reasoning_content"}
    called = {"tool_calls": calls} if calls else {}
    content = delta.get("content", None if calls else "")
    said: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "refusal": None,
        "annotations": [],
    }
    return {**said, **thought, **called}


def _ending(answer: AIMessageChunk) -> dict[str, Any]:
    reason = answer.response_metadata.get("finish_reason")
    return {
        "finish_reason": reason or "stop",
        "logprobs": _logprobs(answer),
        "amulet": _own(answer),
    }


def _own(chunk: AIMessageChunk) -> dict[str, Any]:
    metadata = chunk.response_metadata
    return {name: metadata[name] for name in OWN if metadata.get(name) is not None}


def _logprobs(chunk: AIMessageChunk) -> dict[str, Any] | None:
    found = chunk.response_metadata.get("logprobs")
    return None if found is None else {"content": found["content"], "refusal": None}


def usage(answers: Sequence[AIMessageChunk]) -> dict[str, Any]:
    """What an answer cost: its prompt once, what was kept of it, and the tokens of all choices."""
    used = [answer.usage_metadata for answer in answers if answer.usage_metadata]
    prompt = max((each["input_tokens"] for each in used), default=0)
    written = sum(each["output_tokens"] for each in used)
    thoughts = sum(each.get("output_token_details", {}).get("reasoning", 0) for each in used)
    # The first choice may have computed what the others then found.
    found = [each.get("input_token_details", {}).get("cache_read", 0) for each in used]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "completion_tokens_details": {"reasoning_tokens": thoughts},
        "prompt_tokens_details": {"cached_tokens": min(found, default=0)},
    }
