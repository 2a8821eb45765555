"""The model behind a chat model: loaded at first use, shared, and let go.

This module knows where models come from and what belongs to a tokenizer: nothing of LangChain,
messages or settings of answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from langchain_amulet.chat_formats.codec import CodecCache
from langchain_amulet.chat_formats.detokenizer import TokenBytes
from langchain_amulet.chat_formats.regions import find_thinking
from langchain_amulet.engine import LoadOptions, ModelRuntime, Stats, acquire, release
from langchain_amulet.engine.backends import ModelInfo
from langchain_amulet.engine.engine import check_streams
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.errors import EngineClosedError, VocabularyMismatchError
from langchain_amulet.grammar import GrammarCompiler
from langchain_amulet.preferences.echo_guard import WordPieces
from langchain_amulet.waiting.threads import Workers


def writes_thoughts(model_id: str, chat_template: str | None = None) -> bool | None:
    """Whether a model in a local folder thinks before it answers, as far as its chat template says.

    Args:
        model_id: The folder.
        chat_template: A template in place of its own.

    Returns:
        None if there is no template to look at.
    """
    sources = [chat_template] if chat_template is not None else _template_sources(Path(model_id))
    return any(map(find_thinking, sources)) if sources else None


def _template_sources(folder: Path) -> list[str]:
    files = [
        folder / name
        for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
    ]
    return [file.read_text(encoding="utf-8") for file in files if file.is_file()]


class ModelHandle:
    """One chat model's hold on the weights.

    Any number of handles on the same model share one copy. Copied or pickled, a handle takes its
    name and options along and no weights.
    """

    def __init__(
        self, name: str, options: LoadOptions, beside: set[ModelHandle] | None = None
    ) -> None:
        """Hold the process's runtime for the model of that name; nothing is loaded yet.

        Args:
            name: The model's name.
            options: How it is loaded.
            beside: Where this handle is kept once its model is loaded.
        """
        self._name, self._model_id, self._beside = name, resolve_model(name), beside
        self._options = options
        self._runtime: ModelRuntime | None = acquire(self._model_id, options, self)
        # Kept once they are loaded: calls may name any number of models that there aren't.
        self._siblings: WeakValueDictionary[str, ModelHandle] = WeakValueDictionary()
        self._kept: set[ModelHandle] = set()
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
        opened = self._held.derived(OpenModel)
        if self._beside is not None:
            beside, self._beside = self._beside, None  # else it would hold what holds it
            beside.add(self)
        return opened

    @property
    def info(self) -> ModelInfo | None:
        """What may be known of the model; None while it isn't loaded, or once it is closed."""
        return None if self._runtime is None else self._runtime.info

    @property
    def stats(self) -> Stats:
        """What the model's engine is doing and has done; nothing where `info` is None."""
        return Stats() if self._runtime is None else self._runtime.stats

    @property
    def workers(self) -> Workers:
        """Threads that load the model and prepare what it is asked.

        Raises:
            EngineClosedError: The handle was closed.
        """
        return self._held.workers

    @property
    def _held(self) -> ModelRuntime:
        if self._runtime is None:
            raise EngineClosedError(
                f"A closed model can't answer, and the one for {self._name!r} was closed: "
                "make a new ChatAmulet."
            )
        return self._runtime

    def of(self, name: str) -> ModelHandle:
        """The handle for a model's name: this one, or one beside it, loaded the same way."""
        if self._runtime is None or name == self._name:
            return self
        model_id = resolve_model(name)
        if model_id == self._model_id:
            return self
        sibling = self._siblings.get(model_id)
        if sibling is None:
            sibling = ModelHandle(name, self._options, self._kept)
            self._siblings[model_id] = sibling
        return sibling

    def check_streams(self, count: int) -> None:
        """Refuse a call of more prompts than are read at a time, before anything is loaded for it.

        Raises:
            RequestError: There are more than ``max_rows``, unless a server has its own limit.
        """
        if self._options.base_url is None:
            check_streams(count, self._options.max_rows)

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
            # A revision and a file are of this model's repository.
            own = replace(self._options, revision=None, gguf_file=None)
            handle = ModelHandle(name, own)
            other = handle.opened
            check_same_tokens(opened.tokenizer.get_vocab(), other.tokenizer.get_vocab(), name)
            self._companions[name] = Companion(handle, opened.engine.attach(name, other.engine))
        return self._companions[name].handle.opened

    def another(self) -> ModelHandle:
        """A second hold on the same weights, which is closed by itself; closed if this one is."""
        other = ModelHandle(self._name, self._options)
        other._companions.update(self._companions)
        if self._runtime is None:
            other.close()
        return other

    def close(self) -> None:
        """Let the weights go; if nobody else holds them, what is under way with them fails."""
        runtime, self._runtime = self._runtime, None
        self._kept = set()  # a new one, as a model that is loaded just now may be kept in the old
        self._companions.clear()
        for each in self._siblings.valuerefs():
            if (sibling := each()) is not None:
                sibling.close()
        if runtime is not None:
            release(runtime, self)


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
        self._info = runtime.loaded.info
        self.context_length = self._info.context_length
        self._marked_bytes: dict[frozenset[str], TokenBytes] = {}
        self._first_bytes: dict[str, frozenset[int]] = {}
        self.codec = CodecCache(self.tokenizer, self._info.stop_ids).codec

    def marker(self, text: str) -> int | None:
        """The token by which a marker is known: the only control token in it.

        None if it has none of them, or several, which may be in other markers as well.
        """
        controls = {*self.tokenizer.get_added_vocab().values()}
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        found = [int(index) for index in ids if index in controls]
        return found[0] if len(found) == 1 else None

    @property
    def logits_width(self) -> int:
        """How many tokens there are to choose among."""
        return self._info.logits_width

    @property
    def traces(self) -> bool:
        """Whether an answer's tokens can carry a trace."""
        return self._info.traces

    def tokens_beginning_with(self, characters: str) -> frozenset[int]:
        """All tokens whose text begins with one of these, as that of calls without marks does."""
        if characters not in self._first_bytes:
            firsts = {character.encode() for character in characters}
            of, size = self.token_bytes.of, self.logits_width
            found = frozenset(index for index in range(size) if of(index)[:1] in firsts)
            self._first_bytes[characters] = found
        return self._first_bytes[characters]

    @cached_property
    def grammars(self) -> GrammarCompiler:
        """Grammars over the model's tokens; made at first use, as it takes up to a second."""
        return GrammarCompiler(self.tokenizer, self.logits_width)

    @cached_property
    def word_pieces(self) -> WordPieces:
        """The tokens by the words that they add; made at first use, as `grammars`."""
        return WordPieces(self.token_bytes, self.logits_width)

    def bytes_with(self, markers: frozenset[str]) -> TokenBytes:
        """Bytes of tokens, where control tokens in these markers have theirs too."""
        if not markers:
            return self.token_bytes
        return self._marked_bytes.setdefault(markers, TokenBytes(self.tokenizer, markers))


def check_same_tokens(ours: Mapping[str, int], theirs: Mapping[str, int], model: str) -> None:
    """Refuse a second model whose tokens aren't the first one's.

    Args:
        ours: The first model's tokens and their ids, those that were added included.
        theirs: The second one's.
        model: The second one's name, for the message.

    Raises:
        VocabularyMismatchError: A token has another id, or none.
    """
    if ours == theirs:
        return
    # The lowest id tells most: above it everything may be shifted.
    token = min(
        (token for token in {*ours, *theirs} if ours.get(token) != theirs.get(token)),
        key=lambda token: ours.get(token, theirs.get(token, 0)),
    )
    raise VocabularyMismatchError(
        f"Models that decode together must have the same tokens, but {token!r} is "
        f"{_id(ours, token)} for the model that answers and {_id(theirs, token)} for {model!r}: "
        "use models of one family, with the same tokenizer."
    )


def _id(tokens: Mapping[str, int], token: str) -> str:
    return f"number {tokens[token]}" if token in tokens else "unknown"
