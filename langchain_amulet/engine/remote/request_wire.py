"""A request to a server's steering, as one text: written by a client, read by the server.

The text goes beside the prompts, whose tokens it doesn't hold: it names each by a digest, so that
both ends agree which prompt is which stream. Whatever would need a program's own code at the other
end can't be written, and is refused.

Knows requests. Doesn't know how the text travels, or what decodes the answer.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, runtime_checkable

from langchain_amulet.engine.request import Guard, Pause, Request
from langchain_amulet.errors import RequestError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Mask, Plan, Plausibility, Stream, TopK, TopP

WIRE = 1
"""The version of what is written here. The two ends must have the same one."""

ARGUMENT = "amulet"
"""The name under which vLLM is given the text, among ``vllm_xargs``."""

MASKS: Mapping[str, type[Mask]] = {each.__name__: each for each in (Plausibility, TopK, TopP)}
"""The masks that both ends have, by name."""


@runtime_checkable
class Portable(Protocol):
    """A guard of which another process can make the same one."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it is made of: texts, numbers, lists of these."""
        ...


@dataclass(frozen=True)
class GroupSpec:
    """What a server is told of the streams that decode together.

    Attributes:
        group: A name that no other group has.
        digests: Which prompt each stream has, see `digest`.
        plan: How the streams are combined.
        sampling: How tokens are drawn; the seed is always set, so that all ranks draw the same.
        max_tokens: The most tokens of the answer.
        stop_ids: Tokens that end it.
        pauses: Where it isn't steered.
        guard: What its guard is made of; None without one.
    """

    group: str
    digests: tuple[str, ...]
    plan: Plan
    sampling: SamplingParams
    max_tokens: int
    stop_ids: frozenset[int]
    pauses: tuple[Pause, ...]
    guard: Mapping[str, Any] | None

    def request(self, prompts: Sequence[tuple[int, ...]], guard: Guard | None) -> Request:
        """The request itself, once its prompts are there and its guard is made."""
        return Request(
            prompts=tuple(prompts),
            plan=self.plan,
            sampling=self.sampling,
            max_tokens=self.max_tokens,
            stop_ids=self.stop_ids,
            pauses=self.pauses,
            guard=guard,
        )


def digest(prompt: Sequence[int]) -> str:
    """Tells prompts apart: equal ones, and hardly any others, have the same."""
    return hashlib.sha256(array("q", prompt).tobytes()).hexdigest()[:32]


def write(request: Request) -> str:
    """The text for a request, under a new name for its group.

    Raises:
        RequestError: Part of it can only run in the caller's process.
    """
    _check(request)
    plan, sampling = request.plan, request.sampling
    if sampling.seed is None:
        sampling = replace(sampling, seed=random.SystemRandom().getrandbits(63))
    guard = request.guard
    data = {
        "wire": WIRE,
        "group": secrets.token_hex(16),
        "prompts": [digest(prompt) for prompt in request.prompts],
        "streams": [stream.preferences for stream in plan.streams],
        "anchor": plan.anchor,
        "contrasts": [(each.weight, each.plus, each.minus) for each in plan.contrasts],
        "reference": plan.reference,
        "mask": plan.mask and {"kind": type(plan.mask).__name__, **asdict(plan.mask)},  # type: ignore[call-overload]
        "kl_cap": plan.kl_cap,
        "sampling": asdict(sampling),
        "max_tokens": request.max_tokens,
        "stop_ids": sorted(request.stop_ids),
        "pauses": [{**asdict(each), "openings": sorted(each.openings)} for each in request.pauses],
        "guard": guard.spec if isinstance(guard, Portable) else None,
    }
    return json.dumps(data, separators=(",", ":"))


def read(text: object) -> GroupSpec:
    """What a text says.

    Raises:
        RequestError: It isn't one that `write` of this version wrote.
    """
    try:
        data = json.loads(text) if isinstance(text, str) else None
        if not isinstance(data, dict) or data.pop("wire", None) != WIRE:
            raise ValueError("it is of another version, or none")
        return _spec(data)
    except (KeyError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise RequestError(
            f"{ARGUMENT!r} must be what langchain-amulet writes in version {WIRE} of its wire, but "
            f"can't be read ({kind}): use the same release at both ends."
        ) from error


def _spec(data: Mapping[str, Any]) -> GroupSpec:
    plan = Plan(
        streams=tuple(Stream(tuple(preferences)) for preferences in data["streams"]),
        anchor=data["anchor"],
        contrasts=tuple(Contrast(*each) for each in data["contrasts"]),
        reference=tuple((stream, weight) for stream, weight in data["reference"]),
        mask=_mask(data["mask"]),
        kl_cap=data["kl_cap"],
    )
    if len(data["prompts"]) != len(plan.streams):
        raise ValueError("prompts and streams differ in number")
    return GroupSpec(
        group=str(data["group"]),
        digests=tuple(data["prompts"]),
        plan=plan,
        sampling=SamplingParams(**data["sampling"]),
        max_tokens=int(data["max_tokens"]),
        stop_ids=frozenset(data["stop_ids"]),
        pauses=tuple(
            Pause(**{**each, "openings": frozenset(each["openings"])}) for each in data["pauses"]
        ),
        guard=data["guard"],
    )


def _mask(data: Mapping[str, Any] | None) -> Mask | None:
    if data is None:
        return None
    return MASKS[data["kind"]](**{name: each for name, each in data.items() if name != "kind"})


def _check(request: Request) -> None:
    """Refuse by name what would have to run at the other end, and can't."""
    plan = request.plan
    refused = {
        "a solver's utility": plan.solver is not None,
        "a mask of one's own": plan.mask is not None and type(plan.mask) not in MASKS.values(),
        "a second model": bool(plan.models),
        "a trace": request.trace,
        "speculation": request.speculates,
        "a grammar (response_format, tools that may or must be called)": request.constraint
        is not None,
        "a guard of one's own": request.guard is not None
        and not isinstance(request.guard, Portable),
    }
    if found := [name for name, is_asked in refused.items() if is_asked]:
        raise RequestError(
            f"What a vLLM server decodes can't have {found[0]}, which only an engine in the same "
            "process can: leave it out, or load the model here."
        )
