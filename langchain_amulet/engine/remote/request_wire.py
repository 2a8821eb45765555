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

from langchain_amulet.engine.request import Constraint, Guard, Pause, Request
from langchain_amulet.errors import RequestError, SchemaError
from langchain_amulet.grammar import Resumption
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Mask, Plan, Plausibility, Stream, TopK, TopP

WIRE = 3
"""The version of what is written here. The two ends must have the same one."""

ARGUMENT = "amulet"
"""The name under which vLLM is given the text, among ``vllm_xargs``."""

MASKS: Mapping[str, type[Mask]] = {each.__name__: each for each in (Plausibility, TopK, TopP)}
"""The masks that both ends have, by name."""

GUARD = frozenset({"found", "begun"})
GRAMMAR = frozenset({"lark", "ends", "turn"})
"""What a guard and a constraint are made of that can be made at the other end."""

MOST_GRAMMAR = 100_000
"""Characters of the longest grammar: a server compiles it between everybody's tokens."""


@runtime_checkable
class Portable(Protocol):
    """A guard or a constraint of which another process can make the same one."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it is made of: texts, numbers, lists of these."""
        ...


@dataclass(frozen=True)
class GroupSpec:
    """What a server is told of the streams that decode together.

    Attributes:
        group: A name that no other group has.
        tokenizer: Whose tokens the prompts are of, see `fingerprint`.
        digests: Which prompt each stream has, see `digest`.
        plan: How the streams are combined.
        sampling: How tokens are drawn; the seed is always set, so that all ranks draw the same.
        max_tokens: The most tokens of the answer.
        stop_ids: Tokens that end it.
        pauses: Where it isn't steered.
        guard: What its guard is made of; None without one.
        grammar: What its constraint is made of; None without one.
    """

    group: str
    tokenizer: str
    digests: tuple[str, ...]
    plan: Plan
    sampling: SamplingParams
    max_tokens: int
    stop_ids: frozenset[int]
    pauses: tuple[Pause, ...]
    guard: Mapping[str, Any] | None
    grammar: Mapping[str, Any] | None

    def request(
        self,
        prompts: Sequence[tuple[int, ...]],
        guard: Guard | None,
        constraint: Constraint | None,
    ) -> Request:
        """The request itself, once its prompts are there, its guard and constraint are made."""
        return Request(
            prompts=tuple(prompts),
            plan=self.plan,
            sampling=self.sampling,
            max_tokens=self.max_tokens,
            stop_ids=self.stop_ids,
            pauses=self.pauses,
            guard=guard,
            constraint=constraint,
        )


def digest(prompt: Sequence[int]) -> str:
    """Tells prompts apart: equal ones, and hardly any others, have the same."""
    return hashlib.sha256(array("q", prompt).tobytes()).hexdigest()[:32]


def fingerprint(vocabulary: Mapping[str, int]) -> str:
    """Tells tokenizers apart by their tokens' ids, after how many there are; fit to be read."""
    said = json.dumps(sorted(vocabulary.items())).encode()
    return f"{len(vocabulary)} tokens ({hashlib.sha256(said).hexdigest()[:16]})"


def write(request: Request, tokenizer: str) -> str:
    """The text for a request, under a new name for its group.

    Args:
        request: What is asked.
        tokenizer: The `fingerprint` of the one that its tokens are of.

    Raises:
        RequestError: Part of it can only run in the caller's process.
        SchemaError: Its grammar is longer than `MOST_GRAMMAR`.
    """
    _check(request)
    plan, sampling = request.plan, request.sampling
    if sampling.seed is None:
        sampling = replace(sampling, seed=random.SystemRandom().getrandbits(63))
    guard, grammar = _parts(request.guard), _parts(request.constraint)
    _check_length(grammar)
    data = {
        "wire": WIRE,
        "group": secrets.token_hex(16),
        "tokenizer": tokenizer,
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
        "guard": guard,
        "grammar": grammar,
    }
    return json.dumps(data, separators=(",", ":"))


def read(text: object) -> GroupSpec:
    """What a text says: all of it, as what is passed over might be what was asked for.

    Raises:
        RequestError: It isn't one that `write` of this version wrote.
        SchemaError: Its grammar is longer than `MOST_GRAMMAR`.
    """
    try:
        data = json.loads(text) if isinstance(text, str) else None
        if not isinstance(data, dict) or data.pop("wire", None) != WIRE:
            raise ValueError("it is of another version, or none")
        spec = _spec(data)
    except (KeyError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise RequestError(
            f"{ARGUMENT!r} must be what langchain-amulet writes in version {WIRE} of its wire, but "
            f"can't be read ({kind}): use the same release at both ends."
        ) from error
    _check_length(spec.grammar)
    return spec


def _spec(data: dict[str, Any]) -> GroupSpec:
    take = data.pop
    plan = Plan(
        streams=tuple(Stream(tuple(preferences)) for preferences in take("streams")),
        anchor=take("anchor"),
        contrasts=tuple(Contrast(*each) for each in take("contrasts")),
        reference=tuple((stream, weight) for stream, weight in take("reference")),
        mask=_mask(take("mask")),
        kl_cap=take("kl_cap"),
    )
    spec = GroupSpec(
        group=str(take("group")),
        tokenizer=str(take("tokenizer")),
        digests=tuple(take("prompts")),
        plan=plan,
        sampling=SamplingParams(**take("sampling")),
        max_tokens=int(take("max_tokens")),
        stop_ids=frozenset(take("stop_ids")),
        pauses=tuple(
            Pause(**{**each, "openings": frozenset(each["openings"])}) for each in take("pauses")
        ),
        guard=_guard(take("guard")),
        grammar=_grammar(take("grammar")),
    )
    if len(spec.digests) != len(plan.streams):
        raise ValueError("prompts and streams differ in number")
    if data:
        raise ValueError("it asks for more than is known here")
    return spec


def _guard(data: Any) -> Mapping[str, Any] | None:
    """What a guard is made of; None where none was asked for, and nowhere else."""
    if data is None:
        return None
    if {*data} != GUARD or not (_are_texts(data["found"]) and isinstance(data["begun"], str)):
        raise ValueError("a guard has other parts")
    return dict(data)


def _grammar(data: Any) -> Mapping[str, Any] | None:
    """The same of a constraint."""
    if data is None:
        return None
    is_known = {*data} == GRAMMAR and isinstance(data["turn"], int | None)
    if not (is_known and isinstance(data["lark"], str) and _are_texts(data["ends"])):
        raise ValueError("a grammar has other parts")
    return dict(data)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _mask(data: Mapping[str, Any] | None) -> Mask | None:
    if data is None:
        return None
    return MASKS[data["kind"]](**{name: each for name, each in data.items() if name != "kind"})


def _parts(made: Guard | Constraint | None) -> Mapping[str, Any] | None:
    return made.spec if isinstance(made, Portable) else None


def _is_portable(made: Guard | Constraint | None, parts: frozenset[str]) -> bool:
    """Whether the other end can make it: nothing, or one of ours."""
    return made is None or (isinstance(made, Portable) and {*made.spec} == parts)


def _check_length(grammar: Mapping[str, Any] | None) -> None:
    """Refuse a grammar that would take a server too long to compile."""
    length = 0 if grammar is None else len(grammar["lark"]) + sum(map(len, grammar["ends"]))
    if length > MOST_GRAMMAR:
        raise SchemaError(
            f"A grammar that a vLLM server compiles may have {MOST_GRAMMAR} characters, but this "
            f"one has {length}: use a smaller schema, or fewer tools."
        )


def _check(request: Request) -> None:
    """Refuse by name what would have to run at the other end, and can't."""
    plan, is_resumed = request.plan, isinstance(request.constraint, Resumption)
    refused = {
        "a solver's utility": plan.solver is not None,
        "a mask of one's own": plan.mask is not None and type(plan.mask) not in MASKS.values(),
        "a second model": bool(plan.models),
        "a trace": request.trace,
        "speculation": request.speculates,
        "an answer's beginning that ends in white space": is_resumed,
        "a constraint of one's own": not _is_portable(request.constraint, GRAMMAR),
        "a guard of one's own": not _is_portable(request.guard, GUARD),
    }
    if found := [name for name, is_asked in refused.items() if is_asked]:
        raise RequestError(
            f"What a vLLM server decodes can't have {found[0]}, which only an engine in the same "
            "process can: leave it out, or load the model here."
        )
