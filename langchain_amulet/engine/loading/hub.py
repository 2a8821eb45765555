"""Whether there is a model of a name, on this machine or on the Hub, found out in one question.

Knows folders and Hugging Face's Hub. Doesn't know what a model is made of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

from huggingface_hub import file_exists, try_to_load_from_cache

from langchain_amulet.errors import ModelNotFoundError
from langchain_amulet.validation.checks import check_type
from langchain_amulet.validation.wording import FEW, message_of, nearest

CONFIG = "config.json"
GGUF = ".gguf"
"""How the files of llama.cpp end, in which a model is whole: weights, tokenizer, template."""

POCKET = "pocket"
"""The name of the model that comes with the package."""

POCKET_FOLDER = Path(__file__).parents[2] / "pocket"
"""Where that model lies."""


OWNER = re.compile(r"([\w-][\w.-]*/[\w.-]+)/([\w./-]+)")
"""How a file of a repository would be named, if it were named by one text."""

OLLAMA = re.compile(r"[\w.-]+(/[\w.-]+)?:[\w.-]+")
"""How Ollama names models: with what it calls a tag."""


def resolve_model(name: str) -> str:
    """What to load for a model's name: the bundled folder, a local folder or file, or a Hub id."""
    check_type("model", name, str)
    if name == POCKET:
        return str(POCKET_FOLDER)
    local = _folder(name) or _gguf(name)
    return name if local is None else str(local)


def check_exists(model_id: str, revision: str | None = None) -> None:
    """Make sure that there is such a model, before a library tries and tries again to fetch it.

    ``from_pretrained`` asks the Hub five times with growing pauses, 24 seconds in all, for a file
    that isn't cached. This asks for one file's head, once, and not at all if it is cached.

    Raises:
        ModelNotFoundError: There is no such folder or repository, or it has no config, or the Hub
            can't be reached.
    """
    folder = _folder(model_id)
    if folder is not None:
        if not (folder / CONFIG).exists() and not any(folder.glob(f"*{GGUF}")):
            raise not_found(model_id, f"it has no {CONFIG}")
    elif _gguf(model_id) is not None:
        return
    elif model_id.casefold().endswith(GGUF):
        raise no_file(model_id)
    elif is_path(model_id):
        raise not_found(model_id, "there is no such folder")
    elif not _is_known(model_id, revision):
        raise not_found(model_id, f"the Hub has no such repository, revision or {CONFIG}")


def not_found(model_id: str, reason: object) -> ModelNotFoundError:
    """What to raise for a model that can't be had."""
    is_local = _folder(model_id) is not None
    place = "folder" if is_local else "folder or Hub repository"
    offline = (
        ""
        if is_local
        else f" Without a network there are {POCKET!r}, which comes with this package, folders, "
        "and what is cached; HF_HUB_OFFLINE=1 keeps the Hub from being asked."
    )
    hint = _hint(model_id)
    return ModelNotFoundError(
        f"A model must be a {place} with a config, a tokenizer and safetensors weights, or a GGUF "
        f"file, but {shortened(repr(model_id))} isn't: {shortened(message_of(reason))}.{hint} "
        f"Check the name, the revision and the access rights.{offline}"
    )


def no_file(path: str) -> ModelNotFoundError:
    """What to raise for a GGUF file that isn't there."""
    folder, owner = _folder(str(Path(path).parent)), OWNER.fullmatch(path)
    names = [] if folder is None else [each.name for each in folder.glob(f"*{GGUF}")]
    remedy = "check the path, or for a file of the Hub "
    if names:
        remedy = f"use one of that folder's, {those_there(Path(path).name, names)}"
    elif owner is not None:
        remedy += f"use model={owner[1]!r} with gguf_file={owner[2]!r}"
    else:
        remedy += "name its repository, with gguf_file for which of the files there it is"
    return ModelNotFoundError(
        f"A GGUF file is named by its path, but there is none at {shortened(repr(path))}: {remedy}."
    )


def those_there(name: str, files: Sequence[str]) -> str:
    """The names of files that are there, those first that are most like one that isn't."""
    found = sorted(files)
    found.sort(key=lambda each: SequenceMatcher(None, name, each).ratio(), reverse=True)
    more = len(found) - FEW
    return ", ".join(found[:FEW]) + (f" and {more} more" if more > 0 else "")


def _hint(model_id: str) -> str:
    """What a name that is no model's seems to be meant for."""
    if nearest(model_id, [POCKET]):
        return f" Did you mean {POCKET!r}?"
    if OLLAMA.fullmatch(model_id):
        return (
            " It is written as Ollama's names are: those of the Hub have an owner and no colon, "
            "such as 'Qwen/Qwen2.5-7B-Instruct'."
        )
    if _is_file(model_id):
        return " It is a file: name the folder that it lies in."
    return ""


def _folder(name: str) -> Path | None:
    """The local folder of a name; None if there is none."""
    path = local_path(name)
    return path if path is not None and path.is_dir() else None


def _gguf(name: str) -> Path | None:
    """The GGUF file of a name; None if there is none."""
    return local_path(name) if name.casefold().endswith(GGUF) and _is_file(name) else None


def is_path(name: str) -> bool:
    """Whether a name can be a path alone, and no repository's."""
    return name.startswith((".", "/", "~"))


def _is_file(name: str) -> bool:
    path = local_path(name)
    return path is not None and path.is_file()


def local_path(name: str) -> Path | None:
    """What is there by a name; None if nothing is."""
    try:
        path = Path(name).expanduser()
        # A file by the name that it has here: in the Hub's cache that leads to one without an end.
        return path.resolve() if path.is_dir() else path.absolute() if path.exists() else None
    # Nobody's home, a name that is too long, characters that no name can have: nothing's name.
    except (OSError, RuntimeError, ValueError):
        return None


def shortened(text: str, limit: int = 400) -> str:
    """What may have been typed or sent by anybody, at a length that one can read."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def _is_known(model_id: str, revision: str | None) -> bool:
    try:
        cached = try_to_load_from_cache(model_id, CONFIG, revision=revision)
        return isinstance(cached, str) or file_exists(model_id, CONFIG, revision=revision)
    except Exception as error:  # of the name, the Hub or the network, by whatever library it uses
        raise not_found(model_id, error) from error
