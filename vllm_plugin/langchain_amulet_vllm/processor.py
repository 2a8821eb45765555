"""How the rows of an answer become one token: by the engine's own step, on vLLM's logits.

What a pass gives for a group's rows goes through the code that the local engine runs,
`next_tokens`, with the same plan, sampling and random numbers. Then the rows are overwritten so
that vLLM's greedy choice is that token in each of them, and its log-probabilities say what is known
of it, see `answer_wire`.

Knows rows of logits. Doesn't know how rows are scheduled, but notices when it was wrong: a group
with a row too few gets no token.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from langchain_amulet.chat_formats.detokenizer import TokenBytes
from langchain_amulet.engine.ensemble_slot import EnsembleSlot
from langchain_amulet.engine.ensemble_step import EnsembleStep, StreamRows
from langchain_amulet.engine.next_tokens import next_tokens
from langchain_amulet.engine.remote.answer_wire import (
    IMPOSSIBLE,
    TokenFailure,
    failed_rows,
    rows_of,
)
from langchain_amulet.engine.remote.request_wire import GroupSpec, digest
from langchain_amulet.engine.request import Token
from langchain_amulet.engine.request_state import RequestState
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.token_program import StepLogprobs
from langchain_amulet.engine.token_stream import Channel
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    GenerationError,
    SchemaError,
)
from langchain_amulet.grammar import Grammar, GrammarCompiler
from langchain_amulet.preferences.echo_guard import EchoGuard, WordPieces
from langchain_amulet_vllm.params import check, group_of
from langchain_amulet_vllm.support import check_config

logger = logging.getLogger(__name__)

STOPPING = (KeyboardInterrupt, SystemExit)
"""What ends a process, by a signal at any moment, and is no request's own failure."""


@dataclass(eq=False)
class DecodingGroup:
    """An answer that is being decoded.

    Attributes:
        spec: What was asked.
        ending: The token that stands in where there is none; one that ends the rows, if any does.
        slot: Its key in a step.
        prompts: The prompts of the streams whose rows have come, by the stream's index.
        state: The engine's own state of a request, once all rows are there.
        last: What the last pass gave: values by token id, for each row.
        is_over: Whether it has all its tokens. Its rows may be run once more before vLLM knows.
        is_strange: Whether a row came that isn't where the others are.
        is_lost: Whether something went wrong; then it gets no more tokens.
    """

    spec: GroupSpec
    ending: int
    slot: EnsembleSlot = field(default_factory=lambda: EnsembleSlot(()))
    prompts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    state: RequestState | None = None
    last: list[dict[int, float]] = field(default_factory=list)
    is_over: bool = False
    is_strange: bool = False
    is_lost: bool = False

    @property
    def streams(self) -> int:
        """How many rows it must have."""
        return len(self.spec.digests)

    def take(self, found: Token | BaseException) -> None:
        """Keep what the last pass gave: a token, or that there is none and won't be."""
        if not isinstance(found, Token):
            failure = _failure(found)
            if failure is not TokenFailure.NO_DISTRIBUTION:
                logger.error("A group's token couldn't be chosen", exc_info=found)
            self.fail(failure)
            return
        self.last = rows_of(found, self.streams)
        assert self.state is not None
        if found.id in self.spec.stop_ids:
            self.is_over = True
        else:
            self.state.tokens.append(found.id)
            self.is_over = self.state.is_whole

    def fail(self, failure: TokenFailure) -> None:
        """Give no more tokens."""
        self.is_lost = True
        self.last = failed_rows(failure, self.ending, self.streams)

    def place(self, prompt: tuple[int, ...]) -> int:
        """The stream that a row with this prompt is; -1 if there is none left."""
        own = digest(prompt)
        free = (
            stream
            for stream, each in enumerate(self.spec.digests)
            if each == own and stream not in self.prompts
        )
        stream = next(free, -1)
        self.prompts[stream] = prompt
        return stream


@dataclass(frozen=True)
class Row:
    """A row of vLLM's batch that belongs to a group.

    Attributes:
        group: Which.
        stream: As which of its streams; -1 for a row too many.
        output: The row's tokens so far, or as many placeholders; vLLM makes the list longer.
    """

    group: DecodingGroup
    stream: int
    output: list[int]


Places = dict[int, int]
"""Where a group's streams are in a pass's logits."""


class SteeringProcessor(LogitsProcessor):
    """Puts one steered token into all rows of each group; other rows stay as they are."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Refuse a request before it is queued; vLLM answers with status 400."""
        check(sampling_params)

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        """Refuse settings with which rows could lose step."""
        check_config(vllm_config)
        self._config = vllm_config.model_config
        self._ranks = vllm_config.parallel_config.tensor_parallel_size
        self._rows: dict[int, Row] = {}
        self._sampler = Sampler()
        with suppress(ConfigurationError):  # said when a grammar is asked for
            self._grammars.prepare()

    def is_argmax_invariant(self) -> bool:
        """It isn't: to change the best token is what it is for."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Learn which rows came, went and moved."""
        process_dict_updates(self._rows, batch_update, self._row)

    def apply(self, logits: Tensor) -> Tensor:
        """Choose a token for each group, and overwrite its rows by it."""
        groups: dict[DecodingGroup, list[int]] = {}
        for index, row in self._rows.items():
            groups.setdefault(row.group, []).append(index)
        due = {
            group: {self._rows[index].stream: index for index in indexes}
            for group, indexes in groups.items()
            if self._is_due(group, indexes)
        }
        if due:
            for group, found in self._drawn(logits, due).items():
                group.take(found)
        _overwrite(logits, {at: row.group.last[row.stream] for at, row in self._rows.items()})
        return logits

    def _is_due(self, group: DecodingGroup, indexes: Sequence[int]) -> bool:
        """Whether a group is to get a token, all of its rows being there and abreast."""
        rows = [self._rows[index] for index in indexes]
        is_whole = sorted(row.stream for row in rows) == [*range(group.streams)]
        is_abreast = len({len(row.output) for row in rows}) == 1
        if group.is_strange or not (is_whole and is_abreast):
            if not group.is_lost:
                logger.error("A group of %d rows lost step: it gets no token", group.streams)
            group.fail(TokenFailure.LOCKSTEP)
        return not (group.is_lost or group.is_over)

    def _drawn(
        self, logits: Tensor, due: Mapping[DecodingGroup, Places]
    ) -> Mapping[DecodingGroup, Token | BaseException]:
        """The next token of each of these groups, or what went wrong with it."""
        broken: dict[DecodingGroup, Token | BaseException] = {}
        for group in due:
            try:
                self._begin(group)
            except STOPPING:
                raise
            except BaseException as error:  # grammars in Rust panic past Exception
                broken[group] = error
        going = {group: at for group, at in due.items() if group not in broken}
        return broken | self._chosen(logits, going)

    def _chosen(
        self, logits: Tensor, due: Mapping[DecodingGroup, Places]
    ) -> dict[DecodingGroup, Token | BaseException]:
        """The next token of each of these groups, all of which have begun."""
        try:
            states = {group.slot: group.state for group in due if group.state is not None}
            indexes = [at[stream] for group, at in due.items() for stream in range(group.streams)]
            numbers = iter(range(len(indexes)))
            streams = {
                group.slot: StreamRows(tuple(islice(numbers, group.streams))) for group in due
            }
            pool = logits[indexes].float().log_softmax(-1)
            step = EnsembleStep(StepLogprobs(pool), streams)
            found = next_tokens(states, step, self._sampler)
        except Exception as error:  # else it would end the server, and everybody's answers with it
            return dict.fromkeys(due, error)
        for error in found.values():
            if isinstance(error, STOPPING):  # the engine keeps it for whose token was being chosen
                raise error
        return {group: found[group.slot] for group in due}

    def _row(
        self, params: SamplingParams, prompt: list[int] | None, output: list[int]
    ) -> Row | None:
        """What a row that came is to its group; None for one that decodes by itself."""
        spec = group_of(params)
        if spec is None:
            return None
        known = (row.group for row in self._rows.values() if row.group.spec.group == spec.group)
        group = next(known, None) or DecodingGroup(spec, self._ending(spec))
        stream = group.place(tuple(prompt or ()))
        # A row that comes back, or one too many, isn't where the others are.
        group.is_strange |= bool(output) or stream < 0 or group.state is not None
        return Row(group, stream, output)

    def _ending(self, spec: GroupSpec) -> int:
        size = self._config.get_vocab_size()
        return min((token for token in spec.stop_ids if 0 <= token < size), default=0)

    def _begin(self, group: DecodingGroup) -> None:
        """Make the engine's state of a group's request, unless it is there.

        Raises:
            SchemaError: What is at this end can't hold an answer to its grammar.
            ContextLengthError: It can't end it within its tokens.
            ConfigurationError: It can't read the tokenizer.
        """
        if group.state is not None:
            return
        spec = group.spec
        prompts = [group.prompts[stream] for stream in range(group.streams)]
        request = spec.request(prompts, self._guard(spec), self._constraint(spec))
        group.state = RequestState(request, (), Channel(lambda: None))

    def _guard(self, spec: GroupSpec) -> EchoGuard | None:
        """A group's guard; None where none was asked for."""
        if spec.guard is None:
            return None
        return EchoGuard(token_bytes=self._token_bytes, pieces=self._word_pieces, **spec.guard)

    def _constraint(self, spec: GroupSpec) -> Grammar | None:
        """A group's constraint; None where none was asked for."""
        if spec.grammar is None:
            return None
        return self._grammars.compile(
            max_tokens=spec.max_tokens, stops=spec.stop_ids, **spec.grammar
        )

    @cached_property
    def _grammars(self) -> GrammarCompiler:
        # Each rank makes its own, and all must come to the same tokens, however fast they are.
        tokenizer = cached_tokenizer_from_config(self._config)
        size, is_timed = self._config.get_vocab_size(), self._ranks == 1
        return GrammarCompiler(tokenizer, size, is_timed=is_timed)

    @cached_property
    def _token_bytes(self) -> TokenBytes:
        return TokenBytes(cached_tokenizer_from_config(self._config))

    @cached_property
    def _word_pieces(self) -> WordPieces:
        return WordPieces(self._token_bytes, self._config.get_vocab_size())


def _failure(error: BaseException) -> TokenFailure:
    """What to tell of a token that couldn't be chosen."""
    if isinstance(error, GenerationError):
        return TokenFailure.NO_DISTRIBUTION
    is_grammar = isinstance(error, (ConfigurationError, ContextLengthError, SchemaError))
    return TokenFailure.GRAMMAR if is_grammar else TokenFailure.OTHER


def _overwrite(logits: Tensor, rows: Mapping[int, Mapping[int, float]]) -> None:
    """Put values, by token id, into some rows; nothing else is possible there."""
    if not rows:
        return
    cells = [(row, token, value) for row, each in rows.items() for token, value in each.items()]
    indexes, ids, values = zip(*cells, strict=True)
    logits[[*rows]] = IMPOSSIBLE
    places = torch.tensor([indexes, ids]).to(logits.device)
    logits[places[0], places[1]] = torch.tensor(values, dtype=logits.dtype).to(logits.device)
