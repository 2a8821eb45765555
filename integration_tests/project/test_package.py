"""What is shipped: a wheel that carries the model and works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = """
import langchain_amulet
from langchain_amulet import ChatAmulet
print(langchain_amulet.__file__)
print(ChatAmulet(model="pocket", max_tokens=4).invoke("Hello!", preference="Be formal.").text)
"""


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(  # type: ignore[call-overload]
        [sys.executable, "-m", *map(str, command)],
        check=True, capture_output=True, text=True, **options,
    )  # fmt: skip
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--wheel", "--no-isolation", "--outdir", folder, cwd=ROOT)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_the_playground_and_the_model_in_at_most_16_megabytes(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    pocket = {name: size for name, size in sizes.items() if "/pocket/" in name}
    assert {"model.safetensors", "tokenizer.json", "config.json", "README.md"} <= {
        Path(name).name for name in pocket
    }
    assert sum(pocket.values()) <= 16 * 2**20
    assert {f"amulet_server/playground/static/{name}" for name in ("index.html", "main.js")} <= set(
        sizes
    )
    assert not any(name.startswith(("tests/", "pocket/", "benchmarks/")) for name in sizes)


def test_the_wheel_s_metadata_is_fit_for_an_index(wheel: Path) -> None:
    assert "PASSED" in run("twine", "check", "--strict", wheel, env={**os.environ, "NO_COLOR": "1"})


def test_an_installed_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    run("pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        check=True, capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    place, answer = done.stdout.strip().split("\n")
    assert Path(place).is_relative_to(site)
    assert answer
