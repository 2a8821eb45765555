"""Between the host and a model's device, without waiting until it has arrived there.

Knows numbers and devices. Doesn't know what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


class Arrival:
    """Numbers on their way from a device to the host.

    Args:
        held: Numbers on a device. What the device is told to do after this isn't waited for.
    """

    def __init__(self, held: Tensor) -> None:
        """Send them off."""
        self._held, self._there = held, None
        if held.device.type == "cuda":
            self._held = torch.empty(held.shape, dtype=held.dtype, pin_memory=True)
            self._held.copy_(held, non_blocking=True)
            self._there = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._there.record(torch.cuda.current_stream(held.device))

    def tolist(self) -> list[Any]:
        """The numbers, once they are there."""
        if self._there is not None:
            self._there.synchronize()
        found: list[Any] = self._held.tolist()
        return found
