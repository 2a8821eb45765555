"""How a model is to be loaded, as plain data.

Knows no library that loads models, and no models.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded and run; equal options share one copy of the weights.

    Attributes:
        backend: What loads and runs it: "auto", "batched" or "sequential" for a Hugging Face
            model, "auto" or "llama_cpp" for a GGUF file, which the other two dequantise; see
            ``backends.registry`` for others.
        device: Such as "cpu" or "cuda:0"; ``None`` for the first CUDA device, else the CPU.
            Ignored with ``device_map``.
        dtype: Such as "bfloat16"; ``None`` for the one that the environment variable
            ``LANGCHAIN_AMULET_DTYPE`` names, or else the fastest that the device has: on a CPU
            bfloat16 if it computes in it, else float32; elsewhere the model's own.
        device_map: As in ``from_pretrained``.
        quantization_config: As in ``from_pretrained``. One that says the same shares weights.
        attn_implementation: As in ``from_pretrained``; ``None`` for the library's choice.
        gguf_file: Which GGUF file of a folder or repository; ``None`` for the only one of a folder
            without other weights.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run Python that comes with the model. Off, and better left off.
        use_safetensors: Refuse weights in pickle files, which can run code when they are loaded.
        pack: Lay the linear layers out for decoding on a CPU, see ``packing``.
        cuda_graphs: Record short passes on a GPU and play them back, see ``static_pass``.
        compile: Compile the layers for decode steps, see ``compilation``; they aren't packed then.
        base_url: Where the server is that runs it; for backends that have one alone.
        api_key: What that wants to be shown.
        max_rows: See ``Engine``.
        max_queue: See ``Engine``.
        prefill_chunk: See ``Engine``.
        kv_cache_memory: See ``Engine``.
    """

    backend: str = "auto"
    device: str | None = None
    dtype: str | None = None
    device_map: str | tuple[tuple[str, int | str], ...] | None = None
    quantization_config: Any = field(default=None, compare=False)
    attn_implementation: str | None = None
    gguf_file: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    use_safetensors: bool = True
    pack: bool = True
    cuda_graphs: bool = True
    compile: bool = False
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    max_rows: int = 64
    max_queue: int = 4096
    prefill_chunk: int | None = None
    kv_cache_memory: int | None = None
    _quantization: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Compare quantisation by what it says: to the library's classes int8 equals int4."""
        said = getattr(self.quantization_config, "to_dict", lambda: self.quantization_config)()
        object.__setattr__(self, "_quantization", str(said))
