"""vLLM's column in the table of what works with which backend is what trials find."""

from collections.abc import Iterator

import pytest

from docs.backends import shown
from langchain_amulet import ChatAmulet
from langchain_amulet.engine.remote.model import VLLM
from support.backends import served_model
from support.features import TRIALS, outcome


@pytest.fixture
def there(url: str) -> Iterator[ChatAmulet]:
    with served_model(url) as llm:
        yield llm


@pytest.mark.parametrize("feature", TRIALS)
def test_a_cell_is_what_came_of_the_trial(there: ChatAmulet, feature: str) -> None:
    assert outcome(TRIALS[feature], there) == shown()[VLLM][feature]
