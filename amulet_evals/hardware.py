"""What it ran on.

Knows the operating system and torch: nothing of models.
"""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def hardware(device: str = "cpu") -> str:
    """The processor that computes, as one line.

    Args:
        device: Such as "cpu" or "cuda:0".
    """
    if device != "cpu":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    name = name or platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"
