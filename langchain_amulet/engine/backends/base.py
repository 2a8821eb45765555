"""What the engine asks of whatever runs a model: the three parts of a backend.

A `LoadedModel` is a model in memory with its tokenizer and a `ModelInfo`. For every engine that
runs it, it makes a `Backend`, which holds that engine's requests. A `Slot` is one request's place
there, with a row for each of its prompt streams. A request's life behind this door::

    slot = backend.join(prompts, max_tokens)
    while not slot.is_prefilled:
        backend.prefill()
    backend.start(slot)
    logits = backend.decode().logits[slot.rows]  # as often as tokens are wanted,
    slot.feed(token)                             # each fed to all of the request's streams
    backend.leave(slot)

Where a backend ``takes_drafts``, a step may read guesses beside the token that is fed, see
`Backend.draft`; what is fed then tells which of them were right.

Everything is called by one thread at a time, in torch's inference mode: the engine's own. Only a
`LoadedModel` is shared by the threads of several engines, each with a backend of its own.

Knows token ids, tensors and tokenizers. Doesn't know plans, sampling, callers or any library that
runs models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from langchain_amulet.errors import ContextLengthError, RequestError
from langchain_amulet.validation.wording import quoted

T = TypeVar("T")

Prompts = tuple[tuple[int, ...], ...]
"""Token ids, one tuple per stream."""

Steps = Generator[None, None, T]
"""``Steps[T]``: work that yields wherever others may have their turn, and returns a ``T``."""

CandidateQuery = tuple[tuple[int, float], ...]
"""A weighted sum of logits rows whose best tokens are sought: (row, weight) pairs."""


@dataclass(frozen=True)
class CacheScope:
    """Whose computed prompts a request may make use of: those of equal scopes are shared.

    Who shares can tell by the time to the first token what others asked before. The streams of one
    request share in any scope.

    Attributes:
        name: What tells scopes apart, such as a user; all of the process if left out.
        keeps: Whether what was computed stays after its request has ended.
    """

    name: Hashable = None
    keeps: bool = True


PROCESS = CacheScope()
"""The scope of all requests that say nothing else."""


@dataclass(frozen=True)
class CacheUse:
    """How much memory for keys and values is in use.

    Attributes:
        nbytes: Bytes that are held now.
        limit: The most bytes that may be; None where there is no such limit.
        tokens: Tokens whose keys and values these are, those that are shared counted once.
    """

    nbytes: int = 0
    limit: int | None = None
    tokens: int = 0


@dataclass(frozen=True)
class ModelInfo:
    """All that may be known of a model by what is above its backend.

    Attributes:
        vocabulary_size: It can be fed token ids from 0 to below this.
        logits_width: How many logits it gives, padding included.
        context_length: The most positions it has, prompt and answer together; None for no limit.
        stop_ids: Tokens that end an answer, as the model itself declares them.
        max_streams: The most prompt streams that its backend can hold; None for no limit.
        shares_pass: Whether all requests go through one forward pass per step.
        traces: Whether tokens can carry a ``Trace``.
        backend: The name of what runs it; empty where that has none.
        device: Where it runs.
        dtype: What it computes in.
    """

    vocabulary_size: int
    logits_width: int
    context_length: int | None = None
    stop_ids: frozenset[int] = frozenset()
    max_streams: int | None = None
    shares_pass: bool = True
    traces: bool = True
    backend: str = ""
    device: str = "cpu"
    dtype: str = "float32"

    def check_prompt(self, prompt: Sequence[int], max_tokens: int) -> None:
        """Refuse a prompt that the model can't be fed, or not with ``max_tokens`` more tokens.

        Raises:
            ContextLengthError: The prompt and ``max_tokens`` exceed its context.
            RequestError: It lacks a token id.
        """
        if not 0 <= min(prompt) <= max(prompt) < self.vocabulary_size:
            raise RequestError(
                f"Token ids must lie in [0, {self.vocabulary_size}), the model's vocabulary, but "
                f"a prompt spans [{min(prompt)}, {max(prompt)}]. Use the model's tokenizer."
            )
        wanted = len(prompt) + max_tokens
        if self.context_length is not None and wanted > self.context_length:
            raise ContextLengthError(
                f"Prompt and answer must fit the model's context of {self.context_length} tokens, "
                f"but {len(prompt)} + {quoted(max_tokens)} is {quoted(wanted)}. Shorten the "
                "conversation or lower max_tokens."
            )


class LoadedModel(ABC):
    """A model in memory, which any number of engines may run at once.

    Attributes:
        tokenizer: Has the interface of transformers' tokenizers. May be None where only token ids
            go in and come out.
    """

    tokenizer: Any

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """What may be known of it; always the same."""

    @abstractmethod
    def new_backend(
        self, max_rows: int, prefill_chunk: int, kv_cache_memory: int | None = None
    ) -> Backend:
        """What runs it for one engine, without requests yet.

        Args:
            max_rows: The most prompt streams at a time.
            prefill_chunk: The most prompt tokens to compute in one ``Backend.prefill``.
            kv_cache_memory: The most bytes of keys and values; None for the backend's own choice.
        """


class Slot(Protocol):
    """One request's place in a backend; each is itself alone, so they may be keys of a mapping."""

    @property
    def is_prefilled(self) -> bool:
        """Whether its prompts are in, so that it can be started."""
        ...

    @property
    def rows(self) -> Sequence[int]:
        """Where its streams will be in the logits of the next ``Backend.decode``, in their order.

        With a draft they are there several times: all of them for what follows the token that was
        fed, then all of them for what follows each drafted one.

        Asked anew before each: others may have left since.
        """
        ...

    @property
    def cached_tokens(self) -> Sequence[int]:
        """How many tokens of each prompt weren't computed, as an earlier request had them."""
        ...

    def feed(self, token: int) -> None:
        """Set the token that follows in every stream, for the next ``Backend.decode``.

        One that the last step read as a draft is in already: then comes another one, which was
        drawn from what that step gave after it.
        """
        ...


@dataclass(frozen=True)
class StepLogits:
    """What a step gave.

    Attributes:
        logits: ``[rows, logits_width]``, float32, normalised or not. The caller may overwrite it.
        candidates: The best token ids of each query, best first, ``[queries, k]``; None if the
            backend has no use for them itself, and then they are sought in ``logits``.
        failures: The slots for which the step failed alone, with what it raised; their rows mean
            nothing, and they are still to ``leave``.
    """

    logits: Tensor
    candidates: Tensor | None = None
    failures: Mapping[Any, Exception] = field(default_factory=dict)


class Beams(Protocol):
    """Sequences of one length that begin with one prompt, and what is kept of each."""

    def begin(self) -> Steps[Tensor]:
        """Read the prompt, which is the one sequence at first: ``[1, logits_width]``, float32."""
        ...

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Steps[Tensor]:
        """Put longer sequences in the place of all that there are.

        Args:
            parents: Which of the sequences each one extends; any of them, any number of times.
            tokens: The token that each adds to it.

        Returns:
            Steps to the logits of what follows each, ``[len(parents), logits_width]``, float32.
        """
        ...


class Backend(ABC):
    """One engine's requests in one model.

    Attributes:
        name: What it is called in messages.
        takes_drafts: Whether it can be fed tokens that may turn out wrong, see `draft`.
        model: What it runs.
        prefill_tokens: Prompt tokens computed since the start; those that are shared count once.
    """

    name: ClassVar[str]
    takes_drafts: ClassVar[bool] = False

    def __init__(self, model: LoadedModel) -> None:
        """Start without requests."""
        self.model = model
        self.prefill_tokens = 0

    @property
    @abstractmethod
    def live_rows(self) -> int:
        """Streams that hold memory now."""

    @property
    def cache_use(self) -> CacheUse:
        """How much memory for keys and values is in use; may be asked for by any thread."""
        return CacheUse()

    def check_memory(self, prompts: Prompts, max_tokens: int) -> None:
        """Refuse a request that could never ``join``; called by any thread.

        Raises:
            ContextLengthError: It needs more memory than there may be.
        """
        return

    @abstractmethod
    def has_room(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> bool:
        """Whether a request could ``join`` now; if not, it waits until others left."""

    @abstractmethod
    def join(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> Slot:
        """Take a request in. Nothing is computed yet.

        Args:
            prompts: At least one token per stream.
            max_tokens: How many tokens it may be fed, for who reserves memory ahead.
            scope: Whose computed prompts may be made use of, for who keeps any.
        """

    @abstractmethod
    def leave(self, slot: Any) -> None:
        """Let a request go, at any time; its memory is free at once."""

    @abstractmethod
    def prefill(self) -> Mapping[Any, Exception]:
        """Take in one more chunk of the prompts that wait, if any do.

        Returns:
            The slots for which that failed, with what it raised. They are still to ``leave``.
        """

    @abstractmethod
    def start(self, slot: Any) -> None:
        """Let a prefilled slot take part in ``decode`` from now on.

        What it raises, such as for want of memory, leaves the slot where it was.
        """

    @abstractmethod
    def decode(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> StepLogits:
        """One step of every started slot: the logits of what follows in each of its streams.

        The first one of a slot gives what follows its prompts, each later one what follows the
        token that it was fed.

        Args:
            queries: What will be chosen from. A backend whose logits are rounded makes those
                precise that these find best.
            exact_ids: Token ids, ``[ids]`` each, on any device, whose logits matter besides.
        """

    def draft(self, drafts: Mapping[Any, Sequence[int]]) -> None:
        """Have the next ``decode`` read guesses of what follows; only if it ``takes_drafts``.

        As far as a slot is fed what was guessed, it goes on from there; the rest is forgotten. Once
        there were drafts this is called before each ``decode``, since rows are other ones then.

        Args:
            drafts: For each started slot that has any, the tokens that may come after what it was
                fed, together no more than it may be fed at all.
        """
        raise NotImplementedError

    def foresee(self, drawn: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Begin the next ``decode``, if that is of use, before the host knows what was drawn.

        What follows may be otherwise: others leave or join, or are fed other tokens.

        Args:
            drawn: Rows of the last step's logits, and what they are probably fed next:
                ``[N, S]``, a request's rows side by side, and ``[N]``, on the device.
        """
        return

    @abstractmethod
    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Steps[Tensor]:
        """The logits at every place of a continuation: teacher forcing.

        Args:
            prompt: What the continuation follows, at least one token.
            continuation: At least one token.

        Returns:
            Steps to ``[len(continuation), logits_width]``, float32: at ``t``, the logits of what
            follows the prompt and the first ``t`` tokens of the continuation.
        """

    def beams(self, prompt: Sequence[int]) -> Beams:
        """What a beam search grows from a prompt. Nothing is computed yet; dropping it frees it.

        Raises:
            RequestError: This backend can't search, which is all that one does who leaves it out.
        """
        raise RequestError(
            "Beam search needs a backend that can search, which those of Hugging Face models can, "
            f"but that of {type(self.model).__name__} can't: draw samples and choose among them."
        )


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens, from the start, two sequences have in common."""
    pairs = enumerate(zip(first, second, strict=False))
    unlike = (place for place, (one, other) in pairs if one != other)
    return next(unlike, min(len(first), len(second)))
