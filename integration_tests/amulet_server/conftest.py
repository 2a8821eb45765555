"""One server for all tests that need no other: anybody may call, and preferences are kept."""

from collections.abc import Iterator

import pytest

from amulet_server import read_settings
from support.servers import STEADY, RunningServer, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    store = tmp_path_factory.mktemp("served") / "preferences.db"
    with running(read_settings(store=str(store), **STEADY)) as found:
        yield found
