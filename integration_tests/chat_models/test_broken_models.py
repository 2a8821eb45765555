"""Folders that are no whole model: each is refused with an error of the package, or answers."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from langchain_amulet import ChatAmulet
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.errors import AmuletError, ModelNotFoundError, UnsupportedModelError

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
NEEDED_FILES = [
    WEIGHTS,
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
]
Damage = Callable[[Path], None]
ODD_VALUES = ["x", -1, []]
NUMBERS = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "rms_norm_eps",
    "eos_token_id",
    "model_type",
    "architectures",
    "tie_word_embeddings",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bundled model's files, each of which can be replaced."""
    for file in POCKET_FOLDER.iterdir():
        if file.is_file():
            os.symlink(file, tmp_path / file.name)
    return tmp_path


def answer(folder: Path, **settings: Any) -> str:
    with ChatAmulet(model=str(folder), dtype="float32", temperature=0, max_tokens=3) as llm:
        return llm.model_copy(update=settings).invoke("Hi", preference="Be kind.").text


def write(file: Path, content: bytes | str) -> None:
    """Replace a link to a file of the bundled model."""
    file.unlink(missing_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def edit(folder: Path, name: str, **changes: Any) -> None:
    """Change values of a file of JSON."""
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    write(folder / name, json.dumps(content | changes))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the weights."""
    tensors = change(load_file(folder / WEIGHTS))
    (folder / WEIGHTS).unlink()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def without(*parts: str) -> Damage:
    """Take out the tensors whose names hold one of these."""

    def damage(folder: Path) -> None:
        rewrite(
            folder,
            lambda all: {k: v for k, v in all.items() if not any(part in k for part in parts)},
        )

    return damage


def test_the_folder_answers_as_long_as_nobody_damages_it(folder: Path) -> None:
    assert answer(folder)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (without(".layers.5."), r"lacks model\.layers\.5\..* and \d+ more"),
        (without("embed_tokens"), "lacks .*embed_tokens"),
        (without("model.norm"), r"lacks model\.norm\.weight\."),
        (
            lambda it: rewrite(it, lambda all: {f"other.{k}": v for k, v in all.items()}),
            "lacks .*more",
        ),
        (lambda it: edit(it, CONFIG, num_hidden_layers=3), r"no place in its config for .*layers"),
        (lambda it: edit(it, CONFIG, num_hidden_layers=9), r"lacks model\.layers"),
        (lambda it: edit(it, CONFIG, intermediate_size=8), "mlp|size|shape"),
        (lambda it: edit(it, CONFIG, vocab_size=100), "embed_tokens|shape|size"),
    ],
)
def test_weights_that_are_not_whole_are_refused_and_named(
    folder: Path, damage: Damage, named: str
) -> None:
    damage(folder)
    with pytest.raises(UnsupportedModelError, match=named):
        answer(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_weights_that_were_cut_are_refused(folder: Path, share: float) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    write(folder / WEIGHTS, whole[: int(len(whole) * share)])
    with pytest.raises((UnsupportedModelError, ModelNotFoundError)):
        answer(folder)


@pytest.mark.parametrize("name", NEEDED_FILES)
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\x00\xff\xfe"])
def test_a_file_that_is_missing_or_nonsense_is_an_error_of_the_package_or_not_needed(
    folder: Path, name: str, content: bytes | None
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    try:
        answer(folder)
    except AmuletError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("value", ODD_VALUES, ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_an_odd_value_in_the_config_is_an_error_of_the_package_or_harmless(
    folder: Path, name: str, value: Any
) -> None:
    edit(folder, CONFIG, **{name: value})
    try:
        answer(folder)
    except AmuletError as error:
        assert "\n" not in str(error)


def test_a_tokenizer_of_a_larger_model_is_refused(folder: Path) -> None:
    content = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary.update({f"word{k}": len(vocabulary) + k for k in range(20_000)})
    write(folder / TOKENIZER, json.dumps(content))
    with pytest.raises(UnsupportedModelError, match="tokenizer must have tokens, and no more"):
        answer(folder)


def test_a_tokenizer_without_a_decoder_is_read_by_how_it_splits_texts(folder: Path) -> None:
    expected = answer(folder)
    edit(folder, TOKENIZER, decoder=None)
    assert answer(folder) == expected


def test_a_tokenizer_that_spells_in_no_known_way_is_an_error_of_the_package_or_answers(
    folder: Path,
) -> None:
    edit(folder, TOKENIZER, decoder=None, pre_tokenizer=None)
    try:
        answer(folder)
    except AmuletError as error:
        assert "\n" not in str(error)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    for name in (TOKENIZER, "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises((UnsupportedModelError, ModelNotFoundError)):
        answer(folder)
