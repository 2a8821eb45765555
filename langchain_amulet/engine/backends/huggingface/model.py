"""A Hugging Face model as an engine's: loaded by name, or one that a program made by itself.

Knows transformers' models and which backends there are for them. Doesn't know requests.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from langchain_amulet.engine.backends.base import Backend, LoadedModel, ModelInfo
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.select import AUTO, select_backend
from langchain_amulet.engine.backends.huggingface.static_pass import CUDAGraphs
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.engine.loading.loader import from_pretrained, loading
from langchain_amulet.engine.loading.model_info import declared_stops, logits_width
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.errors import ConfigurationError

NEEDED = ("config", "forward", "get_input_embeddings", "get_output_embeddings")
"""What makes an object a model that can be run here."""


class HuggingFaceModel(LoadedModel):
    """A causal language model of transformers, in evaluation mode.

    Engines are its only users while requests are under way.

    Args:
        model: As ``AutoModelForCausalLM.from_pretrained`` gives it. On a CPU its attention, if that
            is ``sdpa``, is from then on one that is quicker at prompts, which its config names.
        tokenizer: Its tokenizer; None where only token ids go in and come out.
        backend: "batched" or "sequential"; "auto" for the first of these that can run it, which
            a short probe finds out.
        cuda_graphs: Whether short passes on a GPU are recorded and played back, where they can be.
        compile: Whether the layers are compiled for decode steps, see ``compilation``; by the
            batched backend alone.

    Attributes:
        model: The model.

    Raises:
        ConfigurationError: ``model`` isn't a model, or there is no such backend.
        UnsupportedModelError: It can't be decoded with a cache.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        backend: str = AUTO,
        cuda_graphs: bool = True,
        compile: bool = False,
    ) -> None:
        """Choose the backend by a short probe of the model."""
        missing = [name for name in NEEDED if not hasattr(model, name)]
        if missing:
            raise ConfigurationError(
                f"A Hugging Face model must have {', '.join(NEEDED)}, but {type(model).__name__} "
                f"lacks {', '.join(missing)}: use what AutoModelForCausalLM.from_pretrained gives."
            )
        self.model, self.tokenizer = model, tokenizer
        self._lm = CausalLM(model)
        self._backend = select_backend(self, self._lm, backend)
        self._cuda_graphs = cuda_graphs and self._lm.device.type == "cuda"
        if compile and self._backend is BatchedBackend:
            self._lm.compile()

    @cached_property
    def info(self) -> ModelInfo:
        """What can be read off the model and its config."""
        return ModelInfo(
            vocabulary_size=int(self.model.get_input_embeddings().num_embeddings),
            logits_width=logits_width(self.model),
            context_length=self._lm.context_length,
            stop_ids=declared_stops(getattr(self.model, "generation_config", None)),
            shares_pass=self._backend.shares_pass,
            backend=self._backend.name,
            device=str(self._lm.device),
            dtype=str(self._lm.dtype).removeprefix("torch."),
        )

    def new_backend(
        self, max_rows: int, prefill_chunk: int, kv_cache_memory: int | None = None
    ) -> Backend:
        """What runs it for one engine."""
        backend = self._backend(self, self._lm, max_rows, prefill_chunk, kv_cache_memory)
        if self._cuda_graphs and isinstance(backend, BatchedBackend):
            backend.play_back(CUDAGraphs().record)
        return backend


def load_huggingface(model_id: str, options: LoadOptions) -> HuggingFaceModel:
    """Load a model and its tokenizer from a folder or the Hub.

    Raises:
        ModelNotFoundError: No such folder, Hub repository or revision, or no safetensors in it.
        UnsupportedModelError: Not a decoder-only language model, none that can be decoded, or
            one that isn't whole.
        ConfigurationError: A setting that can't be, such as a device that isn't there.
    """
    model_id = resolve_model(model_id)
    with loading(model_id):
        model, tokenizer = from_pretrained(model_id, options)
        loaded = HuggingFaceModel(
            model, tokenizer, options.backend, options.cuda_graphs, options.compile
        )
        _ = loaded.info  # which reads numbers off the config, and those may be anything
    return loaded
