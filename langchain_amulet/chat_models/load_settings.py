"""Which model answers and how it is run: what is fixed once its weights are loaded.

This module knows which settings of loading there are and what they may be: nothing of how weights
are loaded, or of how a call is answered.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import torch
from pydantic import (
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from langchain_amulet.engine.backends import LoadOptions, check_backend
from langchain_amulet.engine.loading.hub import POCKET
from langchain_amulet.engine.loading.loader import dtype_of
from langchain_amulet.engine.remote.model import VLLM
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.pydantic_errors import FlaglessNumbers
from langchain_amulet.validation.wording import quoted

SIZE = re.compile(r" *([0-9]+|[0-9]+(\.[0-9]+)? *[kmgtp]i?b) *", re.IGNORECASE)
"""A number of bytes in writing, whole where no unit follows."""

BYTES = TypeAdapter(ByteSize)

LEAST_CACHE = 1024
"""The fewest bytes of keys and values that can be meant: less holds no token of any real model."""


def as_backend(value: Any) -> str:
    """The name of a backend that can be found."""
    if not isinstance(value, str):
        raise ConfigurationError(
            f"backend must be the name of one, not {quoted(value)}: register your own, and use its "
            "name."
        )
    check_backend(value)
    return value


def as_device(value: Any) -> str | None:
    """The name of a torch device, given as such or by its name; None for a GPU if there is one.

    Whether there is such a device is found out where the model is loaded.
    """
    if value is None:
        return None
    try:
        return str(torch.device(value if isinstance(value, torch.device) else _text(value)))
    except (RuntimeError, TypeError):
        raise ConfigurationError(
            f"device must be the name of a torch device, not {quoted(value)}: use 'cpu' or "
            "'cuda:0', or None for a GPU if there is one."
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def as_dtype(value: Any) -> str | None:
    """The name of a torch dtype, given as such or by its name; None for the fastest."""
    if value is not None and not isinstance(value, (str, torch.dtype)):
        raise ConfigurationError(
            f"dtype must be a torch dtype or its name, not {quoted(value)}: use 'float32' or "
            "'bfloat16', or None for what runs fastest."
        )
    name = None if value is None else str(value).removeprefix("torch.")
    if name is None or name == "auto":
        return None
    dtype_of(name)
    return name


def as_quantization(value: Any) -> Any:
    """How weights are quantised: an object or a dict, which means something to backends alone."""
    if not isinstance(value, (str, int, float, list, tuple)):
        return value
    raise ConfigurationError(
        f"quantization_config must be a config of transformers' or a dict of one, not "
        f"{quoted(value)}: use BitsAndBytesConfig(load_in_4bit=True) for 4 bits, "
        "load_in_8bit=True for 8."
    )


def as_bytes(value: Any) -> int | None:
    """A number of bytes, given as such or as a text with a unit; None for none."""
    if value is None:
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    is_written = isinstance(value, str) and SIZE.fullmatch(value) is not None
    try:
        found = int(BYTES.validate_python(value)) if is_number or is_written else 0
    except ValidationError:  # such as a unit that there isn't
        found = 0
    if found < LEAST_CACHE:
        raise ConfigurationError(
            f"kv_cache_memory must be at least {LEAST_CACHE} bytes, as a whole number, or as a "
            f"text of a number with a decimal point or none and a unit, not {quoted(value)}: use "
            "'4GiB', or None for a share of what is free."
        )
    return found


class LoadSettings(FlaglessNumbers):
    """Everything that decides which weights are loaded, and how; fixed once a model is made.

    Attributes:
        model: ``"pocket"``, the model that comes with this package; or a local folder, a
            repository on the Hub, or a GGUF file.
        backend: What loads and runs it: "auto", or the name of one.
        device: Such as "cpu" or "cuda:0"; None for a GPU if there is one.
        dtype: Such as "bfloat16"; None for what runs fastest.
        device_map: As in ``from_pretrained``.
        quantization_config: As in ``from_pretrained``.
        attn_implementation: As in ``from_pretrained``.
        gguf_file: Which GGUF file of a folder or repository; None for the only one of a folder
            without other weights.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run Python that comes with the model. Off, and better left off.
        use_safetensors: Refuse weights in pickle files, which can run code when they are loaded.
        cuda_graphs: Record short passes on a GPU and play them back, which spares it to wait for
            Python; off takes less of its memory.
        compile: Compile the layers for decoding, for which all calls wait at the first answers, to
            have a GPU's steps of few calls take fewer kernels; of no use on a CPU.
        base_url: The address of the vLLM server that runs the model, for the backend "vllm" alone.
        api_key: What that server wants to be shown.
        max_rows: The most prompt streams decoded at a time, over all calls.
        max_queue: The most calls that may wait.
        prefill_chunk: The most prompt tokens computed between two decode steps; None for what
            takes the device about as long as a few of these.
        kv_cache_memory: The most memory for keys and values, those included that are kept for
            prompts that begin alike: bytes, or a text such as "4GiB"; None for a share of what is
            free.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str = Field(default=POCKET, min_length=1)
    backend: Annotated[str, BeforeValidator(as_backend)] = "auto"
    device: Annotated[str | None, BeforeValidator(as_device)] = None
    dtype: Annotated[str | None, BeforeValidator(as_dtype)] = None
    device_map: str | dict[str, int | str] | None = None
    quantization_config: Annotated[Any, BeforeValidator(as_quantization)] = Field(
        default=None, exclude=True, repr=False
    )
    attn_implementation: str | None = None
    gguf_file: Annotated[str | None, Field(min_length=1)] = None
    revision: str | None = None
    trust_remote_code: bool = False
    use_safetensors: bool = True
    cuda_graphs: bool = True
    compile: bool = False
    base_url: str | None = None
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    max_rows: int = Field(default=64, ge=1)
    max_queue: int = Field(default=4096, ge=1)
    prefill_chunk: int | None = Field(default=None, ge=1)
    kv_cache_memory: Annotated[int | None, BeforeValidator(as_bytes)] = None

    @property
    def load_options(self) -> LoadOptions:
        """The same for the engine.

        Raises:
            ConfigurationError: There is a server's address without its backend, or the other way.
        """
        if (self.backend == VLLM) != (self.base_url is not None):
            raise ConfigurationError(
                "base_url is where a vLLM server is, so it goes with backend='vllm' and that with "
                f"it, but they are {quoted(self.base_url)} and {self.backend!r}: set both or none."
            )
        fixed = {name: getattr(self, name) for name in LoadSettings.model_fields}
        del fixed["model"]
        fixed["api_key"] = self.api_key and self.api_key.get_secret_value()
        if isinstance(self.device_map, dict):
            fixed["device_map"] = tuple(self.device_map.items())
        return LoadOptions(**fixed)
