"""What the plugin for vLLM takes along of the package is all that it imports of it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "vllm_plugin"
FORBIDDEN = "transformers"
TOKENIZERS = PLUGIN.parent / "langchain_amulet/grammar/compiler.py"
"""What needs its class of tokenizers, which is the same in the older release there."""


def taken() -> list[Path]:
    build = tomllib.loads((PLUGIN / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    listed = build["targets"]["wheel"]["force-include"]
    assert all(Path(source).parts[1:] == Path(target).parts for source, target in listed.items())
    paths = [ROOT / target for target in listed.values()]
    return [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports as it is imported, but those for type checkers."""
    for statement in ast.parse(file.read_text("utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (name.name for name in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module


def test_the_wheel_holds_all_that_its_files_import_of_the_package() -> None:
    files = taken()
    own = [*files, *(PLUGIN / "langchain_amulet_vllm").glob("*.py")]
    names = {str(file.relative_to(ROOT).with_suffix("")).replace("/", ".") for file in files}
    names |= {name.removesuffix(".__init__") for name in names}
    wanted = {module for file in own for module in imported(file)}
    assert {name for name in wanted if name.split(".")[0] == "langchain_amulet"} <= names
    assert FORBIDDEN not in {
        module.split(".")[0] for file in own if file != TOKENIZERS for module in imported(file)
    }
