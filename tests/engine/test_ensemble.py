"""Several models at once: each reads its own streams, and answers are as by their formula."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM, Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Pause, Request
from langchain_amulet.engine.ensemble_step import on_common_tokens
from langchain_amulet.errors import (
    CancelledError,
    ConfigurationError,
    ContextLengthError,
    GenerationError,
    RequestError,
)
from langchain_amulet.methods import (
    PAD,
    Amulet,
    Base,
    ContextSteering,
    DeRa,
    Drift,
    Guidance,
    Iterated,
    LinearAlignment,
    Method,
    Pref,
    ProxyTuning,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import steer
from support.tiny_engine import ids_of, vivid, wait_until

VOCABULARY, CONTEXT, POISON, ENDLESS = 128, 512, 127, 400
GREEDY = SamplingParams(temperature=0.0)
METHODS = [
    Base(),
    Pref(),
    Amulet(),
    Amulet.within(0.5),
    LinearAlignment(),
    LinearAlignment.original(),
    Iterated(lambda policy, base: torch.tanh(policy - base), updates=5),
    ContextSteering(),
    Drift((1.5, -0.5)),
    Drift((1.5, -0.5), model="expert"),
    PAD("expert"),
    PAD("expert", per_dimension=True),
    DeRa("expert", 0.0),
    DeRa("expert", 0.7),
    ProxyTuning("expert"),
    ProxyTuning("expert", "antiexpert", 0.8),
    ProxyTuning("expert", "alone"),
]
SINGLE = [method for method in METHODS if not method.plan([Guidance(), Guidance()]).models]
names = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def tiny(seed: int, vocabulary: int = VOCABULARY, context: int = CONTEXT) -> Any:
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1 + seed % 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
    config = Qwen2Config(vocab_size=vocabulary, max_position_embeddings=context, **shape, **heads)
    return vivid(Qwen2ForCausalLM(config))


def alone(seed: int) -> Any:
    """A model that decodes one request at a time."""
    torch.manual_seed(seed)
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=4)
    return BloomForCausalLM(config).eval()


@pytest.fixture(scope="module")
def models() -> dict[str | None, Any]:
    return {None: tiny(0), "expert": tiny(1), "antiexpert": tiny(2), "alone": alone(3)}


def engine_for(model: Any, **limits: int) -> Engine:
    return Engine(HuggingFaceModel(model), **limits)


@pytest.fixture
def engine(models: dict[str | None, Any]) -> Iterator[Engine]:
    with engine_for(models[None], prefill_chunk=8) as engine:
        engine.attached = attach_all(engine, models)  # type: ignore[attr-defined]
        yield engine


def attach_all(engine: Engine, models: dict[str | None, Any]) -> list[Any]:
    return [engine.attach(name, engine_for(model)) for name, model in models.items() if name]


def request_for(
    method: Method, seed: int = 0, max_tokens: int = 8, length: int = 12, **more: Any
) -> Request:
    """Streams that share a beginning; another model's have a prompt of another length."""
    plan = method.plan([Guidance(), Guidance()])
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, POISON, (length,), generator=generator).tolist()
    prompts = tuple(
        (*ids, *(20 + k for k in stream.preferences), *([7] * len(stream.model or "")), 9)
        for stream in plan.streams
    )
    return Request(prompts, plan, more.pop("sampling", GREEDY), max_tokens, **more)


@torch.inference_mode()
def uncached(models: dict[str | None, Any], request: Request) -> list[int]:
    """Greedy tokens, every position computed anew by every stream's own model."""
    streams, tokens = [list(prompt) for prompt in request.prompts], list[int]()
    readers = [models[stream.model] for stream in request.plan.streams]
    for _ in range(request.max_tokens):
        rows = [
            model(torch.tensor([ids]), use_cache=False).logits[0, -1].float().log_softmax(-1)
            for model, ids in zip(readers, streams, strict=True)
        ]
        width = rows[0].shape[-1] if len(rows) == 1 else models[None].config.vocab_size
        is_paused = any(pause.covers(tokens) for pause in request.pauses)
        plan = request.plan.unsteered if is_paused else request.plan
        scores = steer(on_common_tokens(rows, width), plan).scores
        tokens.append(int(scores.argmax()))
        for ids in streams:
            ids.append(tokens[-1])
    return tokens


# --- answers -----------------------------------------------------------------


@names
def test_a_method_decodes_as_an_uncached_loop_over_its_models(
    engine: Engine, models: dict[str | None, Any], method: Method
) -> None:
    request = request_for(method, max_tokens=12)
    assert ids_of(engine, request) == uncached(models, request)


def test_methods_in_one_batch_answer_as_each_alone(engine: Engine) -> None:
    sampled = SamplingParams(seed=3)
    requests = [
        request_for(method, seed, max_tokens=6 + seed, sampling=sampled)
        for seed, method in enumerate(METHODS)
    ]
    expected = [ids_of(engine, request) for request in requests]
    answers = [engine.submit(request) for request in requests]
    assert [[token.id for token in answer] for answer in answers] == expected


def test_requests_with_and_without_a_second_model_share_their_steps(engine: Engine) -> None:
    requests = [request_for(method, max_tokens=24) for method in (Amulet(), PAD("expert"), Pref())]
    before = engine.stats().decode_steps
    for answer in [engine.submit(request) for request in requests]:
        assert len(list(answer)) == 24
    assert engine.stats().decode_steps - before < 2 * 24


def test_a_long_prompt_of_one_model_is_waited_for_by_the_other(
    engine: Engine, models: dict[str | None, Any]
) -> None:
    request = request_for(ProxyTuning("expert", "antiexpert"))
    long = tuple(range(3, 100)) * 2
    prompts = tuple(
        (*long, *prompt) if stream.model == "expert" else prompt
        for prompt, stream in zip(request.prompts, request.plan.streams, strict=True)
    )
    request = replace(request, prompts=prompts)
    decoding = engine.submit(request_for(ProxyTuning("expert", "antiexpert"), 1, ENDLESS))
    next(decoding)
    assert ids_of(engine, request) == uncached(models, request)
    decoding.cancel()


def test_a_main_model_that_runs_alone_can_have_companions(
    models: dict[str | None, Any],
) -> None:
    crew = {None: models["alone"], "expert": models["expert"]}
    with engine_for(crew[None]) as engine:
        held = attach_all(engine, crew)
        assert held and not HuggingFaceModel(crew[None]).info.shares_pass
        for method in (PAD("expert"), ProxyTuning("expert"), DeRa("expert", 0.0)):
            request = request_for(method)
            assert ids_of(engine, request) == uncached(crew, request)


def test_streams_may_name_the_engine_s_own_model(
    engine: Engine, models: dict[str | None, Any]
) -> None:
    held = engine.attach("self", engine)
    request = request_for(ProxyTuning("self", "expert"))
    assert ids_of(engine, request) == uncached({**models, "self": models[None]}, request)
    assert held is engine.attach("self", engine)


def test_a_pause_leaves_the_models_in_step(engine: Engine, models: dict[str | None, Any]) -> None:
    request = request_for(ProxyTuning("expert", "antiexpert", 4.0), max_tokens=12)
    unsteered = ids_of(engine, request_for(Pref(), max_tokens=12))
    paused = replace(request, pauses=(Pause(closing=unsteered[4], from_start=True),))
    answer = ids_of(engine, paused)
    assert answer[:5] == unsteered[:5] and answer != unsteered
    assert answer == uncached(models, paused)


# --- vocabularies ------------------------------------------------------------


@pytest.mark.parametrize(("main", "other"), [(136, 128), (128, 136)])
@pytest.mark.parametrize(
    "method",
    [PAD("other"), ProxyTuning("other"), DeRa("other", 0.5), Drift((3.0, -1.0), model="other")],
    ids=lambda method: method.name,
)
def test_widths_that_differ_by_padding_are_cut_to_what_both_have(
    main: int, other: int, method: Method
) -> None:
    crew = {None: tiny(0, main), "other": tiny(1, other)}
    sampling = SamplingParams(seed=0, temperature=2.0, top_logprobs=main)
    with engine_for(crew[None]) as engine:
        held = attach_all(engine, crew)
        request = request_for(method, max_tokens=8)
        assert ids_of(engine, request) == uncached(crew, request)
        for token in engine.submit(replace(request, sampling=sampling)):
            assert max(index for index, _ in token.top_logprobs) < 128
    assert held


def test_rows_of_unlike_widths_are_normalised_over_what_they_share() -> None:
    wide, narrow = torch.randn(6).log_softmax(0), torch.randn(4).log_softmax(0)
    for width in (4, 6, 8):
        rows = on_common_tokens([wide, narrow], width)
        assert rows.shape == (2, width)
        torch.testing.assert_close(rows[1, :4], narrow)
        torch.testing.assert_close(rows[0, :4], wide[:4].log_softmax(0))
        assert (rows[:, 4:] == -math.inf).all()


# --- limits and errors -------------------------------------------------------


def test_rows_of_all_models_count(models: dict[str | None, Any]) -> None:
    method = ProxyTuning("expert", "antiexpert")
    with engine_for(models[None], max_rows=4) as engine:
        held = attach_all(engine, models)
        first = engine.submit(request_for(method, 0, ENDLESS))
        next(first)
        assert engine.stats().rows == 3
        second = engine.submit(request_for(method, 1))
        for _ in range(5):
            next(first)
        assert (engine.stats().queued, engine.stats().rows) == (1, 3)
        first.cancel()
        assert len(list(second)) == 8
        with pytest.raises(RequestError, match="at most max_rows, here 4"):
            plan = Drift((1.0, 1.0), model="expert").plan([Guidance(), Guidance()])
            streams = (*plan.streams, plan.streams[0])
            engine.submit(Request(((5,),) * 5, replace(plan, streams=streams), GREEDY, 1))
    assert held


def test_a_model_that_is_not_attached_is_named(models: dict[str | None, Any]) -> None:
    with (
        engine_for(models[None]) as engine,
        pytest.raises(ConfigurationError, match="'expert' isn't"),
    ):
        engine.submit(request_for(PAD("expert")))


def test_prompts_are_held_to_the_limits_of_who_reads_them(models: dict[str | None, Any]) -> None:
    crew = {None: models[None], "short": tiny(1, context=16), "few": tiny(1, vocabulary=16)}
    with engine_for(crew[None]) as engine:
        held = attach_all(engine, crew)
        with pytest.raises(ContextLengthError, match="context of 16"):
            engine.submit(request_for(PAD("short"), max_tokens=8))
        with pytest.raises(RequestError, match=r"\[0, 16\)"):
            engine.submit(request_for(PAD("few")))
    assert held


def test_a_companion_that_fails_fails_only_who_needs_it(
    engine: Engine, models: dict[str | None, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ids_of(engine, request_for(Amulet(), 0, 40))
    staying = engine.submit(request_for(Amulet(), 0, 40))
    other = engine.submit(request_for(ProxyTuning("antiexpert"), 1, 30))
    failing = engine.submit(request_for(PAD("expert"), 2, ENDLESS))
    next(failing)

    def lost(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(models["expert"], "forward", lost)
        with pytest.raises(GenerationError, match="no memory"):
            list(failing)
    assert [token.id for token in staying] == expected
    assert len(list(other)) == 30
    wait_until(lambda: engine.stats().rows == 0)


def test_a_prompt_that_a_companion_cannot_take_in_fails_alone(
    engine: Engine, models: dict[str | None, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(models["expert"].model, "forward", lost)
        with pytest.raises(GenerationError, match="no room"):
            ids_of(engine, request_for(PAD("expert")))
        assert len(ids_of(engine, request_for(Amulet()))) == 8
    assert engine.stats().rows == 0


def test_nan_from_a_companion_fails_only_its_request(engine: Engine) -> None:
    poisoned = tiny(5)
    with torch.no_grad():
        poisoned.model.embed_tokens.weight[20] = math.nan
    held = engine.attach("poisoned", engine_for(poisoned))
    good = engine.submit(request_for(ProxyTuning("poisoned", "expert", 0.0), 1))
    with pytest.raises(GenerationError, match="NaN"):
        ids_of(engine, request_for(PAD("poisoned")))
    assert len(list(good)) == 8 and held


# --- leaving -----------------------------------------------------------------


def test_cancelling_frees_the_rows_of_every_model(engine: Engine) -> None:
    answer = engine.submit(request_for(ProxyTuning("expert", "antiexpert"), 0, ENDLESS))
    next(answer)
    assert engine.stats().rows == 3
    answer.cancel()
    with pytest.raises(CancelledError):
        next(answer)
    wait_until(lambda: engine.stats().rows == 0)


def test_a_model_is_attached_once_and_leaves_with_its_last_holder() -> None:
    with engine_for(tiny(0)) as engine:
        model = tiny(1)
        other, gone = engine_for(model), weakref.ref(model)
        one, two = engine.attach("other", other), engine.attach("other", other)
        assert one is two
        assert len(ids_of(engine, request_for(PAD("other")))) == 8
        del model, other, one, two
        wait_until(lambda: engine.stats().active_requests == 0)
        gc.collect()
        assert gone() is None
        with pytest.raises(ConfigurationError, match="attached"):
            engine.submit(request_for(PAD("other")))


def test_a_name_may_move_on_to_another_model(models: dict[str | None, Any]) -> None:
    request = request_for(DeRa("other", 0.0))
    with engine_for(models[None]) as engine:
        before = engine.attach("other", engine_for(models["expert"]))
        after = engine.attach("other", engine_for(models["antiexpert"]))
        assert before is not after
        assert ids_of(engine, request) == uncached(
            {**models, "other": models["antiexpert"]}, request
        )


def test_requests_under_way_keep_the_model_that_they_need() -> None:
    with engine_for(tiny(0)) as engine:
        held = engine.attach("other", engine_for(tiny(1)))
        expected = ids_of(engine, request_for(PAD("other"), max_tokens=40))
        answer = engine.submit(request_for(PAD("other"), max_tokens=40))
        del held
        gc.collect()
        assert [token.id for token in answer] == expected


def test_a_model_serves_its_own_engine_and_others_at_once(models: dict[str | None, Any]) -> None:
    with (
        engine_for(models[None]) as engine,
        engine_for(models["expert"]) as own,
    ):
        held = engine.attach("expert", own)
        requests = [
            (engine, request_for(PAD("expert"), 0, 40)),
            (own, request_for(Amulet(), 0, 40)),
        ]
        expected = [ids_of(*pair) for pair in requests]
        answers = [one.submit(request) for one, request in requests]
        assert [[token.id for token in each] for each in answers] == expected
    assert held


def test_nothing_is_left_on_a_model_while_no_engine_runs_it(
    models: dict[str | None, Any],
) -> None:
    heads = [models[name].get_output_embeddings() for name in (None, "expert")]
    with engine_for(models[None]) as engine, engine_for(models["expert"]) as own:
        held = engine.attach("expert", own)
        assert len(ids_of(engine, request_for(PAD("expert")))) == 8
        assert not any(head._forward_hooks for head in heads) and held


# --- scoring -----------------------------------------------------------------


def test_scoring_reads_each_prompt_with_its_model(
    engine: Engine, models: dict[str | None, Any]
) -> None:
    prompts, answer, names = ((5, 6, 7), (5, 8), (9,)), (11, 12, 13), (None, "expert", "alone")
    found = engine.score(prompts, answer, names).result()
    for row, prompt, name in zip(found, prompts, names, strict=True):
        with torch.inference_mode():
            logits: Tensor = models[name](torch.tensor([[*prompt, *answer[:-1]]])).logits
        torch.testing.assert_close(row, logits[0, -3:].log_softmax(-1), rtol=0.0, atol=1e-4)
    with pytest.raises(ConfigurationError, match="attached"):
        engine.score(prompts, answer, (None, None, "nobody"))
