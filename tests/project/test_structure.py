"""The plan of the repository, kept by its syntax trees: names, folders, and who imports whom."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PRODUCTS = ("langchain_amulet", "amulet_evals", "amulet_server", "pocket", "benchmarks")
TESTS = ("tests", "integration_tests")
FOLDERS = [
    init.parent.relative_to(ROOT).as_posix()
    for product in PRODUCTS
    for init in sorted((ROOT / product).glob("**/__init__.py"))
    if init.parent != ROOT / "langchain_amulet"
]


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Paths and syntax trees of all Python files in these folders of the repository."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> set[str]:
    """The first parts of the names of all modules that a file imports, wherever in it."""
    found = [alias.name for node in _nodes(tree, ast.Import) for alias in node.names]
    found += [node.module for node in _nodes(tree, ast.ImportFrom) if node.module]
    return {name.partition(".")[0] for name in found}


def _nodes(tree: ast.Module, kind: Any) -> list[Any]:
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


def test_one_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for path, tree in modules(*PRODUCTS):
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_it_holds_and_what_it_doesn_t_know(folder: str) -> None:
    tree = ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))
    assert "know" in (ast.get_docstring(tree) or "").casefold()


@pytest.mark.parametrize("product", ["langchain_amulet", "amulet_evals", "amulet_server"])
def test_the_root_of_a_package_can_be_looked_over(product: str) -> None:
    entries = [entry for entry in (ROOT / product).iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= 21


@pytest.mark.parametrize("folder", TESTS)
def test_tests_lie_in_folders_named_after_what_they_test(folder: str) -> None:
    rooms = {"project", *PRODUCTS, *(path.stem for path in (ROOT / "langchain_amulet").iterdir())}
    names = {entry.name for entry in (ROOT / folder).iterdir() if entry.is_dir()}
    assert names - {"__pycache__"} <= rooms


def test_nothing_imports_a_test() -> None:
    for path, tree in modules(*TESTS, *PRODUCTS, "support", "docs", "examples"):
        assert imports(tree).isdisjoint({*TESTS, "conftest"}), path


def test_only_what_isn_t_shipped_imports_the_tests_helpers() -> None:
    for path, tree in modules(
        "langchain_amulet", "amulet_evals", "amulet_server", "pocket", "examples"
    ):
        assert "support" not in imports(tree), path


def test_the_package_knows_neither_its_neighbours_nor_its_tests() -> None:
    for path, tree in modules("langchain_amulet"):
        assert imports(tree).isdisjoint(
            {"amulet_evals", "amulet_server", "pocket", "benchmarks", "support", "docs", "examples"}
        ), path
