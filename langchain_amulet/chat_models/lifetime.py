"""The weights of a chat model: loaded at need, held by each of its copies, and let go.

This module knows when weights come and go. What holds them for all models on the same ones is in
`engine.model_runtime`.
"""

from __future__ import annotations

from typing import Self

from langchain_core.messages import HumanMessage
from pydantic import PrivateAttr, model_validator

from langchain_amulet.chat_formats.chat_template import CONTINUE
from langchain_amulet.chat_models.call import Chunks, prepare, warm_up
from langchain_amulet.chat_models.description import Described
from langchain_amulet.chat_models.model_handle import ModelHandle
from langchain_amulet.engine import Stats
from langchain_amulet.engine.backends import ModelInfo
from langchain_amulet.methods.method import plan_of
from langchain_amulet.preferences.resolution import PREFERENCE
from langchain_amulet.waiting.procedure import Procedure, arun, collected, run
from langchain_amulet.waiting.wait import in_executor


class Loadable(Described):
    """A chat model with a hold on its weights."""

    _handle: ModelHandle = PrivateAttr()

    @model_validator(mode="after")
    def _take_hold(self) -> Self:
        self._handle = ModelHandle(self.model, self.load_options)
        return self

    def load(self) -> Self:
        """Do now what the first call would otherwise wait for; returns the model itself.

        The weights are loaded, with those of other models that the method needs, and one token is
        decoded. Whatever is wrong with the model, its settings or its chat template shows here.
        ``timeout`` doesn't count.

        Raises:
            ConfigurationError: The model can't be found, loaded or run in this way.
            RequestError: Its settings can't be used together, such as too few rows.
        """
        run(self._load())
        return self

    async def aload(self) -> Self:
        """See `load`; doesn't block the event loop."""
        await arun(self._load())
        return self

    def _load(self) -> Procedure[None, None]:
        variables = {k: v for k, v in self.chat_template_kwargs.items() if k != CONTINUE}
        # The shortest preference there can be, as a plan without one needs less of everything.
        asked = {PREFERENCE: ".", "max_tokens": 1, "chat_template_kwargs": variables}
        handle, settings = self._handle, self.for_call(None, asked)
        plan = plan_of(settings.method, settings.guidance)
        if len(plan.streams) > self.max_rows:  # then there are calls without a preference alone
            settings = self.for_call(None, {**asked, PREFERENCE: self.preference})

        def begun() -> Chunks:
            return warm_up(prepare(self.model, handle, settings, [HumanMessage("Hello!")]))

        yield from collected((yield in_executor(begun, handle.workers)))

    @property
    def model_info(self) -> ModelInfo | None:
        """What is loaded, its device, dtype, backend and context included; None if nothing is."""
        return self._handle.info

    def stats(self) -> Stats:
        """What the engine is doing for all who share these weights, and has done.

        All of it is 0 while nothing is loaded, and once the model is closed.
        """
        return self._handle.stats

    def close(self) -> None:
        """Let the weights go; calls that come later raise `EngineClosedError`.

        Copies, such as those of `with_preference`, are closed each by itself. When the last model
        on the same weights is closed, calls that are under way fail with that error, too.
        """
        self._handle.close()

    def __enter__(self) -> Self:
        """Close on leaving the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let the weights go."""
        self.close()

    async def __aenter__(self) -> Self:
        """Close on leaving the block."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let the weights go; doesn't block the event loop."""
        await arun(self._closing())

    def _closing(self) -> Procedure[None, None]:
        yield in_executor(self.close)

    def __copy__(self) -> Self:
        """The same model with a hold of its own on the weights."""
        copied = super().__copy__()
        copied._handle = self._handle.another()
        return copied
