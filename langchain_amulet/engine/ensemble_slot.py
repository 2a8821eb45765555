"""A request's slots with all the models that read for it.

Knows which model reads which stream. Doesn't know what the models compute.
"""

from __future__ import annotations

from dataclasses import dataclass

from langchain_amulet.engine.backends.base import Backend, Slot


@dataclass(frozen=True)
class BackendSlot:
    """A request's slot with one model.

    Attributes:
        backend: What runs the model.
        slot: The request's place there.
        streams: Indices of the request's streams that it reads, in the order of the slot's rows.
    """

    backend: Backend
    slot: Slot
    streams: tuple[int, ...]

    def rows(self, place: int = 0) -> dict[int, int]:
        """Where its streams are in the backend's next step, by their index.

        Args:
            place: Behind how many drafted tokens.
        """
        size = len(self.streams)
        own = self.slot.rows[place * size : (place + 1) * size]
        return dict(zip(self.streams, own, strict=True))


@dataclass(eq=False)
class EnsembleSlot:
    """A request's slots with all the models that read for it."""

    parts: tuple[BackendSlot, ...]
    is_started: bool = False

    def part_in(self, backend: Backend) -> BackendSlot | None:
        """Its slot with one model; None if that doesn't read for it."""
        return next((part for part in self.parts if part.backend is backend), None)

    @property
    def cached_tokens(self) -> tuple[int, ...]:
        """How many tokens of each stream's prompt weren't computed, as others had them."""
        found = {
            stream: cached
            for part in self.parts
            for stream, cached in zip(part.streams, part.slot.cached_tokens, strict=True)
        }
        return tuple(found[stream] for stream in sorted(found))

    def feed(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        for part in self.parts:
            part.slot.feed(token)
