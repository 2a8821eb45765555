"""How much memory is free where a model runs, and which share of it its KV cache may take.

Knows devices and what the system says of them. Doesn't know models.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

CPU_SHARE, GPU_SHARE = 0.25, 0.75
"""The share of free memory that keys and values may take, unless a program says how much: a GPU is
there for the model, a computer's memory for everybody on it."""

LEAST, CPU_MOST = 2**28, 2**32
"""The fewest bytes, without which nothing could be answered where little is free for the moment;
and the most of a computer's memory, as they fill up with what is kept, however small the model."""

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


def kv_cache_budget(device: torch.device) -> int:
    """The bytes of keys and values that a device should hold at most, as things are now."""
    if device.type == "cuda":
        return max(LEAST, int(GPU_SHARE * torch.cuda.mem_get_info(device)[0]))
    return max(LEAST, min(CPU_MOST, int(CPU_SHARE * _available())))


def _available() -> int:
    """Bytes that the system can give, within a container's limit if there is one."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (
            int((CONTROL_GROUP / name).read_text()) for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no container, or one without a limit, which says "max"
        return free
    return min(free, max(0, limit - used))
