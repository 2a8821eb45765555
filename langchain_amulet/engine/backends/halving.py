"""One pass for many requests, in smaller ones where the memory doesn't reach for all of them.

Knows slots and their rows, and how want of memory is told. Doesn't know what a pass computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import CandidateQuery, Slot, StepLogits

AnySlot = TypeVar("AnySlot", bound=Slot)
Part = TypeVar("Part")
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether something failed for want of memory; for the CPU's torch has no class of its own."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def in_halves(
    parts: Sequence[Part], compute: Callable[[Sequence[Part]], Result]
) -> list[tuple[Sequence[Part], Result | Exception]]:
    """Compute all parts together, or each half by itself if there isn't memory for all.

    Args:
        parts: At least one. What was computed for some of them must not stop them from being
            computed again.
        compute: One pass for several parts.

    Returns:
        The parts of each pass with what came of it; an error only where a part was alone in its
        pass, or where it isn't for want of memory.
    """
    try:
        return [(parts, compute(parts))]
    except Exception as error:  # whatever a forward pass can raise
        if not is_out_of_memory(error):
            return [(parts, error)]
        if len(parts) == 1:
            return [(parts, error.with_traceback(None))]  # whose frames hold what was made so far
    # Outside of the handler, for the same reason.
    middle = len(parts) // 2
    return [*in_halves(parts[:middle], compute), *in_halves(parts[middle:], compute)]


def decode_in_halves(
    slots: Sequence[AnySlot],
    queries: Sequence[CandidateQuery],
    compute: Callable[[Sequence[AnySlot], Sequence[CandidateQuery]], StepLogits],
) -> StepLogits:
    """One step of all slots, in as few passes as there is memory for.

    Args:
        slots: All that decode.
        queries: See ``Backend.decode``, over the rows of all slots.
        compute: One pass for some of the slots: logits of their rows in rising order, and
            candidates of queries over these.

    Returns:
        The step as if it had been one pass, and the slots that couldn't be computed even alone.
        What fails them all is raised.
    """

    def compute_some(some: Sequence[AnySlot]) -> StepLogits:
        # As a rule all rows pass together, and then they needn't be counted anew.
        is_whole = len(some) == len(slots)
        return compute(some, queries if is_whole else [*_within(queries, _rows(some)).values()])

    passes = in_halves(slots, compute_some)
    steps = [(some, found) for some, found in passes if isinstance(found, StepLogits)]
    errors = [(some, found) for some, found in passes if isinstance(found, Exception)]
    if not steps:
        raise errors[0][1]
    if len(passes) == 1:
        return steps[0][1]
    failures: dict[Slot, Exception] = {slot: error for some, error in errors for slot in some}
    return _joined(len(_rows(slots)), queries, steps, failures)


def _rows(slots: Sequence[Slot]) -> list[int]:
    return sorted(row for slot in slots for row in slot.rows)


def _within(queries: Sequence[CandidateQuery], rows: Sequence[int]) -> dict[int, CandidateQuery]:
    """The queries over some rows only, by their place among all, with their rows counted anew."""
    place = {row: index for index, row in enumerate(rows)}
    return {
        index: tuple((place[row], weight) for row, weight in query)
        for index, query in enumerate(queries)
        if all(row in place for row, _ in query)
    }


def _joined(
    count: int,
    queries: Sequence[CandidateQuery],
    steps: Sequence[tuple[Sequence[Slot], StepLogits]],
    failures: Mapping[Slot, Exception],
) -> StepLogits:
    """Several passes as one; the rows and queries of slots that failed are all zero."""
    logits = steps[0][1].logits.new_zeros(count, steps[0][1].logits.shape[-1])
    candidates: Tensor | None = None
    for slots, step in steps:
        rows = _rows(slots)
        logits[rows] = step.logits
        if step.candidates is not None:
            if candidates is None:
                candidates = step.candidates.new_zeros(len(queries), step.candidates.shape[-1])
            candidates[list(_within(queries, rows))] = step.candidates
    return StepLogits(logits, candidates, failures)
