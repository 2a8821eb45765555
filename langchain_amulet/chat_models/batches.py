"""Many conversations in one call, as many at a time as keep the model busy.

This module knows batches, and how many calls have room: nothing of how one is answered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from langchain_amulet.chat_models.deadline import BATCH, CallBatch
from langchain_amulet.chat_models.description import Described
from langchain_amulet.errors import RequestError
from langchain_amulet.preferences.resolution import check_config
from langchain_amulet.validation.checks import check_type
from langchain_amulet.waiting.threads import interruptible

ROUNDS = 2
"""How many times over a batch's calls fill all rows: some are made ready while others run."""

THREADS = 32
"""The most threads that a batch takes by itself."""


class Batching(Described):
    """A chat model whose batches leave room for other calls, and end together."""

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer any number of conversations, as many at a time as keep the model busy."""
        batch, configs = CallBatch(), self._admitting(inputs, config, THREADS)
        answered = partial(super().batch, inputs, configs, **{**kwargs, BATCH: batch})
        return interruptible(answered, batch.call_off)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer any number of conversations, as many at a time as keep the model busy."""
        return await super().abatch(
            inputs, self._admitting(inputs, config), **{**kwargs, BATCH: CallBatch()}
        )

    def batch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Answer any number of conversations, and give out answers as they come; see `batch`."""
        batch, configs = CallBatch(), self._admitting(inputs, config, THREADS)
        answers = super().batch_as_completed(inputs, configs, **{**kwargs, BATCH: batch})
        return self._as_completed(answers, batch)

    @staticmethod
    def _as_completed(answers: Iterator[Any], batch: CallBatch) -> Iterator[Any]:
        """The answers; who leaves before the last of them has called the others off."""
        try:
            while (
                answer := interruptible(partial(next, answers, None), batch.call_off)
            ) is not None:
                yield answer
        finally:
            batch.call_off()

    def abatch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Answer any number of conversations, and give out answers as they come; see `abatch`."""
        return super().abatch_as_completed(
            inputs, self._admitting(inputs, config), **{**kwargs, BATCH: CallBatch()}
        )

    def _admitting(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None,
        most: int | None = None,
    ) -> list[RunnableConfig]:
        """Configs of a batch whose calls begin as others end, so that it can't fill the queue.

        Args:
            inputs: The conversations.
            config: The batch's config, or one for each; its ``max_concurrency`` counts, if any.
            most: The most calls at a time where the config doesn't say; None for no such limit.
        """
        check_type("inputs", inputs, list, tuple, error=RequestError)
        for each in config if isinstance(config, list) else [config]:
            check_config(each)
        if isinstance(config, list) and len(config) != len(inputs):
            raise RequestError(
                f"A batch needs one config for all of its {len(inputs)} inputs, or one for each, "
                f"not {len(config)}: leave some out, or add the missing ones."
            )
        busy = ROUNDS * self.max_rows if most is None else min(ROUNDS * self.max_rows, most)
        return [
            {**each, "max_concurrency": min(each.get("max_concurrency") or busy, self.max_queue)}
            for each in get_config_list(config, len(inputs))
        ]
