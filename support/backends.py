"""The bundled model, greedy, on every backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from langchain_amulet import ChatAmulet
from langchain_amulet.engine.loading.hub import POCKET, POCKET_FOLDER
from support.gguf_files import write_gguf

GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 64}

HERE = ("batched", "sequential", "llama_cpp")
"""The backends that run in this process."""


@contextmanager
def chat_model(backend: str, folder: Path) -> Iterator[ChatAmulet]:
    """The bundled model, greedy, on one of `HERE`.

    Args:
        backend: Which.
        folder: Where it is written as a GGUF file, for llama.cpp.
    """
    is_gguf = backend == "llama_cpp"
    chosen = {"model": str(pocket_gguf(folder))} if is_gguf else {"backend": backend}
    with ChatAmulet(**chosen, dtype="float32", **GREEDY) as llm:
        yield llm


def served_model(url: str) -> ChatAmulet:
    """The same on a vLLM server."""
    return ChatAmulet(model=POCKET, backend="vllm", base_url=url, **GREEDY)


def pocket_gguf(folder: Path) -> Path:
    """The bundled model as a GGUF file in a folder."""
    model = AutoModelForCausalLM.from_pretrained(POCKET_FOLDER)
    return write_gguf(folder / "pocket.gguf", model, AutoTokenizer.from_pretrained(POCKET_FOLDER))
