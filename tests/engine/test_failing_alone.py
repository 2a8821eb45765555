"""A request that can't be answered fails by itself, and the others never know."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import Phi3Config, Phi3ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.huggingface.kv_cache import KVCacheLayer
from langchain_amulet.errors import (
    ConfigurationError,
    ContextLengthError,
    EmptyInputError,
    GenerationError,
    RequestError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan, Stream
from support.tiny_engine import (
    AMULET,
    CONTEXT,
    PLAIN,
    POISON,
    VOCABULARY,
    ids_of,
    poisoned,
    request_for,
    wait_until,
)


def test_nan_logits_fail_one_request_and_leave_the_others_untouched(engine: Engine) -> None:
    expected = [ids_of(engine, request_for(seed)) for seed in (1, 2)]
    first = engine.submit(request_for(1))
    bad = engine.submit(poisoned(request_for(3)))
    second = engine.submit(request_for(2))
    with pytest.raises(GenerationError, match="NaN"):
        list(bad)
    assert [[token.id for token in answer] for answer in (first, second)] == expected
    assert ids_of(engine, request_for(1)) == expected[0]  # in rows that held NaN before
    assert engine.stats().failed == 1


def test_nan_in_a_prefix_does_not_outlive_its_rows(engine: Engine) -> None:
    request = request_for(1, length=30)
    expected = ids_of(engine, request)
    prompts = tuple((POISON, *prompt) for prompt in request.prompts)
    with pytest.raises(GenerationError):
        ids_of(engine, replace(request, prompts=prompts))
    assert ids_of(engine, request) == expected


def test_a_request_without_memory_for_its_rows_fails_alone_and_leaves_none(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ids_of(engine, request_for(1, 40))
    staying = engine.submit(request_for(1, 40))
    first = [next(staying).id for _ in range(3)]
    enough = KVCacheLayer.resize

    def too_little(layer: KVCacheLayer, size: int) -> None:
        if size > 40:
            raise MemoryError("no room")
        enough(layer, size)

    with monkeypatch.context() as patch:
        patch.setattr(KVCacheLayer, "resize", too_little)
        with pytest.raises(GenerationError, match="no room"):
            ids_of(engine, request_for(2, length=700))
    assert first + [token.id for token in staying] == expected
    wait_until(lambda: engine.stats().rows == 0)
    assert ids_of(engine, request_for(1, 40)) == expected


# --- Refused at once ---


def test_a_context_ends_where_longrope_changes_its_frequencies() -> None:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 8.0}
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    config = Phi3Config(
        vocab_size=VOCABULARY, max_position_embeddings=128, original_max_position_embeddings=16,
        rope_parameters={**rope, **factors, "original_max_position_embeddings": 16},
        **shape, **heads,
    )  # fmt: skip
    with Engine(HuggingFaceModel(Phi3ForCausalLM(config).eval())) as engine:
        with pytest.raises(ContextLengthError, match="context of 16"):
            engine.submit(request_for(plan=PLAIN, length=12, max_tokens=4))
        assert len(ids_of(engine, request_for(plan=PLAIN, length=11, max_tokens=4))) == 4


def test_a_request_over_the_context_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ContextLengthError, match="4096"):
        engine.submit(request_for(max_tokens=CONTEXT))


@pytest.mark.parametrize("prompts", [((1, VOCABULARY),), ((-1, 2),)])
def test_ids_outside_the_vocabulary_are_refused(engine: Engine, prompts: Any) -> None:
    with pytest.raises(RequestError, match="vocabulary"):
        engine.submit(Request(prompts, PLAIN, SamplingParams(), 1))


def test_requests_that_can_never_run_are_refused(engine: Engine) -> None:
    many = Plan(streams=(Stream(),) * 7, anchor=0, reference=((0, 1.0),))
    with pytest.raises(RequestError, match="max_rows"):
        engine.submit(Request(((1,),) * 7, many, SamplingParams(), 1))
    with pytest.raises(RequestError, match="one prompt per stream"):
        Request(((1,),), AMULET, SamplingParams(), 1)
    with pytest.raises(EmptyInputError, match="stream 1"):
        Request(((1,), ()), AMULET, SamplingParams(), 1)
    with pytest.raises(ConfigurationError, match="max_tokens"):
        Request(((1,),), PLAIN, SamplingParams(), 0)
    with pytest.raises(ConfigurationError, match="timeout"):
        Request(((1,),), PLAIN, SamplingParams(), 1, timeout=0.0)


def test_limits_below_one_are_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_queue"):
        Engine(HuggingFaceModel(model), max_queue=0)
