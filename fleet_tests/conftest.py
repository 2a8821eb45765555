"""Two replicas behind Ray Serve, in the environment that ``make test-ray`` makes."""

from collections.abc import Iterator

import pytest

from langchain_amulet import ChatAmulet
from support.postgres import Postgres
from support.ray_fleets import VENV, RayFleet, ray_fleet

CONFIG = """
store = "{store}"
answers = {{ temperature = 0.0 }}
load = {{ dtype = "float32", max_rows = 8 }}
keys = [
    {{ name = "ada", key = "sk-of-ada", user = "ada" }},
    {{ name = "webui", key = "sk-of-webui", for_others = true }},
]
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def fleet(postgres: Postgres) -> Iterator[RayFleet]:
    if not (VENV / "bin/serve").exists():
        pytest.fail(f"These tests need Ray Serve in {VENV}: run them by make test-ray.")
    with ray_fleet(CONFIG.format(store=postgres.uri), "cpus=0.5", "waiting=24") as made:
        yield made


@pytest.fixture(scope="session")
def alone() -> Iterator[ChatAmulet]:
    """Our own engine, which nobody else asks anything."""
    with ChatAmulet(model="pocket", temperature=0.0, dtype="float32") as llm:
        yield llm.load()
