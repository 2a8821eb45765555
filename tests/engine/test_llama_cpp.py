"""GGUF files by llama.cpp: the same answers, prefixes shared, memory bounded, and what is refused.

The weights are those of the bundled model, which was trained, so that what it says is decided.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.hf_api import api as hub
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from langchain_amulet.engine import Engine, HuggingFaceModel, LoadOptions, Request, load
from langchain_amulet.engine.backends import CacheScope
from langchain_amulet.engine.backends.llama_cpp import library
from langchain_amulet.engine.backends.llama_cpp.model import LlamaCppModel
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    MissingExtraError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan, steer
from support.gguf_files import rounded, write_gguf
from support.tiny_engine import AMULET, ids_of

MODULE = "langchain_amulet.engine.backends.llama_cpp"
QUESTIONS = ("How do I sleep better?", "How can I save money?", "How do I learn a language?")
PREFERENCES = ("Keep it short.", "Be uplifting.", "Be creative.")
GREEDY = SamplingParams(temperature=0.0)
TIE = 0.02
"""Closer scores than this, in nats times the strength, may be decided by llama.cpp's rounding of
activations to float16."""


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(POCKET_FOLDER)


@pytest.fixture(scope="module")
def reference() -> Any:
    return rounded(AutoModelForCausalLM.from_pretrained(POCKET_FOLDER))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, reference: Any, tokenizer: Any) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "pocket.gguf", reference, tokenizer)


@pytest.fixture(scope="module")
def model(path: Path) -> LlamaCppModel:
    return LlamaCppModel(path, "float32")


@pytest.fixture
def engine(model: LlamaCppModel) -> Iterator[Engine]:
    with Engine(model, max_rows=6, prefill_chunk=16) as engine:
        yield engine


def request_for(tokenizer: Any, number: int, plan: Plan = AMULET, **more: Any) -> Request:
    question = {"role": "user", "content": QUESTIONS[number % 3]}
    system = {"role": "system", "content": PREFERENCES[number % 3]}
    base, prompted = (
        tuple(tokenizer.apply_chat_template(turns, add_generation_prompt=True)["input_ids"])
        for turns in ([question], [system, question])
    )
    prompts = tuple(prompted if stream.preferences else base for stream in plan.streams)
    tokens = more.pop("max_tokens", 32)
    return Request(prompts, plan, GREEDY, tokens, stop_ids=frozenset({2}), **more)


def margin(model: Any, request: Request, tokens: list[int], other: int) -> float:
    """By how much the next token after some is preferred to another one, in float32."""
    with torch.inference_mode():
        logits = [
            model(torch.tensor([[*prompt, *tokens[:-1]]])).logits[0, -1]
            for prompt in request.prompts
        ]
    scores = steer(torch.stack(logits).float().log_softmax(-1), request.plan).scores
    return float(scores[tokens[-1]] - scores[other])


# --- the same answers ------------------------------------------------------------


def test_greedy_answers_of_a_float16_file_are_those_of_its_weights_in_float32_but_for_ties(
    reference: Any, tokenizer: Any, engine: Engine
) -> None:
    plans = [AMULET, AMULET, AMULET, Plan.plain()]
    requests = [request_for(tokenizer, number, plan) for number, plan in enumerate(plans)]
    streams = [engine.submit(request) for request in requests]
    found = [[token.id for token in stream] for stream in streams]
    with Engine(HuggingFaceModel(reference), max_rows=6) as other:
        expected = [ids_of(other, request) for request in requests]
    for request, ours, theirs in zip(requests, found, expected, strict=True):
        unlike = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
        if unlike:
            place = unlike[0]
            gap = margin(reference, request, theirs[: place + 1], ours[place])
            assert gap < TIE, f"token {place} is {ours[place]}, not {theirs[place]}: {gap} nats"
        else:
            assert ours == theirs
    assert any(ours == theirs for ours, theirs in zip(found, expected, strict=True))


def test_scores_of_a_given_answer_are_those_of_the_same_weights(
    reference: Any, tokenizer: Any, engine: Engine
) -> None:
    request = request_for(tokenizer, 0)
    answer = ids_of(engine, request)
    with Engine(HuggingFaceModel(reference), max_rows=6) as other:
        expected = other.score(request.prompts, answer).result()
    ids = torch.tensor(answer)[:, None]
    for ours, theirs in zip(engine.score(request.prompts, answer).result(), expected, strict=True):
        torch.testing.assert_close(ours.gather(1, ids), theirs.gather(1, ids), atol=0.02, rtol=0.02)


def test_requests_that_join_while_others_decode_answer_as_they_do_alone(
    tokenizer: Any, engine: Engine
) -> None:
    requests = [request_for(tokenizer, number, max_tokens=12) for number in range(9)]
    alone = [ids_of(engine, request) for request in requests[:3]]
    streams = [engine.submit(request) for request in requests]
    together = [[token.id for token in stream] for stream in streams]
    assert together == alone * 3


# --- prefixes and memory ---------------------------------------------------------


def test_streams_of_a_request_compute_what_they_have_in_common_once(
    tokenizer: Any, engine: Engine
) -> None:
    first, second = request_for(tokenizer, 0).prompts
    both = Request((first, first), AMULET, GREEDY, 2, cache_scope=CacheScope("own", keeps=False))
    ids_of(engine, both)
    assert engine.stats().prefill_tokens == len(first) - 1
    assert len(second) != len(first)


def test_a_later_request_finds_what_an_earlier_one_of_its_scope_computed(
    tokenizer: Any, engine: Engine
) -> None:
    def cached(scope: CacheScope) -> list[int]:
        stream = engine.submit(request_for(tokenizer, 0, max_tokens=2, cache_scope=scope))
        list(stream)
        return list(stream.cached_tokens)

    assert not any(cached(CacheScope("ada")))
    assert all(cached(CacheScope("ada")))
    assert not any(cached(CacheScope("bob")))
    assert not any(cached(CacheScope("eve", keeps=False)))
    assert not any(cached(CacheScope("eve", keeps=False)))


def test_a_request_that_can_never_fit_is_refused_with_figures(
    model: LlamaCppModel, tokenizer: Any
) -> None:
    each = model._weights.bytes_per_token("float32")
    with Engine(model, max_rows=4, kv_cache_memory=100 * each) as engine:
        with pytest.raises(ContextLengthError, match=rf"100 tokens of {each} bytes.*max_tokens=90"):
            engine.submit(request_for(tokenizer, 0, max_tokens=90))
        assert ids_of(engine, request_for(tokenizer, 0, max_tokens=4))


@pytest.mark.parametrize("room", [0, 1, 45])
def test_less_memory_than_rows_is_refused_with_figures_and_ends_no_process(
    model: LlamaCppModel, tokenizer: Any, room: int
) -> None:
    each = model._weights.bytes_per_token("float32")
    with (
        Engine(model, max_rows=64, kv_cache_memory=max(1, room * each)) as engine,
        pytest.raises(ContextLengthError, match=rf"{room} tokens of {each} bytes"),
    ):
        engine.submit(request_for(tokenizer, 0, max_tokens=90))


def test_requests_wait_for_memory_and_all_are_answered(
    model: LlamaCppModel, tokenizer: Any
) -> None:
    each = model._weights.bytes_per_token("float32")
    requests = [request_for(tokenizer, number, max_tokens=8) for number in range(8)]
    with Engine(model, max_rows=16, kv_cache_memory=128 * each) as engine:
        streams = [engine.submit(request) for request in requests]
        assert all(list(stream) for stream in streams)
        stats = engine.stats()
        assert (stats.rows, stats.failed) == (0, 0)
        assert stats.kv_cache_tokens <= 128


def test_a_cancelled_request_frees_its_rows(tokenizer: Any, engine: Engine) -> None:
    with engine.submit(request_for(tokenizer, 0, max_tokens=500)) as stream:
        next(stream)
    assert ids_of(engine, request_for(tokenizer, 1, max_tokens=4))
    assert engine.stats().rows == 0


# --- what is refused -------------------------------------------------------------


def test_a_library_whose_structs_are_others_is_refused_by_name() -> None:
    given = library.llama_library().c.llama_context_default_params()
    library.check_defaults(given, library.CONTEXT_DEFAULTS)
    for name, value in library.CONTEXT_DEFAULTS.items():
        moved = {**library.CONTEXT_DEFAULTS, name: 7 if value is None else value + 1}
        with pytest.raises(ConfigurationError, match=rf"xllamacpp.*{name} of ContextParams"):
            library.check_defaults(given, moved)


def test_such_a_library_is_found_out_when_a_file_is_loaded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(library.MODEL_DEFAULTS, "main_gpu", 3)
    monkeypatch.setattr(f"{MODULE}.model.llama_library", library.llama_library.__wrapped__)
    with pytest.raises(ConfigurationError, match=r"xllamacpp [\d.]+ main_gpu of ModelParams"):
        load(str(path))


def test_a_library_of_another_kind_is_refused_by_name() -> None:
    origin = importlib.util.find_spec("_ctypes").origin  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match="C interface"):
        library.LlamaLibrary(Path(str(origin)))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"langchain-amulet\[llama\]"):
        library.llama_library.__wrapped__()


@pytest.mark.parametrize("backend", ["auto", "batched"])
def test_without_what_reads_its_tokenizer_the_extra_is_named_too(
    backend: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"gguf, .*langchain-amulet\[llama\]"):
        load(str(path), LoadOptions(backend=backend))


def test_a_file_that_is_none_is_refused_with_what_the_library_says(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(UnsupportedModelError, match=r"broken\.gguf"):
        load(str(tmp_path / "broken.gguf"))


def test_the_only_file_of_a_folder_is_the_model_and_its_later_parts_are_none(
    path: Path, tmp_path: Path
) -> None:
    (tmp_path / "only.gguf").symlink_to(path)
    (tmp_path / "only-00002-of-00002.gguf").write_bytes(b"")
    assert load(str(tmp_path)).info.backend == "llama_cpp"


def test_a_file_of_a_repository_is_found_by_its_name_and_revision(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the Hub's cache keeps it: a link to a file whose name says nothing."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cached, commit = tmp_path / "models--owner--name-GGUF", "c" * 40
    for folder in ("refs", "blobs", f"snapshots/{commit}"):
        (cached / folder).mkdir(parents=True)
    (cached / "refs/v2").write_text(commit)
    (cached / "blobs/0123").symlink_to(path)
    (cached / f"snapshots/{commit}/q4.gguf").symlink_to("../../blobs/0123")
    named = LoadOptions(gguf_file="q4.gguf", revision="v2")
    assert load("owner/name-GGUF", named).info.backend == "llama_cpp"
    with pytest.raises(ModelNotFoundError, match=r"no 'q8\.gguf': use one of .* q4\.gguf\.$"):
        load("owner/name-GGUF", replace(named, gguf_file="q8.gguf"))
    with pytest.raises(ModelNotFoundError, match="owner/name-GGUF"):
        load("owner/name-GGUF", replace(named, revision="v3"))
    with pytest.raises(ConfigurationError, match=r"gguf_file must say .*: use one of q4\.gguf\."):
        load("owner/name-GGUF", LoadOptions(backend="llama_cpp", revision="v2"))


class HubOfOne(BaseHTTPRequestHandler):
    """What the Hub answers of a repository that has two files, and of all that it hasn't."""

    def do_HEAD(self) -> None:
        is_known = self.path.startswith("/owner/name-GGUF/")
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound" if is_known else "RepoNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        is_known = self.path.startswith("/api/models/owner/name-GGUF/")
        files = [
            {"type": "file", "path": name, "size": 1, "oid": "0"}
            for name in ("README.md", "q4.gguf", "q6-00001-of-00002.gguf", "q6-00002-of-00002.gguf")
        ]
        self.send_response(200 if is_known else 404)
        self.end_headers()
        self.wfile.write(json.dumps(files).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The name of a repository with GGUF files, on a Hub of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubOfOne)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE",
        f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    monkeypatch.setattr(hub, "endpoint", url)
    yield "owner/name-GGUF"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_that_a_repository_hasn_t_is_told_by_those_that_it_has(repository: str) -> None:
    rule = r"has no 'q5\.gguf': use one of .* q4\.gguf, q6-00001-of-00002\.gguf\.$"
    with pytest.raises(ModelNotFoundError, match=rule):
        load(repository, LoadOptions(gguf_file="q5.gguf"))
    rule = r"gguf_file must say .* q4\.gguf, q6-00001-of-00002\.gguf\.$"
    with pytest.raises(ConfigurationError, match=rule):
        load(repository, LoadOptions(backend="llama_cpp"))


@pytest.mark.parametrize("named", [{"gguf_file": "q4.gguf"}, {"backend": "llama_cpp"}], ids=str)
@pytest.mark.parametrize("name", ["owner/none", "./none", "no/such/name"])
def test_what_is_no_repository_is_no_model_whatever_file_of_it_is_named(
    repository: str, name: str, named: dict[str, str]
) -> None:
    with pytest.raises(ModelNotFoundError, match=f"'{name}' isn't"):
        load(name, LoadOptions(**named))


def test_a_folder_of_several_files_needs_the_name_of_one(path: Path, tmp_path: Path) -> None:
    for name in ("one.gguf", "two.gguf"):
        (tmp_path / name).symlink_to(path)
    with pytest.raises(ConfigurationError, match=r"gguf_file.*one\.gguf, two\.gguf"):
        load(str(tmp_path))
    for name, there in (("tow", r"two\.gguf, one\.gguf"), ("oen", r"one\.gguf, two\.gguf")):
        rule = rf"has no '{name}\.gguf': use one of those that are there, {there}\.$"
        with pytest.raises(ModelNotFoundError, match=rule):
            load(str(tmp_path), LoadOptions(gguf_file=f"{name}.gguf"))
    assert load(str(tmp_path), LoadOptions(gguf_file="two.gguf")).info.backend == "llama_cpp"


@pytest.mark.parametrize("backend", ["auto", "llama_cpp", "batched"])
def test_a_path_where_no_file_is_is_refused_by_those_that_lie_beside_it(
    backend: str, path: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "poket.gguf"
    options = LoadOptions(backend=backend)
    with pytest.raises(ModelNotFoundError, match=r"there is none at .*: check the path, or"):
        load(str(missing), options)
    (tmp_path / "pocket.gguf").symlink_to(path)
    with pytest.raises(ModelNotFoundError, match=r"none at .*that folder's, pocket\.gguf\.$"):
        load(str(missing), options)


def test_a_server_of_vllm_s_has_no_such_file(path: Path) -> None:
    vllm = LoadOptions(backend="vllm", base_url="http://127.0.0.1:1/v1")
    for model, options in (
        (str(path), vllm),
        (str(path.parent), vllm),
        ("owner/name", replace(vllm, gguf_file=path.name)),
    ):
        with pytest.raises(ConfigurationError, match=r"vLLM server's .* GGUF file is named"):
            load(model, options)


def test_a_later_part_of_a_model_is_refused_by_the_first_one(path: Path, tmp_path: Path) -> None:
    name = "q4-00002-of-00003.gguf"
    (tmp_path / name).symlink_to(path)
    for model, options in (
        (str(tmp_path / name), LoadOptions()),
        (str(tmp_path), LoadOptions(gguf_file=name)),
        ("owner/name-GGUF", LoadOptions(gguf_file=name)),
    ):
        with pytest.raises(ConfigurationError, match=r"name '.*q4-00001-of-00003\.gguf'\.$"):
            load(model, options)


def test_a_file_is_named_once(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is a file itself: leave gguf_file out"):
        load(str(path), LoadOptions(gguf_file=path.name))


def test_weights_of_hugging_face_s_are_nothing_for_llama_cpp(path: Path, tmp_path: Path) -> None:
    llama = LoadOptions(backend="llama_cpp")
    with pytest.raises(ConfigurationError, match=r"llama\.cpp runs GGUF files.*leave backend out"):
        load(str(POCKET_FOLDER), llama)
    with pytest.raises(ConfigurationError, match=r"neither is nor has one"):
        load(str(tmp_path), llama)
    with pytest.raises(ConfigurationError, match=r"neither is nor has one"):
        load(__file__, llama)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "q4.gguf").symlink_to(path)
    with pytest.raises(ConfigurationError, match=r"gguf_file must say .*: use one of q4\.gguf"):
        load(str(tmp_path), llama)
    with pytest.raises(ModelNotFoundError, match=r"holds no GGUF file, so leave gguf_file out"):
        load(str(POCKET_FOLDER), LoadOptions(gguf_file="q4.gguf"))


@pytest.mark.parametrize(
    "chosen, value",
    [
        ({"device": "meta"}, "'meta'"),
        ({"dtype": "float64"}, "'float64'"),
        ({"dtype": "int8"}, "'int8'"),
        ({"attn_implementation": "eager"}, "'eager'"),
        ({"device_map": "auto"}, "'auto'"),
        ({"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}, "this BitsAndBytesConfig"),
        ({"compile": True}, "True"),
    ],
    ids=str,
)
def test_settings_that_llama_cpp_has_no_use_for_are_refused_with_what_to_do(
    path: Path, chosen: Any, value: str
) -> None:
    (name,) = chosen
    with pytest.raises(ConfigurationError, match=rf"^{name} .*{value}.*: (use|leave it out)"):
        load(str(path), LoadOptions(**chosen))


def test_a_dtype_of_the_environment_is_refused_by_the_variable_s_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_DTYPE", "int8")
    with pytest.raises(ConfigurationError, match=r"^LANGCHAIN_AMULET_DTYPE in .*not 'int8'"):
        load(str(path))


def test_a_dequantised_file_isn_t_quantised_in_another_way(path: Path) -> None:
    chosen = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    with pytest.raises(ConfigurationError, match=r"^quantization_config .*: leave it out"):
        load(str(path), LoadOptions(backend="batched", **chosen))


def test_a_file_is_dequantised_for_the_backend_of_hugging_face_where_that_is_asked_for(
    path: Path, reference: Any
) -> None:
    loaded = load(str(path), LoadOptions(backend="batched", dtype="float32", pack=False))
    assert isinstance(loaded, HuggingFaceModel)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(ids).logits, reference(ids).logits)
