"""What all parts of a request have in common.

Knows pydantic. Doesn't know what may be asked.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Wire(BaseModel):
    """A part of a request: nothing unknown is in it, and no text stands for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
