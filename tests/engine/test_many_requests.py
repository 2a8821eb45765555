"""Thousands of requests come and go, a third of them half way, and leave nothing behind."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from langchain_amulet.engine import CacheScope, Engine, HuggingFaceModel
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.backends.huggingface.static_pass import MOST_RECORDINGS, CUDAGraphs
from support.tiny_engine import poisonable_phi, request_for, wait_until

AT_ONCE = 32
SCOPES = {"kept": CacheScope("kept"), "not kept": CacheScope("not kept", keeps=False)}
OURS = ("langchain_amulet", "torch")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def come_and_go(engine: Engine, count: int, scope: CacheScope) -> None:
    """So many requests, of which every third is left at its first token or while it waits."""
    for start in range(0, count, AT_ONCE):
        answers = [
            engine.submit(
                request_for(seed, 2 if seed % 3 else 20, length=4 + seed % 20, cache_scope=scope)
            )
            for seed in range(start, min(start + AT_ONCE, count))
        ]
        for number, answer in enumerate(answers, start):
            if number % 3 == 0:
                if number % 2:
                    next(answer)
                answer.close()
        for number, answer in enumerate(answers, start):
            assert number % 3 == 0 or len(list(answer)) == 2
    wait_until(lambda: not (engine.stats().active_requests or engine.stats().queued))


def held() -> tuple[int, int]:
    """Objects of this package's and PyTorch's, and bytes of tensors, that there are now.

    Others may be those of an earlier test that is still at work in this process.
    """
    for _ in range(3):
        gc.collect()
    objects = [each for each in gc.get_objects() if str(type(each).__module__).startswith(OURS)]
    tensors = [each for each in objects if type(each) in (torch.Tensor, torch.nn.Parameter)]
    sizes = {each.data_ptr(): each.nbytes for each in tensors if not each.is_mkldnn}
    return len(objects), sum(sizes.values())


def check_nothing_stays(count: int, records: bool, scope: CacheScope) -> None:
    """Have a third of so many requests to warm up, and see what all the others leave."""
    model: Any = poisonable_phi().to(DEVICE)
    record = CUDAGraphs().record if DEVICE == "cuda" else lambda body: body
    run_by = HuggingFaceModel(model, cuda_graphs=False)
    with Engine(run_by, max_rows=24, kv_cache_memory=2**18) as engine:
        backend = engine._main
        assert isinstance(backend, BatchedBackend)
        static = backend.play_back(record) if records else None
        come_and_go(engine, count // 3, scope)
        before = held()
        come_and_go(engine, count - count // 3, scope)
        stats, more = engine.stats(), [now - then for now, then in zip(held(), before, strict=True)]
        assert stats.rows == 0 and stats.finished + stats.cancelled == count
        assert stats.failed == 0 and stats.cancelled > count // 4
        assert backend._cache.taken == backend._prefixes.held + len(backend._prefixes._idle)
        assert (stats.kv_cache_tokens == 0) == (not scope.keeps)
        assert static is None or (static.is_on and 0 < len(static.shapes) <= MOST_RECORDINGS)
        # What comes and goes; a request that stayed would be several objects for each.
        assert more[0] < 200 and more[1] < 100_000


@pytest.mark.parametrize("records", [False, True], ids=["graphs off", "graphs on"])
def test_requests_that_come_and_go_leave_no_row_block_graph_or_byte(records: bool) -> None:
    check_nothing_stays(600, records, SCOPES["not kept"])


@pytest.mark.exhaustive
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("records", [False, True], ids=["graphs off", "graphs on"])
def test_ten_thousand_requests_leave_nothing_either(records: bool, scope: CacheScope) -> None:
    check_nothing_stays(10_000, records, scope)
