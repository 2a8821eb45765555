"""From the host to a model's device, without waiting until it has arrived there.

Knows numbers and devices. Doesn't know what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(values: Sequence[object], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Python's numbers, in lists of any depth, as a tensor on a device."""
    return sent(torch.tensor(values, dtype=dtype), device)


def rectangle(lists: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Lists of whole numbers, none of them empty, as rows; short ones repeat their last number."""
    longest = max(map(len, lists))
    rows = [[*each, *[each[-1]] * (longest - len(each))] for each in lists]
    return to_device(rows, torch.int64, device)


def sent(held: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host's on a device."""
    if device.type != "cuda":
        return held.to(device)
    # From other memory a copy would make the host wait.
    return held.pin_memory().to(device, non_blocking=True)
