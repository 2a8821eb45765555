"""GGUF files by name: a file, a folder that holds one, one of a repository on the Hub.

Knows files and Hugging Face's Hub. Doesn't know what is in such a file, or what runs it.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download

from langchain_amulet.engine.loading.hub import CONFIG, GGUF, local_path, not_found
from langchain_amulet.errors import ConfigurationError

LATER = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")
"""How the files of one model are called behind the first, by which all are found."""


def find_gguf(model_id: str, name: str | None = None, revision: str | None = None) -> Path | None:
    """The GGUF file that a model's name means; fetched if it is the Hub's.

    Args:
        model_id: A file, a folder or a repository.
        name: Which file of a folder or repository.
        revision: Branch, tag or commit of a repository.

    Returns:
        None if it means none, as without ``name`` a repository doesn't, nor a folder of weights in
        another format.

    Raises:
        ModelNotFoundError: There is no such file.
        ConfigurationError: A folder holds several, and none is named.
    """
    path = local_path(model_id)
    if name is None:
        return None if path is None else _found(path)
    if path is None:
        return Path(hf_hub_download(model_id, name, revision=revision))
    if not (path / name).is_file():
        raise not_found(model_id, f"it has no file {name!r}")
    return path / name


def names_gguf(model_id: str, name: str | None = None) -> bool:
    """Whether a model's name means a GGUF file; nothing is fetched, nor is it sure to be there."""
    return name is not None or find_gguf(model_id) is not None


def _found(path: Path) -> Path | None:
    if path.is_dir():
        return _only_one(path)
    return path if path.suffix.casefold() == GGUF else None


def _only_one(folder: Path) -> Path | None:
    if (folder / CONFIG).exists():
        return None
    found = sorted(each for each in folder.glob(f"*{GGUF}") if not LATER.search(each.name))
    if len(found) > 1:
        raise ConfigurationError(
            f"A folder with several GGUF files needs gguf_file, and {str(folder)!r} has "
            f"{', '.join(each.name for each in found[:4])}: name one of them."
        )
    return found[0] if found else None
