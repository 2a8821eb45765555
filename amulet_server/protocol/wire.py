"""What all parts of a request have in common.

Knows pydantic. Doesn't know what may be asked.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Each = TypeVar("Each")

Listed = Annotated[list[Each], Field(fail_fast=True)]
"""A list of which nothing is looked at behind what is wrong in it: of thousands one is told."""


class Wire(BaseModel):
    """A part of a request: nothing unknown is in it, and no text stands for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _with_one_unknown(cls, given: Any) -> Any:
        """Look at one unknown name at the most, as of thousands one is told."""
        if not isinstance(given, dict) or len(given) <= len(cls.model_fields):
            return given
        known = {each.alias or name for name, each in cls.model_fields.items()}
        first = next(name for name in given if name not in known)
        return {name: value for name, value in given.items() if name in known or name == first}
