"""The share of memory that keys and values take where a program doesn't say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from langchain_amulet.engine.backends import free_memory
from langchain_amulet.engine.backends.free_memory import kv_cache_budget

GIB, CPU = 2**30, torch.device("cpu")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer with 8 GiB free, and a place for a container's limits."""
    monkeypatch.setattr(free_memory, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr(
        free_memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB)
    )
    return tmp_path


def test_without_a_container_it_is_a_quarter_of_what_is_free(group: Path) -> None:
    assert kv_cache_budget(CPU) == 2 * GIB


@pytest.mark.parametrize(
    ("limit", "used", "budget"),
    [
        (6 * GIB, 2 * GIB, GIB),
        (64 * GIB, GIB, 2 * GIB),
        (GIB, 2 * GIB, GIB // 4),
        ("max", GIB, 2 * GIB),
    ],
)
def test_a_container_s_limit_counts_where_it_is_less(
    group: Path, limit: int | str, used: int, budget: int
) -> None:
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    assert kv_cache_budget(CPU) == budget


def test_a_large_computer_s_memory_stays_with_others(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = SimpleNamespace(available=512 * GIB)
    monkeypatch.setattr(free_memory.psutil, "virtual_memory", lambda: many)
    assert kv_cache_budget(CPU) == 4 * GIB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_s_is_three_quarters_of_what_is_free() -> None:
    free, _ = torch.cuda.mem_get_info()
    assert kv_cache_budget(torch.device("cuda")) <= max(2**28, free * 0.75 + 2**26)
