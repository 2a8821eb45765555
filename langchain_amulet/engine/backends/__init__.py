"""What runs models: the interface that the engine asks for, and whatever implements it.

Holds one file or folder per kind of backend, and the registry that finds them by name. Doesn't know
plans, sampling, queues or callers.
"""

from langchain_amulet.engine.backends.base import (
    PROCESS,
    Backend,
    Beams,
    CacheScope,
    CacheUse,
    CandidateQuery,
    LoadedModel,
    ModelInfo,
    Prompts,
    Slot,
    StepLogits,
    Steps,
)
from langchain_amulet.engine.backends.huggingface.model import HuggingFaceModel, load_huggingface
from langchain_amulet.engine.backends.registry import (
    BACKENDS,
    HUGGING_FACE,
    BackendLoader,
    check_backend,
    import_backend,
    load,
    register,
)
from langchain_amulet.engine.backends.uncached import UncachedModel
from langchain_amulet.engine.loading.options import LoadOptions

__all__ = [
    "BACKENDS",
    "HUGGING_FACE",
    "PROCESS",
    "Backend",
    "BackendLoader",
    "Beams",
    "CacheScope",
    "CacheUse",
    "CandidateQuery",
    "HuggingFaceModel",
    "LoadOptions",
    "LoadedModel",
    "ModelInfo",
    "Prompts",
    "Slot",
    "StepLogits",
    "Steps",
    "UncachedModel",
    "check_backend",
    "import_backend",
    "load",
    "load_huggingface",
    "register",
]
