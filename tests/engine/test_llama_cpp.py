"""GGUF files by llama.cpp: the same answers, prefixes shared, memory bounded, and what is refused.

The weights are those of the bundled model, which was trained, so that what it says is decided.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

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


def test_a_library_of_another_kind_is_refused_by_name() -> None:
    origin = importlib.util.find_spec("_ctypes").origin  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match="C interface"):
        library.LlamaLibrary(Path(str(origin)))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"langchain-amulet\[llama\]"):
        library.llama_library.__wrapped__()


def test_a_file_that_is_none_is_refused_with_what_the_library_says(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(UnsupportedModelError, match=r"broken\.gguf"):
        load(str(tmp_path / "broken.gguf"))


def test_a_folder_of_several_files_needs_the_name_of_one(path: Path, tmp_path: Path) -> None:
    for name in ("one.gguf", "two.gguf"):
        (tmp_path / name).symlink_to(path)
    with pytest.raises(ConfigurationError, match=r"gguf_file.*one\.gguf, two\.gguf"):
        load(str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=r"no file 'three\.gguf'"):
        load(str(tmp_path), LoadOptions(gguf_file="three.gguf"))
    assert load(str(tmp_path), LoadOptions(gguf_file="two.gguf")).info.backend == "llama_cpp"


@pytest.mark.parametrize(
    "chosen",
    [
        {"device": "meta"},
        {"dtype": "float64"},
        {"attn_implementation": "eager"},
        {"device_map": "auto"},
    ],
)
def test_settings_that_llama_cpp_has_no_use_for_are_refused(path: Path, chosen: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(chosen))):
        load(str(path), LoadOptions(**chosen))


def test_a_file_is_dequantised_for_the_backend_of_hugging_face_where_that_is_asked_for(
    path: Path, reference: Any
) -> None:
    loaded = load(str(path), LoadOptions(backend="batched", dtype="float32", pack=False))
    assert isinstance(loaded, HuggingFaceModel)
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(ids).logits, reference(ids).logits)
