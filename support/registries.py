"""Registries as they were before a test, and packages that bring something to be found in them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_amulet.registry import Registry


@contextmanager
def restored(registry: Registry[Any]) -> Iterator[None]:
    """What is added to a registry meanwhile is gone afterwards.

    Packages are looked for anew on entering it and after it, so that it finds those which a test
    installs, and forgets them.
    """
    before = dict(registry._things)
    vars(registry).pop("_installed", None)
    try:
        yield
    finally:
        registry._things.clear()
        registry._things.update(before)
        vars(registry).pop("_installed", None)


@contextmanager
def installed(folder: Path, module: str, code: str, entries: str) -> Iterator[None]:
    """A package of one module in an empty folder, as an installer would have left it.

    Args:
        folder: Where it lies.
        module: The name of the module, and of the package.
        code: What is in the module.
        entries: The package's entry points, as its ``entry_points.txt``.
    """
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(entries)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(module, None)
