"""A model that a vLLM server runs: its tokenizer and config are here, its weights are there.

Knows transformers' configs and what a server tells of itself. Doesn't know requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from langchain_amulet.engine.backends.base import Backend, LoadedModel, ModelInfo
from langchain_amulet.engine.loading.gguf import names_gguf
from langchain_amulet.engine.loading.hub import check_exists, resolve_model
from langchain_amulet.engine.loading.loader import TOO_LONG, loading
from langchain_amulet.engine.loading.model_info import context_length, declared_stops
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.engine.remote.answer_wire import REFUSED, TOKENIZER
from langchain_amulet.engine.remote.completion import completion
from langchain_amulet.engine.remote.http import Address, refusal, timeouts, unreachable
from langchain_amulet.engine.remote.request_wire import WIRE, fingerprint
from langchain_amulet.engine.request import Request
from langchain_amulet.errors import ConfigurationError, ModelNotFoundError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan, Stream
from langchain_amulet.validation.wording import quoted

VLLM = "vllm"
"""The backend's name."""

OPTIONS = {
    "device": "CUDA_VISIBLE_DEVICES in its environment",
    "dtype": "--dtype",
    "device_map": "--tensor-parallel-size or --pipeline-parallel-size",
    "quantization_config": "--quantization",
    "attn_implementation": "--attention-backend",
    "use_safetensors": "--load-format",
    "cuda_graphs": "--enforce-eager",
    "compile": "--compilation-config",
    "max_rows": "--max-num-seqs",
    "prefill_chunk": "--max-num-batched-tokens",
    "kv_cache_memory": "--kv-cache-memory-bytes",
}
"""Settings of a model in this process, and the server's option in place of each."""


@dataclass(frozen=True, eq=False)
class RemoteModel(LoadedModel):
    """A served model.

    Attributes:
        tokenizer: The one that the server has, too.
        served: What is known of the model.
        address: Where the server is.
        name: What the server calls it.
        fingerprint: That of the tokenizer, which the server compares with its own's.
    """

    tokenizer: Any
    served: ModelInfo
    address: Address
    name: str
    fingerprint: str

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
        ConfigurationError: There is no ``base_url``, a setting is the server's business, a GGUF
            file is named, or the server there doesn't steer or has another tokenizer.
        ModelNotFoundError: There is no such model, here or there.
        ServerError: The server doesn't answer.
    """
    if options.base_url is None:
        raise ConfigurationError(
            "backend='vllm' needs base_url, a server's address, but it is None: start one by "
            "langchain-amulet-vllm, and give base_url='http://localhost:8000/v1'."
        )
    _check_unused(options)
    address = Address(options.base_url, options.api_key)
    model_id = resolve_model(model_id)
    if names_gguf(model_id, options.gguf_file):
        raise ConfigurationError(
            f"A vLLM server's model must be one of Hugging Face's folders or repositories, but a "
            f"GGUF file is named ({options.gguf_file or model_id!r}): name the one that it was "
            "made of, or leave backend out to run the file here."
        )
    with loading(model_id):
        check_exists(model_id, options.revision)
        source = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
        config = AutoConfig.from_pretrained(model_id, **source)
        tokenizer = AutoTokenizer.from_pretrained(model_id, **source)
        tokenizer.deprecation_warnings[TOO_LONG] = True
        stops = declared_stops(_generation_config(model_id, config, options))
    with httpx.Client(headers=address.headers, timeout=timeouts()) as client:
        served = _served(client, address, model_id)
        said = _said_of_tokenizer(client, address, str(served["id"]))
    own = fingerprint(tokenizer.get_vocab())
    if not said.startswith(TOKENIZER + own):
        raise ConfigurationError(
            f"A model must be the one that its server has, but the tokenizer of {model_id!r} has "
            f"{own}, and that of the server at {address.base_url} another vocabulary. "
            f"{said.removeprefix(REFUSED)}"
        )
    size = int(config.get_text_config(decoder=True).vocab_size)
    limits = [context_length(config), served.get("max_model_len")]
    info = ModelInfo(
        vocabulary_size=size,
        logits_width=size,
        context_length=min((limit for limit in limits if limit is not None), default=None),
        stop_ids=stops,
        traces=False,
        backend=VLLM,
        device="server",
        dtype="server's",
    )
    return RemoteModel(tokenizer, info, address, str(served["id"]), own)


def _check_unused(options: LoadOptions) -> None:
    """Refuse settings that would change nothing here, as a server was started with its own."""
    for name, option in OPTIONS.items():
        value = getattr(options, name)
        if value != getattr(LoadOptions(), name):
            raise ConfigurationError(
                f"{name} is for a model in this process, but is {quoted(value)} for a vLLM "
                f"server's: leave it out, and start the server with {option}."
            )


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


def _said_of_tokenizer(client: httpx.Client, address: Address, name: str) -> str:
    """How a server refuses tokens of nobody's tokenizer: by naming its own, see `TOKENIZER`.

    A server that doesn't steer would pass over what it is asked, and so is refused.
    """
    plan = Plan(streams=(Stream(),), anchor=0, reference=((0, 1.0),))
    probe = Request(((0,),), plan, SamplingParams(temperature=0.0), max_tokens=1)
    asked = {**completion(name, probe, tokenizer=""), "stream": False}
    try:
        answer = client.post(address.of("completions"), json=asked)
    except httpx.HTTPError as error:
        raise unreachable(address, error) from error
    choices = answer.json()["choices"] if answer.status_code == httpx.codes.OK else ()
    said = [str(each.get("stop_reason")) for each in choices]
    if not said or not said[0].startswith(TOKENIZER):
        raise ConfigurationError(
            f"A server must steer, but the one at {address.base_url} doesn't, or not by version "
            f"{WIRE} of the wire: start it by langchain-amulet-vllm, of this package's release."
        )
    return said[0]
