"""The page of the architecture draws what is there, and names files that exist."""

import re
from pathlib import Path

import pytest

from docs.picture import BLOCK, PACKAGE, PAGE, ROOT, imports, layers, picture

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_picture_is_the_one_that_the_code_draws() -> None:
    (drawn,) = BLOCK.findall(TEXT)
    assert drawn == picture()


def test_every_room_is_in_a_layer_of_the_contract() -> None:
    parts = (ROOT / PACKAGE).iterdir()
    rooms = {part.stem for part in parts if part.suffix == ".py" or (part / "__init__.py").exists()}
    assert rooms - {"__init__"} == {room for layer in layers() for room in layer}


def test_no_room_imports_from_one_above_or_beside_it() -> None:
    height = {room: -number for number, layer in enumerate(layers()) for room in layer}
    for room, others in imports().items():
        for other in others:
            if room in height:
                assert height[other] < height[room], f"{room} imports from {other}"


def test_the_contract_has_at_most_twelve_lines() -> None:
    assert len(layers()) <= 12


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", TEXT))))
def test_every_file_that_the_page_names_is_there(path: str) -> None:
    places = (ROOT, ROOT / PACKAGE)
    assert any(Path(place, path).exists() for place in places), path
