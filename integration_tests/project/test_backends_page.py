"""The table of what works with which backend is what trials find, cell by cell."""

from collections.abc import Iterator

import pytest

from docs.backends import BLOCK, PAGE, shown, table
from langchain_amulet import ChatAmulet
from support.backends import HERE, chat_model
from support.features import TRIALS, outcome

Subject = tuple[str, ChatAmulet]


@pytest.fixture(scope="module", params=HERE)
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    with chat_model(request.param, tmp_path_factory.mktemp(request.param)) as llm:
        yield request.param, llm


@pytest.mark.parametrize("feature", TRIALS)
def test_a_cell_is_what_came_of_the_trial(subject: Subject, feature: str) -> None:
    backend, llm = subject
    assert outcome(TRIALS[feature], llm) == shown()[backend][feature]


def test_the_table_has_a_row_for_each_trial_and_nothing_else() -> None:
    (found,) = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert found == table(shown())
