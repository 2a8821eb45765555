"""Methods of the family on a chat model, those with a second and third model included."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from langchain_core.runnables import RunnableParallel
from transformers import AutoTokenizer, LlamaForCausalLM

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import (
    ConfigurationError,
    EngineClosedError,
    ModelNotFoundError,
    VocabularyMismatchError,
)
from langchain_amulet.methods import (
    METHODS,
    PAD,
    Amulet,
    Base,
    BestOf,
    ContextSteering,
    DeRa,
    Drift,
    Guidance,
    Iterated,
    LinearAlignment,
    Method,
    Pref,
    ProxyTuning,
    register,
)
from langchain_amulet.steering import Plan
from support.engines import engine_of
from support.models import save_model
from support.registries import restored
from support.tokenizers import JOINED_ROLES, wordpiece
from support.usage import counted
from support.ways import DIRECT, Way, invoke

QUESTION = "How do I sleep better?"
KIND = {"preference": "Be kind."}
SETTINGS = {"dtype": "float32", "temperature": 0.0, "max_tokens": 8}


def squashed(log_policy: torch.Tensor, log_base: torch.Tensor) -> torch.Tensor:
    return 3.0 * torch.tanh(log_policy - log_base)


@pytest.fixture(scope="module")
def third_tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model(tmp_path_factory.mktemp("third"), seed=2)


@pytest.fixture(scope="module")
def methods(other_tiny: str, third_tiny: str) -> list[Method]:
    return [
        Base(),
        Pref(),
        Amulet(),
        Amulet.within(0.3),
        LinearAlignment.original(),
        Iterated(squashed, updates=5),
        ContextSteering(),
        Drift((1.5,)),
        Drift((1.5,), model=other_tiny),
        PAD(other_tiny),
        DeRa(other_tiny),
        ProxyTuning(other_tiny),
        ProxyTuning(other_tiny, third_tiny),
    ]


@pytest.fixture
def other(other_tiny: str) -> Iterator[ChatAmulet]:
    with ChatAmulet(model=other_tiny, **SETTINGS) as other:
        yield other


def make(model: str, **fields: Any) -> ChatAmulet:
    return ChatAmulet(model=model, **{**SETTINGS, **fields})


def test_every_method_answers_alike_alone_together_set_on_the_model_and_by_a_call(
    tiny: str, llm: ChatAmulet, methods: list[Method]
) -> None:
    alone = [invoke(llm, QUESTION, **KIND, method=method) for method in methods]
    assert len(set(alone)) > len(methods) // 2
    bound = [llm.bind(**KIND, method=method) for method in methods]
    together = RunnableParallel({str(index): each for index, each in enumerate(bound)})
    assert [answer.content for answer in together.invoke(QUESTION).values()] == alone
    settled = make(tiny, max_tokens=llm.max_tokens, method=methods[-1])
    assert invoke(settled, QUESTION, **KIND) == alone[-1]


@pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)
def test_a_second_model_reads_along_in_every_way_of_calling(
    llm: ChatAmulet, other_tiny: str, way: Way
) -> None:
    method = ProxyTuning(other_tiny, strength=3.0)
    expected = invoke(llm, QUESTION, **KIND, method=method)
    assert expected != invoke(llm, QUESTION, **KIND, method="pref")
    assert way(llm, QUESTION, **KIND, method=method) == expected


def test_dera_at_0_and_1_is_one_of_its_models(llm: ChatAmulet, other_tiny: str) -> None:
    for lam, model in ((0.0, other_tiny), (1.0, llm.model)):
        answer = invoke(llm, QUESTION, **KIND, method=DeRa(other_tiny, lam))
        assert answer == invoke(
            make(model, max_tokens=llm.max_tokens), QUESTION, **KIND, method="pref"
        )


def test_pad_without_weight_is_the_base_prompt(llm: ChatAmulet, other_tiny: str) -> None:
    assert invoke(llm, QUESTION, **KIND, method=PAD(other_tiny, 0.0)) == invoke(llm, QUESTION)


def test_models_that_say_the_same_are_the_large_model(llm: ChatAmulet, other_tiny: str) -> None:
    prompted = invoke(llm, QUESTION, **KIND, method="pref")
    for method in (ProxyTuning(other_tiny, other_tiny), ProxyTuning(other_tiny, strength=0.0)):
        assert invoke(llm, QUESTION, **KIND, method=method) == prompted


def test_a_second_model_may_be_the_first_one_by_its_name(llm: ChatAmulet) -> None:
    steered = invoke(llm, QUESTION, **KIND, method=ProxyTuning(llm.model, strength=2.0))
    assert steered == invoke(llm, QUESTION, **KIND, method=LinearAlignment(2.0))


def test_usage_counts_the_prompts_of_all_models(llm: ChatAmulet, other_tiny: str) -> None:
    method = ProxyTuning(other_tiny)
    base = llm.get_num_tokens_from_messages(llm._convert_input(QUESTION).to_messages())
    answer = llm.invoke(QUESTION, **KIND, method=method)
    prompted = llm.invoke(QUESTION, **KIND, method="pref")
    assert answer.usage_metadata and prompted.usage_metadata
    steered = prompted.usage_metadata["input_tokens"]
    assert answer.usage_metadata["input_tokens"] == steered
    details = {"base": base, "preference": 2 * steered}
    assert counted(answer.usage_metadata)["input_token_details"] == details


def test_an_answer_says_how_a_second_model_steered_it(llm: ChatAmulet, other_tiny: str) -> None:
    answer = llm.invoke(QUESTION, **KIND, method=PAD(other_tiny, 1.5), trace=True)
    assert answer.response_metadata["method"] == "pad"
    assert answer.response_metadata["strength"] == 1.5
    assert answer.response_metadata["mean_kl"] > 0.0
    assert all(0.0 < token["base"] <= 1.0 for token in answer.response_metadata["trace"])


def test_a_cap_in_nats_holds_for_methods_of_several_models(
    llm: ChatAmulet, other_tiny: str
) -> None:
    method = ProxyTuning(other_tiny, strength=5.0, kl_cap=0.1)
    answer = llm.invoke(QUESTION, **KIND, method=method)
    assert 0.0 < answer.response_metadata["mean_kl"] <= 0.1 + 1e-4


def test_the_other_model_is_prompted_by_its_own_template(tmp_path: Path, tiny: str) -> None:
    """The same weights behind another template: only through the prompt can they differ."""
    same = save_model(tmp_path / "same")
    foreign = save_model(tmp_path / "foreign", template=JOINED_ROLES)
    untaught = save_model(tmp_path / "untaught", template=None)
    llm = make(tiny)
    answers = {
        name: invoke(llm, QUESTION, **KIND, method=DeRa(name, 0.0))
        for name in (same, foreign, untaught)
    }
    assert answers[same] == invoke(llm, QUESTION, **KIND, method="pref")
    assert answers[foreign] == invoke(make(foreign), QUESTION, **KIND, method="pref")
    assert answers[foreign] != answers[same]
    assert answers[untaught] == answers[same]


def test_an_answer_is_scored_by_all_models_of_a_method(llm: ChatAmulet, other: ChatAmulet) -> None:
    given = {**KIND, "method": DeRa(other.model, 0.5)}
    score = llm.score(QUESTION, "Well.", **given)
    plain = [model.score(QUESTION, "Well.", **KIND, method="pref") for model in (llm, other)]
    first = [scored.pref[0] for scored in plain]
    assert score.pref == pytest.approx(plain[0].pref, abs=1e-4)
    assert score.steered[0] >= sum(first) / 2 - 1e-4  # normalising can only add
    assert math.isfinite(score.steered_total)


# --- of one's own ------------------------------------------------------------


@dataclass(frozen=True)
class Miscounting(Method):
    """Whose plan names a preference that isn't there."""

    name: ClassVar[str] = "miscounting"
    index: int = 1

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        return Plan.plain((self.index,))


class Prompted(Method):
    """A method in all but its form: no dataclass."""

    name: ClassVar[str] = "prompted"

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        return Pref().plan(preferences)


@dataclass(frozen=True)
class Louder(Prompted):
    """Amulet under another name."""

    name: ClassVar[str] = "louder"
    strength: float = 1.0

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        return Amulet(strength=self.strength).plan(preferences)


def test_a_registered_method_is_given_by_its_name(tiny: str, llm: ChatAmulet) -> None:
    expected = invoke(llm, QUESTION, **KIND, method=Amulet(strength=3.0))
    with restored(METHODS):
        register(Louder)
        for given in (Louder(3.0), "louder:strength=3"):
            assert invoke(llm, QUESTION, **KIND, method=given) == expected
        settled = make(tiny, max_tokens=llm.max_tokens, method="louder:strength=3")
        answer = settled.invoke(QUESTION, **KIND)
        assert answer.content == expected
        assert answer.response_metadata["method"] == "louder"
        assert settled._identifying_params["method"] == "louder:strength=3"


def test_a_method_that_isn_t_a_value_is_refused_when_a_model_is_made(llm: ChatAmulet) -> None:
    rule = r"must be a frozen dataclass.*Prompted isn't one"
    with pytest.raises(ConfigurationError, match=rule):
        ChatAmulet(method=Prompted())
    with pytest.raises(ConfigurationError, match=rule):
        invoke(llm, QUESTION, method=Prompted())


def test_a_plan_that_names_a_preference_which_is_not_there_is_refused(llm: ChatAmulet) -> None:
    method = Miscounting()
    with pytest.raises(ConfigurationError, match=r"from 0 to 0.*'miscounting' names 1"):
        invoke(llm, QUESTION, **KIND, method=method)
    with pytest.raises(ConfigurationError, match=r"where there is none.*names 1"):
        invoke(llm, QUESTION, method=method)
    with pytest.raises(ConfigurationError, match="at least 0, not -1"):
        invoke(llm, QUESTION, **KIND, method=Miscounting(-1))


def test_a_method_that_plans_something_else_than_a_plan_is_named(llm: ChatAmulet) -> None:
    @dataclass(frozen=True)
    class Planless(Prompted):
        name: ClassVar[str] = "planless"

        def plan(self, preferences: Sequence[Guidance]) -> Plan:
            return None  # type: ignore[return-value]

    rule = r"plan\(\) must return a Plan, but that of 'planless' gave NoneType: return one"
    with pytest.raises(ConfigurationError, match=rule):
        invoke(llm, QUESTION, **KIND, method=Planless())
    with pytest.raises(ConfigurationError, match=rule):
        llm.score(QUESTION, "Rest.", **KIND, method=Planless())
    with pytest.raises(ConfigurationError, match=rule):
        invoke(llm, QUESTION, **KIND, method=BestOf(1, scorer=lambda *_: 0.0, method=Planless()))


@pytest.mark.parametrize("step", ["plan", "search"])
def test_a_method_that_fails_by_itself_is_named_and_keeps_its_error(
    llm: ChatAmulet, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Failing(Prompted):
        name: ClassVar[str] = "failing"

    monkeypatch.setattr(Failing, step, lambda *_: 1 / 0)
    rule = rf"{step}\(\) must work .* that of 'failing' raised ZeroDivisionError: division by zero"
    with pytest.raises(ConfigurationError, match=rule) as caught:
        invoke(llm, QUESTION, **KIND, method=Failing())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_call_plans_its_method_once_and_makes_no_other(llm: ChatAmulet) -> None:
    done: list[str] = []

    @dataclass(frozen=True)
    class Counted(Prompted):
        name: ClassVar[str] = "counted"
        level: int = 1

        def __post_init__(self) -> None:
            done.append("made")

        def plan(self, preferences: Sequence[Guidance]) -> Plan:
            done.append("planned")
            return super().plan(preferences)

    method = Counted(2)
    invoke(llm, QUESTION, **KIND, method=method)
    assert done == ["made", "planned"]
    settled = llm.model_copy(update={"method": method})
    invoke(settled, QUESTION, **KIND)
    assert done == ["made", "planned", "planned"]


# --- what can't work ---------------------------------------------------------


def test_a_model_with_other_tokens_is_refused_before_decoding(
    llm: ChatAmulet, tmp_path: Path
) -> None:
    tokenizer = wordpiece()
    model = LlamaForCausalLM.from_pretrained(llm.model)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    steps = engine_of(llm).stats().decode_steps
    with pytest.raises(VocabularyMismatchError, match=r"must have the same tokens, but .* is "):
        invoke(llm, QUESTION, **KIND, method=PAD(str(tmp_path)))
    assert engine_of(llm).stats().decode_steps == steps


def test_one_token_more_is_another_vocabulary(llm: ChatAmulet, tmp_path: Path) -> None:
    other = save_model(tmp_path, controls=["<|extra|>"])
    with pytest.raises(VocabularyMismatchError, match=r"'<\|extra\|>' is unknown .* number"):
        invoke(llm, QUESTION, **KIND, method=PAD(other))


def test_a_model_padded_to_more_logits_is_welcome(llm: ChatAmulet, tmp_path: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(llm.model)
    model.resize_token_embeddings(model.config.vocab_size + 24, mean_resizing=False)
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(llm.model).save_pretrained(tmp_path)
    prompted = invoke(llm, QUESTION, **KIND, method="pref")
    assert invoke(llm, QUESTION, **KIND, method=DeRa(str(tmp_path), 0.5)) == prompted
    padded = make(str(tmp_path), max_tokens=llm.max_tokens)
    assert invoke(padded, QUESTION, **KIND, method=DeRa(llm.model, 0.5)) == prompted


def test_a_second_model_that_is_not_there_is_named(llm: ChatAmulet, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        invoke(llm, QUESTION, **KIND, method=PAD(str(tmp_path / "nowhere")))


def test_drift_with_weights_for_other_preferences_is_refused(llm: ChatAmulet) -> None:
    with pytest.raises(ConfigurationError, match="one weight per preference"):
        invoke(llm, QUESTION, **KIND, method=Drift((1.0, 2.0)))


def test_a_utility_that_raises_fails_its_own_call_only(llm: ChatAmulet) -> None:
    def broken(log_policy: torch.Tensor, log_base: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("no utility")

    with pytest.raises(Exception, match="no utility"):
        invoke(llm, QUESTION, **KIND, method=Iterated(broken))
    assert invoke(llm, QUESTION)


@pytest.mark.parametrize("worth", [0.0, torch.zeros(1)])
def test_a_utility_that_does_not_tell_each_token_s_worth_is_refused(
    llm: ChatAmulet, worth: Any
) -> None:
    with pytest.raises(ConfigurationError, match="utility must return a tensor"):
        invoke(llm, QUESTION, **KIND, method=Iterated(lambda policy, base: worth))


# --- life --------------------------------------------------------------------


def test_the_second_model_is_loaded_once_for_all_who_use_it(tiny: str, other: ChatAmulet) -> None:
    first, second = make(tiny), make(tiny)
    for llm in (first, second):
        invoke(llm, QUESTION, **KIND, method=PAD(other.model))
    attached = [llm._handle._companions[other.model] for llm in (first, second)]
    assert attached[0].attached is attached[1].attached
    assert attached[0].handle.opened is other._handle.opened


def test_closing_frees_the_second_model(tmp_path: Path, tiny: str) -> None:
    llm, neighbour = make(tiny), make(tiny)
    name = save_model(tmp_path, seed=3)
    invoke(llm, QUESTION, **KIND, method=PAD(name))
    invoke(neighbour, QUESTION)
    weights = weakref.ref(llm._handle._companions[name].handle.opened.engine._model)
    llm.close()
    gc.collect()
    assert weights() is None
    assert invoke(neighbour, QUESTION)
    with pytest.raises(EngineClosedError):
        invoke(llm, QUESTION, **KIND, method=PAD(name))


def test_copies_of_a_model_take_its_method_along(llm: ChatAmulet, other_tiny: str) -> None:
    steered = llm.model_copy(update={"method": PAD(other_tiny)})
    expected = invoke(llm, QUESTION, **KIND, method=PAD(other_tiny))
    assert invoke(steered.with_preference("Be kind."), QUESTION) == expected
    assert f"{other_tiny}" in str(steered._identifying_params["method"])
