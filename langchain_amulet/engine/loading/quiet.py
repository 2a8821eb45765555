"""Loading without a progress bar, where it would be gone before it could be read.

Knows transformers' progress bars. Doesn't know models.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils.logging import set_tqdm_hook

SMALL = 2**26
"""Weights of fewer bytes are loaded in a moment."""

_HOOK = threading.Lock()
"""There is one hook per process: whoever sets it puts back the one before, one after the other."""


@contextmanager
def quiet_if_small(model_id: str) -> Iterator[None]:
    """Have no progress bars meanwhile, if the model lies in a folder and is small."""
    sizes = [file.stat().st_size for file in Path(model_id).glob("*.safetensors")]
    if not sizes or sum(sizes) >= SMALL:
        yield
        return
    with _HOOK:
        before = set_tqdm_hook(_hidden)
        try:
            yield
        finally:
            set_tqdm_hook(before)


def _hidden(bar: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return bar(*given, **{**named, "disable": True})
