"""Backends by name, and what the engine does with one that knows nothing of transformers."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, LoadOptions, Request
from langchain_amulet.engine.backends import (
    BACKENDS,
    Backend,
    LoadedModel,
    ModelInfo,
    check_backend,
    import_backend,
    load,
    register,
)
from langchain_amulet.engine.backends.huggingface.causal_lm import ForwardSignature
from langchain_amulet.engine.backends.uncached import UncachedBackend, UncachedModel
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    GenerationError,
    RequestError,
    UnsupportedModelError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Stream, steer
from support.registries import installed, restored
from support.tiny_engine import AMULET, ids_of

VOCABULARY, CONTEXT = 128, 512
GREEDY = SamplingParams(temperature=0.0)


class Hashed(UncachedModel):
    """Logits that the whole sequence decides, without any network."""

    def __init__(self, context: int | None = CONTEXT, streams: int | None = None) -> None:
        super().__init__(None, ModelInfo(VOCABULARY, VOCABULARY, context, max_streams=streams))

    def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([self.row(ids) for ids in sequences])

    def row(self, ids: Sequence[int]) -> Tensor:
        seed = sum(token * 31**place for place, token in enumerate(ids[-5:]))
        return 2.0 * torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed))


def llama() -> Any:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.4, **shape, **heads)
    ).eval()


def request_for(seed: int = 0, max_tokens: int = 8, plan: Plan = AMULET, **more: Any) -> Request:
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, VOCABULARY, (12,), generator=generator).tolist())
    prompts = tuple((*ids, 5, 6, 9) if stream.preferences else (*ids, 9) for stream in plan.streams)
    return Request(prompts, plan, more.pop("sampling", GREEDY), max_tokens, **more)


def by_hand(model: Hashed, request: Request) -> list[int]:
    streams, tokens = [list(prompt) for prompt in request.prompts], list[int]()
    for _ in range(request.max_tokens):
        scores = steer(model.next_logits(streams).log_softmax(-1), request.plan).scores
        tokens.append(int(scores.argmax()))
        for ids in streams:
            ids.append(tokens[-1])
    return tokens


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(Hashed(), max_rows=6) as engine:
        yield engine


# --- a model that is a function ----------------------------------------------


def test_a_function_of_tokens_decodes_as_its_formula_says_alone_and_together(
    engine: Engine,
) -> None:
    requests = [request_for(seed, 6 + seed) for seed in range(5)]
    expected = [by_hand(Hashed(), request) for request in requests]
    streams = [engine.submit(request) for request in requests]
    assert [[token.id for token in stream] for stream in streams] == expected
    assert engine.stats().rows == 0


def test_a_function_of_tokens_scores_what_it_decodes_by(engine: Engine) -> None:
    request = request_for()
    tokens = ids_of(engine, request)
    scored = engine.score(request.prompts, tokens).result()
    for place in range(len(tokens)):
        sequences = [(*prompt, *tokens[:place]) for prompt in request.prompts]
        expected = Hashed().next_logits(sequences).log_softmax(-1)
        torch.testing.assert_close(scored[:, place], expected)


def test_a_model_s_limits_hold_whatever_runs_it() -> None:
    with Engine(Hashed(context=16, streams=1)) as engine:
        with pytest.raises(ContextLengthError, match="context of 16"):
            engine.submit(request_for(max_tokens=9))
        with pytest.raises(RequestError, match="at most 1 of them by this model"):
            engine.submit(request_for(max_tokens=1))
        assert len(ids_of(engine, request_for(max_tokens=3, plan=Plan.plain()))) == 3


def test_logits_of_the_wrong_shape_are_named() -> None:
    class Narrow(Hashed):
        def row(self, ids: Sequence[int]) -> Tensor:
            return super().row(ids)[:7]

    with Engine(Narrow()) as engine, pytest.raises(GenerationError, match=r"128 logits .* \[2, 7"):
        ids_of(engine, request_for())


def test_what_a_model_gives_is_its_own_and_is_never_written_to() -> None:
    class Constant(Hashed):
        logits = torch.linspace(0, 1, VOCABULARY).expand(2, VOCABULARY).contiguous()

        def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
            return self.logits[: len(sequences)]

    before = Constant.logits.clone()
    with Engine(Constant()) as engine:
        assert len(ids_of(engine, request_for())) == 8
    assert torch.equal(Constant.logits, before)


def test_beams_wide_enough_find_the_likeliest_of_all_answers() -> None:
    """With as many beams as there are beginnings none is ever lost."""

    class Small(Hashed):
        def row(self, ids: Sequence[int]) -> Tensor:
            return super().row(ids).index_fill(0, torch.arange(6, VOCABULARY), -torch.inf)

    def total(prompt: Sequence[int], ids: Sequence[int]) -> float:
        begun = [[*prompt, *ids[:length]] for length in range(len(ids))]
        rows = Small().next_logits(begun).log_softmax(-1)
        return float(rows.gather(1, torch.tensor(ids)[:, None]).sum())

    stop = 2
    going_on = [token for token in range(6) if token != stop]
    for seed, penalty in itertools.product(range(4), (0.0, 1.0, 2.0)):
        request = replace(request_for(seed, 3, Plan.plain()), stop_ids=frozenset({stop}))
        begun = [*itertools.product(going_on, repeat=1), *itertools.product(going_on, repeat=2), ()]
        answers = [(*ids, stop) for ids in begun] + [*itertools.product(going_on, repeat=3)]
        scores = {ids: total(request.prompts[0], ids) / len(ids) ** penalty for ids in answers}
        best = max(scores, key=scores.__getitem__)
        with Engine(Small(), max_rows=64) as engine:
            found = engine.search(request, 64, penalty).result()
        assert tuple(token.id for token in found.tokens) == tuple(t for t in best if t != stop)
        assert found.score == pytest.approx(scores[best], abs=1e-5)
        assert found.finish.reason == ("stop" if best[-1] == stop else "length")


def test_beam_search_is_refused_by_the_name_of_a_model_whose_backend_cannot() -> None:
    class Searchless(UncachedBackend):
        beams = Backend.beams  # type: ignore[assignment]

    class HashedSearchless(Hashed):
        def new_backend(self, max_rows: int, *others: int | None) -> Backend:
            return Searchless(self, max_rows)

    refused = pytest.raises(RequestError, match="but that of HashedSearchless can't")
    with Engine(HashedSearchless()) as engine, refused:
        engine.search(request_for(plan=Plan.plain()), beams=2)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_search_among_logits_that_are_none_fails_alone(engine: Engine, value: float) -> None:
    class Broken(Hashed):
        def row(self, ids: Sequence[int]) -> Tensor:
            return super().row(ids) if len(ids) < 15 else torch.full((VOCABULARY,), value)

    with Engine(Broken()) as broken:
        beside = broken.submit(request_for(1, 2, Plan.plain()))
        with pytest.raises(GenerationError, match="finite logit"):
            broken.search(request_for(0, 8, Plan.plain()), beams=3).result()
        assert len(list(beside)) == 2


def test_a_request_that_cannot_join_fails_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    join = UncachedBackend.join

    def too_little(backend: UncachedBackend, prompts: Any, max_tokens: int, scope: Any) -> Any:
        if max_tokens == 13:
            raise MemoryError("no room")
        return join(backend, prompts, max_tokens, scope)

    monkeypatch.setattr(UncachedBackend, "join", too_little)
    staying = engine.submit(request_for(0, 60))
    next(staying)
    with pytest.raises(GenerationError, match="no room"):
        ids_of(engine, request_for(1, 13))
    assert len(list(staying)) == 59
    assert engine.stats().failed == 1


def test_models_of_unlike_backends_decode_together(engine: Engine) -> None:
    llama_engine = Engine(HuggingFaceModel(llama()))
    held = engine.attach("llama", llama_engine)
    plan = Plan(
        streams=(Stream(), Stream(model="llama")),
        anchor=0,
        contrasts=(Contrast(1.0, 1, 0),),
        reference=((0, 1.0),),
    )
    request = request_for(plan=plan)
    (first, *_), (second, *_) = (
        one.score(request.prompts[:1], (3,)).result()[0] for one in (engine, llama_engine)
    )
    expected = int(steer(torch.stack([first, second]), plan).scores.argmax())
    assert ids_of(engine, request)[0] == expected and held


# --- models of transformers --------------------------------------------------


def test_either_backend_decodes_the_same_tokens() -> None:
    found, model = [], llama()
    for name in ("batched", "sequential"):
        loaded = HuggingFaceModel(model, backend=name)
        assert loaded.info.shares_pass == (name == "batched")
        with Engine(loaded) as engine:
            found.append(ids_of(engine, request_for(max_tokens=24)))
    assert found[0] == found[1]


def test_a_backend_that_cannot_run_a_model_is_refused_with_the_reason() -> None:
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=4)
    with pytest.raises(UnsupportedModelError, match=r"batched backend .* backend='auto'"):
        HuggingFaceModel(BloomForCausalLM(config).eval(), backend="batched")


def test_a_backend_of_something_else_is_none_for_a_model_of_transformers() -> None:
    with pytest.raises(ConfigurationError, match="auto, batched, sequential, not 'uncached'"):
        HuggingFaceModel(llama(), backend="uncached")


def test_what_may_be_known_of_a_model_is_read_off_it() -> None:
    model = llama()
    model.generation_config.eos_token_id = [7, 9]
    info = HuggingFaceModel(model).info
    assert (info.vocabulary_size, info.logits_width) == (VOCABULARY, VOCABULARY)
    assert (info.context_length, info.stop_ids) == (2048, {7, 9})
    assert (info.device, info.dtype, info.shares_pass) == ("cpu", "float32", True)


@pytest.mark.parametrize("backend", ["batched", "sequential"])
@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_cache_is_passed_by_whichever_name_a_model_has_for_it(name: str, backend: str) -> None:
    """As transformers names it before version 5.40, and from then on."""
    request = request_for(max_tokens=12)
    with Engine(HuggingFaceModel(llama(), backend=backend)) as engine:
        expected = ids_of(engine, request)
    model = llama()
    for module in (model, model.model):
        module.forward = renamed(module, name)
    assert ForwardSignature.of(model).cache == name
    with Engine(HuggingFaceModel(model, backend=backend)) as engine:
        assert ids_of(engine, request) == expected


def renamed(module: Any, name: str) -> Any:
    """A module's forward, which takes and gives its cache by another name than it does inside."""
    forward, own = module.forward, ForwardSignature.of(module).cache

    def by_name(*args: Any, **given: Any) -> Any:
        if name == own or name not in given:  # the library calls its own modules as ever
            return forward(*args, **given)
        output = forward(*args, **{own if key == name else key: it for key, it in given.items()})
        return SimpleNamespace(**{name if key == own else key: output[key] for key in output})

    parameters = inspect.signature(forward).parameters.values()
    said = [each.replace(name=name) if each.name == own else each for each in parameters]
    by_name.__signature__ = inspect.Signature(said)  # type: ignore[attr-defined]
    return by_name


# --- by name -----------------------------------------------------------------


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The backends of this process are the same after each test."""
    with restored(BACKENDS):
        yield


def hashed(model_id: str, options: LoadOptions) -> Hashed:
    return Hashed(context=int(model_id))


def test_the_package_s_own_backends_have_their_names() -> None:
    assert {"auto", "batched", "sequential"} <= set(BACKENDS)


def test_what_is_registered_loads_models_by_its_name() -> None:
    assert register("sized")(hashed) is hashed
    check_backend("sized")
    assert load("64", LoadOptions(backend="sized")).info.context_length == 64


def test_the_names_of_the_package_s_own_backends_are_taken() -> None:
    with pytest.raises(ConfigurationError, match=r"'batched' is .*load_huggingface already"):
        register("batched")(hashed)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "1st"])
def test_a_name_that_could_not_be_typed_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits and hyphens"):
        register(name)(hashed)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigurationError, match=r"one of .*batched.*did you mean 'sequential'"):
        check_backend("secuential")
    with pytest.raises(ConfigurationError, match="backend must be one of"):
        load("64", LoadOptions(backend="sized"))


def test_what_loads_no_model_is_refused() -> None:
    register("text")(lambda model_id, options: "a model")  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigurationError, match="LoadedModel, but 'text' gave str for 'it'"):
        load("it", LoadOptions(backend="text"))


def test_what_is_not_called_with_a_name_and_options_is_refused_before_it_loads() -> None:
    with pytest.raises(
        ConfigurationError, match=r"parameters of 'bare' are \(\).*def load\(model_id"
    ):
        register("bare")(lambda: Hashed())  # type: ignore[arg-type,misc]
    assert "bare" not in BACKENDS


def test_a_backend_that_fails_to_load_is_named() -> None:
    @register("burning")
    def burning(model_id: str, options: LoadOptions) -> LoadedModel:
        raise OSError("disk on fire")

    with pytest.raises(
        ConfigurationError, match="'burning', asked for 'it', raised OSError: disk"
    ) as e:
        load("it", LoadOptions(backend="burning"))
    assert isinstance(e.value.__cause__, OSError)


def test_only_who_may_name_code_has_it_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_backend.py").write_text("def load(model_id, options): ...\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="not 'found_backend:load': import and register"):
        check_backend("found_backend:load")
    assert "found_backend" not in sys.modules
    for _ in range(2):
        assert import_backend("found_backend:load") == "found_backend:load"
    assert BACKENDS["found_backend:load"].__name__ == "load"
    with pytest.raises(ConfigurationError, match="must be a function"):
        import_backend("found_backend:number")
    with pytest.raises(ConfigurationError, match="nowhere"):
        import_backend("nowhere:load")
    assert import_backend("batched") == "batched"
    with pytest.raises(ConfigurationError, match=r"'batched'\? Use one .* your own as module:name"):
        import_backend("batchd")


def test_a_backend_that_another_package_brings_loads_models(tmp_path: Path) -> None:
    code = "from functools import partial\nload = partial(print, end='')\nnumber = 3\n"
    entries = "[langchain_amulet.backends]\nbrought = bringing:load\nodd = bringing:number\n"
    with installed(tmp_path, "bringing", code, entries):
        with pytest.raises(ConfigurationError, match="'brought' gave NoneType"):
            load("", LoadOptions(backend="brought"))
        with pytest.raises(ConfigurationError, match=r"must be a function .* but 'odd' is 3"):
            load("", LoadOptions(backend="odd"))


def test_a_loaded_model_and_a_backend_say_what_they_lack() -> None:
    with pytest.raises(TypeError, match="new_backend"):
        LoadedModel()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="decode"):
        Backend(Hashed())  # type: ignore[abstract]
