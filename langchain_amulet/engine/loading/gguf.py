"""GGUF files by name: a file, a folder that holds one, one of a repository on the Hub.

Knows files and Hugging Face's Hub. Doesn't know what is in such a file, or what runs it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download, list_repo_files, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from langchain_amulet.engine.loading.hub import (
    CONFIG,
    GGUF,
    is_path,
    local_path,
    no_file,
    not_found,
    those_there,
)
from langchain_amulet.errors import AmuletError, ConfigurationError, ModelNotFoundError
from langchain_amulet.validation.packages import needing
from langchain_amulet.validation.wording import FEW

PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
"""How the files of one model in several are called, with the number of each."""


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
        ConfigurationError: A folder holds several, and none is named; a file is named twice, or is
            a part behind the first of a model in several.
    """
    path = local_path(model_id)
    _check_first(name or model_id)
    if name is None:
        if path is None and model_id.casefold().endswith(GGUF):
            raise no_file(model_id)
        return None if path is None else _found(path)
    if path is None:
        return _fetched(model_id, name, revision)
    if path.is_file():
        raise ConfigurationError(
            f"gguf_file says which file of a folder or repository is meant, but {model_id!r} is a "
            "file itself: leave gguf_file out."
        )
    if not (path / name).is_file():
        raise _not_among(model_id, name, gguf_files(model_id) or ())
    return path / name


def names_gguf(model_id: str, name: str | None = None) -> bool:
    """Whether a model's name means a GGUF file; nothing is fetched, nor is it sure to be there.

    Raises as `find_gguf` does.
    """
    return name is not None or find_gguf(model_id) is not None


def gguf_files(model_id: str, revision: str | None = None) -> tuple[str, ...] | None:
    """The names of a folder's or repository's GGUF files, of each model the first.

    Returns:
        None if there is no such folder, nor a repository that can be asked or is cached.
    """
    path = local_path(model_id)
    if path is not None:
        return _firsts(each.name for each in path.glob(f"*{GGUF}"))
    try:
        return _firsts(list_repo_files(model_id, revision=revision))
    except Exception:  # of the name, the Hub or the network, by whatever library it uses
        return _cached_files(model_id, revision)


def no_gguf(model_id: str, revision: str | None = None) -> AmuletError:
    """What to raise for a model whose name means no GGUF file where one is needed."""
    files = gguf_files(model_id, revision)
    if files is None:
        return not_found(model_id, "it is no GGUF file, nor a folder or repository that holds one")
    if files:
        return ConfigurationError(
            f"For llama.cpp gguf_file must say which of the files of {model_id!r} is meant, but it "
            f"is left out: use one of {', '.join(files[:FEW])}."
        )
    return ConfigurationError(
        f"llama.cpp runs GGUF files, but {model_id!r} neither is nor has one: leave backend out, "
        "if these are weights of Hugging Face's, or name a GGUF file."
    )


def need_reader() -> None:
    """Make sure that what reads such a file's tokenizer is installed.

    Raises:
        MissingExtraError: It isn't.
    """
    with needing("llama", "A GGUF file"):
        importlib.import_module("gguf")


def _found(path: Path) -> Path | None:
    if path.is_dir():
        return _only_one(path)
    return path if path.suffix.casefold() == GGUF else None


def _only_one(folder: Path) -> Path | None:
    if (folder / CONFIG).exists():
        return None
    found = _firsts(each.name for each in folder.glob(f"*{GGUF}"))
    if len(found) > 1:
        raise ConfigurationError(
            f"A folder with several GGUF files needs gguf_file, and {str(folder)!r} has "
            f"{', '.join(found[:FEW])}: name one of them."
        )
    return folder / found[0] if found else None


def _fetched(repository: str, name: str, revision: str | None) -> Path:
    if is_path(repository):
        raise not_found(repository, "there is no such folder")
    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except LocalEntryNotFoundError as error:  # the Hub wasn't asked, or can't be reached
        files = _cached_files(repository, revision)
        raise (
            _not_among(repository, name, files) if files else not_found(repository, error)
        ) from error
    except ValueError as error:  # nothing that could be a repository's name
        raise not_found(repository, error) from error
    except EntryNotFoundError as error:
        raise _not_among(repository, name, gguf_files(repository, revision) or ()) from error


def _cached_files(repository: str, revision: str | None) -> tuple[str, ...] | None:
    try:
        return gguf_files(snapshot_download(repository, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:  # which has the folder, where a part is cached
        folder: str | None = getattr(error, "snapshot_path", None)
        return None if folder is None else gguf_files(folder)
    except ValueError:  # nothing that could be a repository's name
        return None


def _not_among(model_id: str, name: str, files: Sequence[str]) -> ModelNotFoundError:
    remedy = (
        f"use one of those that are there, {those_there(name, files)}"
        if files
        else "it holds no GGUF file, so leave gguf_file out, or name another model"
    )
    return ModelNotFoundError(
        f"gguf_file must name a file of the model's folder or repository, but {model_id!r} has no "
        f"{name!r}: {remedy}."
    )


def _firsts(names: Iterable[str]) -> tuple[str, ...]:
    """Those that are GGUF files, without the parts behind a first, in order."""
    parts = {name: PART.search(name) for name in names if name.casefold().endswith(GGUF)}
    return tuple(sorted(name for name, part in parts.items() if part is None or int(part[1]) == 1))


def _check_first(name: str) -> None:
    part = PART.search(name)
    if part is not None and int(part[1]) > 1:
        first = f"{name[: part.start(1)]}00001{name[part.end(1) :]}"
        raise ConfigurationError(
            f"Of a model in several GGUF files the first is named, but {name!r} is a later one: "
            f"name {first!r}."
        )
