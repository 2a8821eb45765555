"""The model behind a chat model: loaded at first use, shared, and let go.

This module knows where models come from and what belongs to a tokenizer: nothing of LangChain,
messages or settings of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.detokenizer import TokenBytes
from langchain_amulet.chat_formats.history import with_history
from langchain_amulet.chat_formats.probe import THINKING, ReplyFormat, find_format
from langchain_amulet.chat_models.vocabularies import check_same_tokens
from langchain_amulet.engine import LoadOptions, ModelRuntime, acquire
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.errors import EngineClosedError
from langchain_amulet.grammar import GrammarCompiler


def writes_thoughts(model_id: str, chat_template: str | None = None) -> bool | None:
    """Whether a model in a local folder thinks before it answers, as far as its chat template says.

    Args:
        model_id: The folder.
        chat_template: A template in place of its own.

    Returns:
        None if there is no template to look at.
    """
    sources = [chat_template] if chat_template is not None else _template_sources(Path(model_id))
    return any(t.closing in source for source in sources for t in THINKING) if sources else None


def _template_sources(folder: Path) -> list[str]:
    files = [folder / name for name in ("chat_template.jinja", "tokenizer_config.json")]
    return [file.read_text(encoding="utf-8") for file in files if file.is_file()]


class ModelHandle:
    """One chat model's hold on the weights.

    Any number of handles on the same model share one copy. Copied or pickled, a handle takes its
    name and options along and no weights.
    """

    def __init__(self, name: str, options: LoadOptions) -> None:
        """Hold the process's runtime for the model of that name; nothing is loaded yet."""
        self._name, self._model_id = name, resolve_model(name)
        self._options = options
        self._runtime: ModelRuntime | None = acquire(self._model_id, options)
        self._siblings: dict[str, ModelHandle] = {}
        self._companions: dict[str, Companion] = {}

    def __reduce__(self) -> tuple[type[ModelHandle], tuple[str, LoadOptions]]:
        """Copy what to load, not what is loaded."""
        return ModelHandle, (self._name, self._options)

    @property
    def opened(self) -> OpenModel:
        """The loaded model; the first use of it may take long.

        Raises:
            EngineClosedError: The handle was closed.
            ModelNotFoundError: There is no such model.
            UnsupportedModelError: It isn't one that can be run.
        """
        if self._runtime is None:
            raise EngineClosedError(
                f"A closed model can't answer, and the one for {self._name!r} was closed: "
                "make a new ChatAmulet."
            )
        return self._runtime.derived(OpenModel)

    def of(self, name: str) -> ModelHandle:
        """The handle for a model's name: this one, or one beside it, loaded the same way."""
        model_id = resolve_model(name)
        if self._runtime is None or model_id == self._model_id:
            return self
        return self._siblings.setdefault(model_id, ModelHandle(name, self._options))

    def companion(self, name: str) -> OpenModel:
        """A second model, loaded the same way, whose name streams of this one's requests may have.

        Raises:
            EngineClosedError: The handle was closed.
            ModelNotFoundError: There is no such model.
            UnsupportedModelError: It isn't one that can be run.
            VocabularyMismatchError: Its tokens aren't those of this model.
        """
        opened = self.opened
        if name not in self._companions:
            # A revision is one of this model's repository.
            handle = ModelHandle(name, replace(self._options, revision=None))
            other = handle.opened
            check_same_tokens(opened.tokenizer.get_vocab(), other.tokenizer.get_vocab(), name)
            self._companions[name] = Companion(handle, opened.engine.attach(name, other.engine))
        return self._companions[name].handle.opened

    def close(self) -> None:
        """Let the weights go; they are freed when nobody else holds them."""
        self._runtime = None
        self._siblings.clear()
        self._companions.clear()


@dataclass(frozen=True)
class Companion:
    """A second model, and what keeps it attached to the first one's engine."""

    handle: ModelHandle
    attached: object


class OpenModel:
    """A loaded model with what is derived from its tokenizer."""

    def __init__(self, runtime: ModelRuntime) -> None:
        """Derive what chat needs from the runtime's model."""
        self.engine = runtime.engine
        self.tokenizer: Any = runtime.loaded.tokenizer
        self.token_bytes = TokenBytes(self.tokenizer)
        self._declared_stops = runtime.loaded.model.generation_config.eos_token_id
        self._vocabulary = runtime.loaded.vocabulary
        self._marked_bytes: dict[frozenset[str], TokenBytes] = {}
        # Made once per template, as it looks through the vocabulary. Bounded, as calls may bring
        # templates of their own. Not methods: a cycle would keep the weights until it is collected.
        tokenizer = self.tokenizer
        template = lru_cache(maxsize=8)(lambda text: with_history(ChatTemplate(tokenizer, text)))
        self.template: Callable[[str | None], ChatTemplate] = template
        self.reply_format: Callable[[str | None], ReplyFormat] = lru_cache(maxsize=8)(
            lambda text: find_format(template(text))
        )

    def stop_ids(self, template: ChatTemplate) -> frozenset[int]:
        """Tokens that end an answer: the model's own, and the template's end of a turn."""
        declared = self._declared_stops
        several = declared if isinstance(declared, list) else [declared]
        found = {*several, self.tokenizer.eos_token_id, template.turn_end}
        return frozenset(token for token in found if token is not None)

    def marker(self, text: str) -> int | None:
        """The token that a marker is by itself; None if it is spelled with several."""
        index = self.tokenizer.get_added_vocab().get(text)
        return None if index is None else int(index)

    @cached_property
    def braces(self) -> frozenset[int]:
        """All tokens whose text begins with a brace, as calls in bare JSON do."""
        of = self.token_bytes.of
        return frozenset(index for index in range(self._vocabulary) if of(index)[:1] == b"{")

    @cached_property
    def grammars(self) -> GrammarCompiler:
        """Grammars over the model's tokens; made at first use, as it takes up to a second."""
        return GrammarCompiler(self.tokenizer, self._vocabulary)

    def bytes_with(self, markers: frozenset[str]) -> TokenBytes:
        """Bytes of tokens, where these control tokens have theirs too."""
        if markers.isdisjoint(self.tokenizer.get_added_vocab()):
            return self.token_bytes
        return self._marked_bytes.setdefault(markers, TokenBytes(self.tokenizer, markers))
