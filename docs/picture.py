"""The picture of docs/architecture.md: rooms in the layers of their contract, and who uses whom.

``python -m docs.picture`` draws it anew from pyproject.toml and from the imports as they are. An
arrow stands for imports between two rooms. Those that other arrows lead to anyway are left out, as
are rooms that everybody may use; so the picture can be read, and none of its arrows is made up.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BLOCK = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)

PACKAGE = "langchain_amulet"
NEIGHBOURS = ("amulet_evals", "amulet_server", "pocket")
EVERYBODYS = frozenset({"errors", "registry", "trace", "validation", "version", "waiting"})
"""Rooms without arrows: nearly all use them."""


def layers() -> list[list[str]]:
    """The contract's layers, the top one first, each with its rooms."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (found,) = (each["layers"] for each in contracts if each.get("containers") == [PACKAGE])
    return [[room.strip() for room in layer.split("|")] for layer in found]


def imports() -> dict[str, set[str]]:
    """Which rooms each room imports from, as the code stands."""
    graph = grimp.build_graph(PACKAGE, *NEIGHBOURS, cache_dir=None)
    used: dict[str, set[str]] = {}
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            room, used_room = _room(module), _room(other)
            if room != used_room and module != PACKAGE:
                used.setdefault(room, set()).add(used_room)
    return used


def picture() -> str:
    """The Mermaid flowchart."""
    return "\n".join(["flowchart TD", *_boxes(), *_arrows(imports())]) + "\n"


def _boxes() -> Iterator[str]:
    for name in NEIGHBOURS:
        yield f"    {name}([{name}])"
    for number, rooms in enumerate(layers()):
        yield f'    subgraph layer{number} [" "]'
        yield from (f"        {room}" for room in rooms)
        yield "    end"


def _arrows(used: Mapping[str, set[str]]) -> Iterator[str]:
    drawn = {room: others - EVERYBODYS for room, others in used.items() if room not in EVERYBODYS}
    for room in sorted(drawn):
        further = {far for near in drawn[room] for far in _reached(drawn, near)}
        yield from (f"    {room} --> {other}" for other in sorted(drawn[room] - further))


def _reached(used: Mapping[str, set[str]], start: str) -> set[str]:
    """All rooms that one leads to, by any number of arrows."""
    reached: set[str] = set()
    waiting = [*used.get(start, ())]
    while waiting:
        room = waiting.pop()
        if room not in reached:
            reached.add(room)
            waiting.extend(used.get(room, ()))
    return reached


def _room(module: str) -> str:
    """The room of a module: its folder or file in the package, or the neighbour as a whole.

    The package's own ``__init__`` hands out what is at home in chat_models, so it counts as that.
    """
    package, *inner = module.split(".")
    if package != PACKAGE:
        return package
    return inner[0] if inner else "chat_models"


def main() -> None:
    """Draw the page's picture anew."""
    page = PAGE.read_text(encoding="utf-8")
    drawn = BLOCK.sub(lambda _: f"```mermaid\n{picture()}```", page, count=1)
    PAGE.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
