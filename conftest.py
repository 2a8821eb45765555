"""How all tests run, whichever they are and however many of them."""

import os

# Read when torch is imported, by programs that tests start, too. Models as small as these gain
# nothing by a second thread, and where anything else keeps a core busy, one waits for the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from langchain_amulet.engine.loading.loader import default_dtype

# Property tests find the same examples every time, and aren't timed: machines differ.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def pytest_report_header(config: pytest.Config) -> str:
    """What a model is decoded in where neither it nor a test says."""
    return f"default dtype: {default_dtype(torch.device('cpu'))}, {torch.get_num_threads()} thread"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names with an address in them: tests that run beside each other go by their names."""
    nameless = sorted({item.nodeid for item in items if " at 0x" in item.name})
    if nameless:
        raise pytest.UsageError(
            "A test must have the same name in every process, but these have an address in it: "
            f"{', '.join(nameless)}. Name their parameters by `ids`."
        )
