"""A tiny model with random weights: everything about it is real but what it says."""

import signal
from collections.abc import Iterator

import pytest

from langchain_amulet import ChatAmulet
from support.memories import KIND
from support.models import save_model
from support.tokenizers import CHATML
from support.ways import QUESTION, invoke


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that a class names in ``left_out``: standard ones can't be overridden."""
    left_out = [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and item.originalname in getattr(item.cls, "left_out", ())
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def heard() -> Iterator[None]:
    """Interrupts are heard even where the tests run in a shell's background, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("tiny", numbered=False))


@pytest.fixture(scope="session")
def other_tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same architecture with other weights."""
    return save_model(tmp_path_factory.mktemp("other-tiny", numbered=False), seed=1)


@pytest.fixture(scope="session")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its template begins each answer with a thought, between tokens that it has."""
    markers = ("<|START_THINKING|>", "<|END_THINKING|>")
    template = CHATML.replace("assistant\n{% endif %}", f"assistant\n{markers[0]}{{% endif %}}")
    folder = tmp_path_factory.mktemp("thinker", numbered=False)
    return save_model(folder, template + f"{{# {markers[1]} #}}", controls=markers)


@pytest.fixture
def llm(tiny: str) -> Iterator[ChatAmulet]:
    """Greedy, so that the same call has the same answer, and float32, so that it has it exactly."""
    with ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12) as model:
        yield model


@pytest.fixture(scope="module")
def loaded(tiny: str) -> Iterator[None]:
    """Keeps the weights of the tiny model from one test of a module to the next."""
    with ChatAmulet(model=tiny, dtype="float32") as holder:
        invoke(holder, QUESTION, max_tokens=1)
        yield


@pytest.fixture
def kind(llm: ChatAmulet) -> str:
    """The answer in the style of `KIND`."""
    return invoke(llm, QUESTION, preference=KIND)
