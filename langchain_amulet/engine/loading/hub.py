"""Whether there is a model of a name, on this machine or on the Hub, found out in one question.

Knows folders and Hugging Face's Hub. Doesn't know what a model is made of.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import file_exists, try_to_load_from_cache

from langchain_amulet.errors import ModelNotFoundError
from langchain_amulet.validation import message_of, nearest

CONFIG = "config.json"
POCKET = "pocket"
"""The name of the model that comes with the package."""

POCKET_FOLDER = Path(__file__).parents[2] / "pocket"
"""Where that model lies."""


def resolve_model(name: str) -> str:
    """What to load for a model's name: the bundled folder, a local folder, or a Hub id."""
    if name == POCKET:
        return str(POCKET_FOLDER)
    path = Path(name).expanduser()
    return str(path.resolve()) if path.is_dir() else name


def check_exists(model_id: str, revision: str | None = None) -> None:
    """Make sure that there is such a model, before a library tries and tries again to fetch it.

    ``from_pretrained`` asks the Hub five times with growing pauses, 24 seconds in all, for a file
    that isn't cached. This asks for one file's head, once, and not at all if it is cached.

    Raises:
        ModelNotFoundError: There is no such folder or repository, or it has no config, or the Hub
            can't be reached.
    """
    folder = Path(model_id)
    if folder.is_dir():
        if not (folder / CONFIG).exists():
            raise not_found(model_id, f"it has no {CONFIG}")
    elif model_id.startswith((".", "/", "~")):
        raise not_found(model_id, "there is no such folder")
    elif not _is_known(model_id, revision):
        raise not_found(model_id, f"the Hub has no such repository, revision or {CONFIG}")


def not_found(model_id: str, reason: object) -> ModelNotFoundError:
    """What to raise for a model that can't be had."""
    is_local = Path(model_id).exists()
    place = "folder" if is_local else "folder or Hub repository"
    offline = (
        ""
        if is_local
        else f" Without a network there are {POCKET!r}, which comes with this package, folders, "
        "and what is cached; HF_HUB_OFFLINE=1 keeps the Hub from being asked."
    )
    hint = f" Did you mean {POCKET!r}?" if nearest(model_id, [POCKET]) else ""
    return ModelNotFoundError(
        f"A model must be a {place} with a config, a tokenizer and safetensors weights, but "
        f"{model_id!r} isn't: {message_of(reason)}.{hint} Check the name, "
        f"the revision and the access rights.{offline}"
    )


def _is_known(model_id: str, revision: str | None) -> bool:
    try:
        cached = try_to_load_from_cache(model_id, CONFIG, revision=revision)
        return isinstance(cached, str) or file_exists(model_id, CONFIG, revision=revision)
    except Exception as error:  # of the name, the Hub or the network, by whatever library it uses
        raise not_found(model_id, error) from error
