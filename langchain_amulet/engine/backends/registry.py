"""Backends by name: the package's own, those of one's own, those that other packages bring.

A backend is known by the function that loads a model for it. Knows names and such functions.
Doesn't know how any of them loads or decodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from langchain_amulet.engine.backends.base import LoadedModel
from langchain_amulet.engine.backends.huggingface.model import load_huggingface
from langchain_amulet.engine.backends.huggingface.select import AUTO, FASTEST_FIRST
from langchain_amulet.engine.backends.llama_cpp.backend import LlamaCppBackend
from langchain_amulet.engine.backends.llama_cpp.model import load_llama_cpp
from langchain_amulet.engine.loading.gguf import names_gguf
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.engine.remote.model import VLLM, load_vllm
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.registry import Registry, import_named, own_code
from langchain_amulet.validation.checks import check_type, signature_of
from langchain_amulet.validation.wording import choose, quoted

BackendLoader = Callable[[str, LoadOptions], LoadedModel]
"""Loads a model, given its name (for a local folder its path) and what else the caller chose."""

Loader = TypeVar("Loader", bound=BackendLoader)

HUGGING_FACE = frozenset({AUTO, *(backend.name for backend in FASTEST_FIRST)})
"""The backends whose models are folders and repositories of Hugging Face's."""

OWN = HUGGING_FACE | {LlamaCppBackend.name}
"""The package's own backends, which raise errors of the package alone."""


def load_auto(model_id: str, options: LoadOptions) -> LoadedModel:
    """Load a model by what runs its kind of file: llama.cpp for GGUF, or else transformers.

    Raises as `load_llama_cpp` and `load_huggingface` do.
    """
    kind = load_llama_cpp if names_gguf(model_id, options.gguf_file) else load_huggingface
    return kind(model_id, options)


def _check(name: str, loader: Any) -> None:
    check_type("A backend's name", name, str)
    if not callable(loader):
        raise ConfigurationError(
            f"A backend must be a function that loads a model, but {name!r} is {quoted(loader)}: "
            "name the function."
        )
    signature = signature_of(loader)
    try:
        _ = signature and signature.bind("", None)
    except TypeError as error:
        raise ConfigurationError(
            "A backend must be a function of a model's name and LoadOptions, but the parameters of "
            f"{name!r} are {signature}: write it as def load(model_id, options)."
        ) from error
    if not name.replace("-", "_").replace(":", "_").replace(".", "_").isidentifier():
        raise ConfigurationError(
            f"A backend's name must be made of letters, digits and hyphens, not {name!r}: choose "
            "another one."
        )


def backend_registry() -> Registry[BackendLoader]:
    """A registry with the package's own backends."""
    registry: Registry[BackendLoader] = Registry("backend", "langchain_amulet.backends", _check)
    for name in sorted(HUGGING_FACE):
        registry.add(name, load_auto if name == AUTO else load_huggingface)
    registry.add(LlamaCppBackend.name, load_llama_cpp)
    registry.add(VLLM, load_vllm)
    return registry


BACKENDS = backend_registry()
"""All backends of this process. A decorator needs one place to register in; this is it."""


def register(name: str) -> Callable[[Loader], Loader]:
    """Let a function be found as the loader of a backend; a decorator.

    Raises:
        ConfigurationError: The name is taken, or is none that could be typed.
    """

    def add(loader: Loader) -> Loader:
        BACKENDS.add(name, loader)
        return loader

    return add


def import_backend(name: str) -> str:
    """Import a backend where its name is ``module:name``, so that it is found by that.

    For command lines and config files: who writes those may name code to run. Any other text may
    come from anywhere, so it can name registered backends alone.

    Returns:
        The name as it was given.

    Raises:
        ConfigurationError: There is no such backend, module, or name in it.
    """
    check_type("backend", name, str)
    if ":" in name:
        BACKENDS.add(name, import_named(name))
    elif name not in BACKENDS:
        raise _unknown(name, f"{choose(name, BACKENDS)} one of those, or your own as module:name")
    return name


def check_backend(name: str) -> None:
    """Refuse the name of no backend, with `ConfigurationError`."""
    check_type("backend", name, str)
    if name in BACKENDS:
        return
    if ":" in name:
        raise _unknown(
            name,
            "import and register it, and give the name it is registered by; only config files and "
            "command lines may name code",
        )
    raise _unknown(name, f"{choose(name, BACKENDS)} one of those, or register your own first")


def _unknown(name: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        f"backend must be one of {', '.join(BACKENDS)}, not {quoted(name)}: {remedy}."
    )


def load(model_id: str, options: LoadOptions | None = None) -> LoadedModel:
    """Load a model with its tokenizer, for the backend that ``options`` choose.

    Raises:
        ConfigurationError: There is no such backend, or one of one's own failed or gave something
            else than a model. See `load_huggingface` for what else the package's own raise.
    """
    options = LoadOptions() if options is None else options
    check_type("model_id", model_id, str)
    check_type("options", options, LoadOptions)
    check_backend(options.backend)
    loaded: Any = _loaded(model_id, options)
    if not isinstance(loaded, LoadedModel):
        raise ConfigurationError(
            f"A backend must load a LoadedModel, but {options.backend!r} gave "
            f"{type(loaded).__name__} for {model_id!r}: return an instance of a subclass."
        )
    return loaded


def _loaded(model_id: str, options: LoadOptions) -> LoadedModel:
    loader = BACKENDS[options.backend]
    if options.backend in OWN:
        return loader(model_id, options)
    named = f"{options.backend!r}, asked for {quoted(model_id)},"
    with own_code(
        f"A backend must load a LoadedModel, but {named}",
        "Mend it, or name a model that it can load.",
    ):
        return loader(model_id, options)
