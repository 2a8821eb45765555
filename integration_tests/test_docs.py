"""What README and docs/ show really runs."""

from pathlib import Path

import pytest

from docs.snippets import PAGES, run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run_and_print_what_it_shows(page: Path) -> None:
    for outcome in run(page):
        assert outcome.is_as_shown, f"{outcome.match['code']}\nprinted:\n{outcome.printed}"
