"""An engine over a tiny model, whose rows are soon taken."""

from collections.abc import Iterator
from typing import Any

import pytest

from langchain_amulet.engine import Engine, HuggingFaceModel
from support.tiny_engine import poisonable_phi


@pytest.fixture(scope="module")
def model() -> Any:
    return poisonable_phi()


@pytest.fixture
def engine(model: Any) -> Iterator[Engine]:
    with Engine(HuggingFaceModel(model), max_rows=6, max_queue=3, prefill_chunk=8) as engine:
        yield engine
