"""A model that a vLLM server runs: its tokenizer and config are here, its weights are there.

Knows transformers' configs and what a server tells of itself. Doesn't know requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from langchain_amulet.engine.backends.base import Backend, LoadedModel, ModelInfo
from langchain_amulet.engine.loading.hub import check_exists, resolve_model
from langchain_amulet.engine.loading.loader import TOO_LONG, loading
from langchain_amulet.engine.loading.model_info import context_length, declared_stops
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.engine.remote.http import Address, refusal, timeouts, unreachable
from langchain_amulet.engine.remote.request_wire import ARGUMENT, WIRE
from langchain_amulet.errors import ConfigurationError, ModelNotFoundError

VLLM = "vllm"
"""The backend's name."""


@dataclass(frozen=True, eq=False)
class RemoteModel(LoadedModel):
    """A served model.

    Attributes:
        tokenizer: The one that the server has, too.
        served: What is known of the model.
        address: Where the server is.
        name: What the server calls it.
    """

    tokenizer: Any
    served: ModelInfo
    address: Address
    name: str

    @property
    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self.served

    def new_backend(
        self, max_rows: int, prefill_chunk: int, kv_cache_memory: int | None = None
    ) -> Backend:
        """There is none: a server decodes whole requests, see `RemoteEngine`."""
        raise ConfigurationError(
            f"An engine in this process can't run {self.name!r}, which the server at "
            f"{self.address.base_url} does: use RemoteEngine, or another backend."
        )


def load_vllm(model_id: str, options: LoadOptions) -> RemoteModel:
    """Load a model's tokenizer and config, and make sure that a server steers it.

    Raises:
        ConfigurationError: There is no ``base_url``, or the server there doesn't steer.
        ModelNotFoundError: There is no such model, here or there.
        ServerError: The server doesn't answer.
    """
    if options.base_url is None:
        raise ConfigurationError(
            "backend='vllm' needs base_url, a server's address, but it is None: start one by "
            "langchain-amulet-vllm, and give base_url='http://localhost:8000/v1'."
        )
    address = Address(options.base_url, options.api_key)
    model_id = resolve_model(model_id)
    with loading(model_id):
        check_exists(model_id, options.revision)
        source = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        config = AutoConfig.from_pretrained(model_id, **source)
        tokenizer = AutoTokenizer.from_pretrained(model_id, **source)
        tokenizer.deprecation_warnings[TOO_LONG] = True
        stops = declared_stops(_generation_config(model_id, config, options))
    with httpx.Client(headers=address.headers, timeout=timeouts()) as client:
        served = _served(client, address, model_id)
        _check_steering(client, address, str(served["id"]))
    size = int(config.get_text_config(decoder=True).vocab_size)
    limits = [context_length(config), served.get("max_model_len")]
    info = ModelInfo(
        vocabulary_size=size,
        logits_width=size,
        context_length=min((limit for limit in limits if limit is not None), default=None),
        stop_ids=stops,
        backend=VLLM,
        device="server",
        dtype="server's",
    )
    return RemoteModel(tokenizer, info, address, str(served["id"]))


def _generation_config(model_id: str, config: Any, options: LoadOptions) -> Any:
    try:
        return GenerationConfig.from_pretrained(model_id, revision=options.revision or "main")
    except OSError:  # a model needn't have one; its config says enough then
        return GenerationConfig.from_model_config(config)


def _served(client: httpx.Client, address: Address, model_id: str) -> dict[str, Any]:
    """What the server tells of the model: of the only one that it has, or of the one so named."""
    try:
        answer = client.get(address.of("models"))
    except httpx.HTTPError as error:
        raise unreachable(address, error) from error
    if answer.status_code != httpx.codes.OK:
        raise refusal(address, answer.status_code, answer.text)
    models: list[dict[str, Any]] = answer.json()["data"]
    named = [each for each in models if model_id in (each["id"], each.get("root"))]
    if not named and len(models) != 1:
        names = ", ".join(sorted(str(each["id"]) for each in models))
        raise ModelNotFoundError(
            f"The server at {address.base_url} must have the model, but {model_id!r} isn't among "
            f"{names}: name one of those, or start a server for it."
        )
    return (named or models)[0]


def _check_steering(client: httpx.Client, address: Address, name: str) -> None:
    """Refuse a server that would pass over what it is asked, and so not steer.

    It is sent what no server that steers accepts, and has to say why in the words of this release.
    """
    asked = {"model": name, "prompt": [[0]], "max_tokens": 1, "vllm_xargs": {ARGUMENT: ""}}
    try:
        answer = client.post(address.of("completions"), json=asked)
    except httpx.HTTPError as error:
        raise unreachable(address, error) from error
    if answer.status_code != httpx.codes.BAD_REQUEST or f"version {WIRE} of" not in answer.text:
        raise ConfigurationError(
            f"A server must steer, but the one at {address.base_url} doesn't, or not by version "
            f"{WIRE} of the wire: start it by langchain-amulet-vllm, of this package's release."
        )
