"""Backends by name: the package's own, those of one's own, those that other packages bring.

A backend is known by the function that loads a model for it. Knows names and such functions.
Doesn't know how any of them loads or decodes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from langchain_amulet import imports
from langchain_amulet.engine.backends.base import LoadedModel
from langchain_amulet.engine.backends.huggingface.model import load_huggingface
from langchain_amulet.engine.backends.huggingface.select import AUTO, FASTEST_FIRST
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation import choose, told

GROUP = "langchain_amulet.backends"
"""The entry points by which other packages bring backends: each names a `BackendLoader`."""

BackendLoader = Callable[[str, LoadOptions], LoadedModel]
"""Loads a model, given its name (for a local folder its path) and what else the caller chose."""

Loader = TypeVar("Loader", bound=BackendLoader)

HUGGING_FACE = frozenset({AUTO, *(backend.name for backend in FASTEST_FIRST)})
"""The backends whose models are folders and repositories of Hugging Face's."""


class BackendRegistry:
    """Functions that load models for a backend, by the backend's name.

    Any thread may add to it. What another package brings is imported when it is first used.
    """

    def __init__(self, loaders: Mapping[str, BackendLoader]) -> None:
        """Begin with these."""
        self._loaders = dict(loaders)
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """All that can be chosen by name, what other packages bring last."""
        return list(dict.fromkeys([*self._loaders, *sorted(entry_points(group=GROUP).names)]))

    def register(self, name: str) -> Callable[[Loader], Loader]:
        """Let a function be found as the loader of a backend; a decorator.

        Raises:
            ConfigurationError: The name is taken, or is none that could be typed.
        """
        if not name.replace("-", "_").isidentifier():
            raise ConfigurationError(
                f"A backend's name must be made of letters, digits and hyphens, not {name!r}: "
                "choose another one."
            )

        def add(loader: Loader) -> Loader:
            with self._lock:
                taken = self._place_of(name)
                # The same one defined anew, as by a notebook's cell that is run twice, is welcome.
                if taken not in (None, _place(loader)):
                    raise ConfigurationError(
                        f"A backend's name must be its own, but {name!r} is {taken} already: "
                        f"register {_place(loader)} under another one."
                    )
                self._loaders[name] = loader
            return loader

        return add

    def import_named(self, name: str) -> str:
        """Import a backend where its name is ``module:name``, so that it is found by that.

        For command lines and config files: who writes those may name code to run. Any other text
        may come from anywhere, so it can name registered backends alone.

        Returns:
            The name as it was given.

        Raises:
            ConfigurationError: There is no such module, or no such name in it.
        """
        if ":" in name and name not in self._loaders:
            loader = imports.load(name)
            with self._lock:
                self._loaders[name] = loader
        return name

    def find(self, name: str) -> BackendLoader:
        """The loader of a backend, by the backend's name.

        Raises:
            ConfigurationError: There is none, it can't be imported, or it can't be called.
        """
        loader = self._loaders.get(name) or self._installed(name)
        if not callable(loader):
            raise ConfigurationError(
                f"A backend must be a function that loads a model, but {name!r} is {loader!r}: "
                "name the function."
            )
        return loader

    def load(self, model_id: str, options: LoadOptions) -> LoadedModel:
        """Load a model for the backend that ``options`` choose.

        Raises:
            ConfigurationError: There is no such backend, or it gave something else than a model.
                See `load_huggingface` for what else the package's own raise.
        """
        loaded = self.find(options.backend)(model_id, options)
        if not isinstance(loaded, LoadedModel):
            raise ConfigurationError(
                f"A backend must load a LoadedModel, but {options.backend!r} gave "
                f"{type(loaded).__name__} for {model_id!r}: return an instance of a subclass."
            )
        return loaded

    def _place_of(self, name: str) -> str | None:
        """Where the backend of a name is defined; None if there is none."""
        if name in self._loaders:
            return _place(self._loaders[name])
        installed = entry_points(group=GROUP, name=name)
        return next((entry.value.replace(":", ".") for entry in installed), None)

    def _installed(self, name: str) -> BackendLoader:
        """What another package brings under this name."""
        for entry in entry_points(group=GROUP, name=name):
            try:
                loader: BackendLoader = entry.load()
            except Exception as error:  # whatever a module can raise while it is imported
                raise ConfigurationError(
                    f"The backend {name!r} must be importable as {entry.value!r}, but isn't: "
                    f"{told(error)}. Install its package anew, or remove it."
                ) from error
            return loader
        names = self.names
        raise ConfigurationError(
            f"backend must be one of {', '.join(names)}, not {name!r}: {choose(name, names)} one "
            "of those, or register your own first."
        )


BACKENDS = BackendRegistry(dict.fromkeys(sorted(HUGGING_FACE), load_huggingface))
"""All backends of this process. A decorator needs one place to register in; this is it."""

register = BACKENDS.register


def load(model_id: str, options: LoadOptions | None = None) -> LoadedModel:
    """Load a model with its tokenizer, see `BackendRegistry.load`."""
    return BACKENDS.load(model_id, options or LoadOptions())


def _place(loader: BackendLoader) -> str:
    return f"{loader.__module__}.{getattr(loader, '__qualname__', type(loader).__qualname__)}"
