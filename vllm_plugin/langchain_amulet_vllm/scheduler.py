"""Which rows run together: all streams of an answer in every pass, from the first one on.

vLLM's scheduler takes in one prompt at a time, cuts prompts that don't fit a pass, and takes memory
back from some rows for the sake of others. Each of these parts rows that decode together. So a
group waits here until none can happen to it, and only then reaches vLLM's own queue: all its
prompts fit what is left of this pass, there is a slot for each, and their keys and values fit
beside everybody else's at their longest. A group that can never fit is refused at once.

Knows vLLM's scheduler and how long prompts are. Doesn't know how tokens are chosen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.metrics.stats import PrefillStats
from vllm.v1.outputs import LogprobsLists
from vllm.v1.request import Request, RequestStatus

from langchain_amulet.engine.remote.answer_wire import (
    CACHED,
    GIVEN_UP,
    REFUSED,
    TOKENIZER,
    TokenFailure,
)
from langchain_amulet.engine.remote.request_wire import GroupSpec, digest, fingerprint
from langchain_amulet_vllm.params import group_of
from langchain_amulet_vllm.support import check_config

PATIENCE = "amulet_patience"
"""The key of vLLM's ``--additional-config`` for the seconds after which a group is given up whose
other prompts don't come."""

USUAL_PATIENCE = 30.0


@dataclass(eq=False)
class Group:
    """Rows that decode together.

    Attributes:
        missing: The digests of the prompts that haven't come.
        rows: Those that have.
        begun: When the first one did.
    """

    missing: list[str]
    rows: list[Request] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def alone(cls, row: Request) -> Group:
        """A row that decodes by itself."""
        return cls([], [row])

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    @property
    def tokens(self) -> int:
        """How many a pass takes in which all its prompts are read."""
        return sum(row.num_tokens for row in self.rows)


class GroupScheduler(AsyncScheduler):
    """vLLM's scheduler, which takes groups in whole, and lets go of them whole."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Refuse settings with which groups can't be kept whole."""
        super().__init__(*args, **kwargs)
        check_config(self.vllm_config)
        self._patience = float(self.vllm_config.additional_config.get(PATIENCE, USUAL_PATIENCE))
        tokenizer = cached_tokenizer_from_config(self.vllm_config.model_config)
        self._tokenizer = fingerprint(tokenizer.get_vocab())
        self._gathering: dict[str, Group] = {}
        self._ready: deque[Group] = deque()
        self._admitted: dict[str, Group] = {}  # by the id of each of its rows
        self._prefills: dict[str, PrefillStats | None] = {}  # likewise
        self._ended: list[tuple[Request, str]] = []

    # --- What vLLM's engine calls ---

    def add_request(self, request: Request) -> None:
        """Keep a row until its group is whole and fits."""
        spec = group_of(request.sampling_params)
        if spec is not None and spec.tokenizer != self._tokenizer:
            model = self.vllm_config.model_config.model
            reason = _OTHER_TOKENS.format(self._tokenizer, model, spec.tokenizer or "none")
            self._end([request], TOKENIZER + reason)
            return
        group = Group.alone(request) if spec is None else self._gathered(spec, request)
        if group is None or group.missing:
            return
        if reason := self._hindrance(group):
            self._end(group.rows, REFUSED + reason)
        else:
            self._ready.append(group)

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        """Let in the groups that fit now, in order of arrival, then schedule as vLLM does."""
        for name, group in [*self._gathering.items()]:
            if group.age > self._patience:
                del self._gathering[name]
                reason = _INCOMPLETE.format(len(group.missing), self._patience)
                self._end(group.rows, GIVEN_UP + reason)
        while self._ready and self._has_room(self._ready[0]):
            group = self._ready.popleft()
            for row in group.rows:
                self._admitted[row.request_id] = group
                self._prefills[row.request_id] = row.prefill_stats
                super().add_request(row)
        return super().schedule(*args, **kwargs)

    def update_from_output(self, *args: Any, **kwargs: Any) -> dict[int, EngineCoreOutputs]:
        """What vLLM's scheduler says of a pass, and to whom there was nothing to give."""
        outputs: dict[int, EngineCoreOutputs] = super().update_from_output(*args, **kwargs)
        ended, self._ended = self._ended, []
        for row, reason in ended:
            told = outputs.setdefault(row.client_index, EngineCoreOutputs())
            told.outputs.append(_last_output(row, reason))
        return outputs

    def finish_requests(
        self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus
    ) -> list[Request]:
        """End rows, and with each of them its whole group."""
        if request_ids is None:
            asked = {row.request_id for group in self._held() for row in group.rows}
            asked |= self.requests.keys()
        else:
            asked = {request_ids} if isinstance(request_ids, str) else {*request_ids}
        ended = self._drop_held(asked, finished_status)
        groups = {self._admitted[each] for each in asked if each in self._admitted}
        rows = {row.request_id: row for group in groups for row in group.rows}
        left = [row for name, row in rows.items() if name not in asked and name in self.requests]
        self._end(left, GIVEN_UP + _LEFT)
        return ended + super().finish_requests({*asked, *rows}, finished_status)

    def get_request_counts(self) -> tuple[int, int]:
        """How many rows run, and how many wait, here or in vLLM's own queue."""
        running, waiting = super().get_request_counts()
        held = sum(len(group.rows) for group in self._held()) + len(self._ended)
        return running, waiting + held

    def _free_request(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        self._admitted.pop(request.request_id, None)
        prefill = self._prefills.pop(request.request_id, None)
        # What vLLM's API tells is of the row whose first output came first.
        if prefill is not None and group_of(request.sampling_params) is not None:
            request.stop_reason = f"{CACHED}{prefill.num_cached_tokens}"
        return super()._free_request(request, *args, **kwargs)

    # --- Groups ---

    def _held(self) -> list[Group]:
        """The groups that vLLM's own scheduler doesn't know yet."""
        return [*self._gathering.values(), *self._ready]

    def _gathered(self, spec: GroupSpec, row: Request) -> Group | None:
        """The group of a row, with the row in it; None if it has no place there."""
        group = self._gathering.setdefault(spec.group, Group([*spec.digests]))
        own = digest(row.prompt_token_ids or ())
        if own not in group.missing:
            self._end([row], REFUSED + _STRANGER)
            return None
        group.missing.remove(own)
        group.rows.append(row)
        if not group.missing:
            del self._gathering[spec.group]
        return group

    def _drop_held(self, asked: set[str], status: RequestStatus) -> list[Request]:
        """Forget groups that haven't begun, if one of their rows is to be ended."""
        dropped = [
            group for group in self._held() if any(row.request_id in asked for row in group.rows)
        ]
        self._gathering = {k: each for k, each in self._gathering.items() if each not in dropped}
        self._ready = deque(group for group in self._ready if group not in dropped)
        self._ended = [each for each in self._ended if each[0].request_id not in asked]
        rows = [row for group in dropped for row in group.rows]
        self._end([row for row in rows if row.request_id not in asked], GIVEN_UP + _LEFT)
        for row in rows:
            row.status = status
        return rows

    def _end(self, rows: Iterable[Request], reason: str) -> None:
        """Have rows told, after the next pass, why they get no more tokens."""
        self._ended += [(row, reason) for row in rows]

    # --- Room ---

    def _has_room(self, group: Group) -> bool:
        """Whether a group can be taken in now, so that it will never lose step."""
        present = [*self.running, *self.waiting, *self.kv_holding_waiting]
        tokens = sum(map(_demand, present))
        deferred = sum(len(blocks) for _, blocks in self.deferred_frees)
        return (
            len(present) + len(group.rows) <= self.max_num_active_reqs
            and tokens + group.tokens <= self.max_num_scheduled_tokens
            and deferred + self._blocks([*present, *group.rows]) <= self._usable_blocks
        )

    def _hindrance(self, group: Group) -> str | None:
        """Why a group can never be taken in; None if it can."""
        lengths = [row.num_tokens for row in group.rows]
        limit, rows, blocks = self.max_num_scheduled_tokens, len(lengths), self._blocks(group.rows)
        longest = max(row.num_tokens + row.max_tokens for row in group.rows)
        if rows > self.max_num_active_reqs:
            return _SLOTS.format(rows, self.max_num_active_reqs)
        if longest > self.max_model_len:
            return _CONTEXT.format(longest, self.max_model_len)
        if sum(lengths) > limit:
            return _BUDGET.format(" + ".join(map(str, lengths)), sum(lengths), limit)
        if blocks > self._usable_blocks:
            return _MEMORY.format(blocks, self._usable_blocks)
        return None

    def _blocks(self, rows: Sequence[Request]) -> int:
        """Blocks of keys and values that rows take at their longest, nothing shared."""
        managers = self.kv_cache_manager.coordinator.single_type_managers
        return sum(
            -(-(row.num_prompt_tokens + row.max_tokens) // manager.block_size)
            for row in rows
            for manager in managers
        )

    @property
    def _usable_blocks(self) -> int:
        """All blocks but the one that stands for nothing, and those that vLLM keeps free."""
        manager = self.kv_cache_manager
        return int(manager.block_pool.num_gpu_blocks) - 1 - int(manager.watermark_blocks)


def _demand(row: Request) -> int:
    """How many tokens a row that is there takes of the next pass."""
    known = row.num_tokens_with_spec + row.num_output_placeholders
    return max(known - row.num_computed_tokens, 1)


def _last_output(row: Request, reason: str) -> EngineCoreOutput:
    """The last output of a row that isn't decoded; one without a token would be told to nobody."""
    wanted = row.sampling_params.logprobs if row.sampling_params is not None else None
    width = 1 + (wanted or 0)
    lists = LogprobsLists(
        np.zeros((1, width), dtype=np.int32),
        np.full((1, width), -float(TokenFailure.OTHER), dtype=np.float32),
        np.zeros(1, dtype=np.int32),
    )
    return EngineCoreOutput(
        request_id=row.request_id,
        new_token_ids=[0],
        new_logprobs=None if wanted is None else lists,
        finish_reason=FinishReason.ABORT,
        stop_reason=reason,
    )


_OTHER_TOKENS = (
    "{}, for the model {!r}; these are of one with {}: load the model that is served, or start a "
    "server for the one that is loaded."
)
_SLOTS = (
    "An answer's prompts must fit the server's slots, but {} are more than max_num_seqs, {}: use "
    "fewer preferences, or raise --max-num-seqs."
)
_CONTEXT = (
    "Prompt and answer must fit the server's context, but {} tokens are more than max_model_len, "
    "{}: shorten the conversation, or lower max_tokens."
)
_BUDGET = (
    "An answer's prompts must be read in one pass, but {} is {} tokens, more than "
    "max_num_batched_tokens, {}: shorten the conversation, or raise --max-num-batched-tokens."
)
_MEMORY = (
    "An answer must fit the server's memory for keys and values, but takes {} blocks of the {} "
    "that there are: shorten the conversation, lower max_tokens, or give the server more."
)
_INCOMPLETE = (
    "All prompts of an answer must come together, but {} of them didn't within {} s: send them in "
    "one call, to one server."
)
_STRANGER = (
    "A group has the prompts that were named for it, and this is another one, or one that it has "
    "already: make a new group for each answer."
)
_LEFT = "Another prompt of this answer was cancelled, and all end together: ask again."
