"""What an evaluation may be made of, and what a run can't be continued with."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from amulet_evals import Decoding, Evaluation, Scoring
from amulet_evals.method_spec import method_of
from amulet_evals.run.grid import method_note
from amulet_evals.run.manifest import Manifest, Metric, fingerprint
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods import (
    Amulet,
    BestOf,
    GuidedReranking,
    Iterated,
    Method,
    Pref,
    SearchPlan,
    as_method,
)

QUESTIONS = {"questions": ("q.json",)}


def test_the_least_that_must_be_said_is_where_questions_are():
    evaluation = Evaluation(**QUESTIONS)
    assert evaluation.models == ("pocket",)
    assert list(evaluation.methods) == ["base", "pref", "linear_alignment", "auto", "amulet"]
    assert evaluation.preferences == ("creative", "verbose", "concise", "uplifting")
    assert evaluation.decoding == Decoding(temperature=0.0, max_tokens=128)
    with pytest.raises(ConfigurationError, match="'questions' is missing"):
        Evaluation()


def test_settings_survive_being_stored_as_json():
    evaluation = Evaluation(
        **QUESTIONS,
        methods={"Paper": Amulet.paper(), "LA": "linear_alignment"},
        preferences={"short": ["Be short.", "Keep it brief."]},
        decoding={"temperature": 0.7, "system": "You are kind."},
        samples=4,
        scoring={"reward_models": ["rm"], "baseline": "LA"},
    )
    again = Evaluation(**json.loads(evaluation.model_dump_json()))
    assert again.model_dump() == evaluation.model_dump()
    assert method_of(again.methods["Paper"]) == Amulet.paper()


def test_methods_are_given_as_text_or_as_values():
    listed = Evaluation(**QUESTIONS, methods=["pref", Amulet(kl_cap=0.5)]).methods
    assert [as_method(each) for each in listed.values()] == [Pref(), Amulet(kl_cap=0.5)]
    assert list(listed) == ["pref", "amulet:kl_cap=0.5"]
    assert list(Evaluation(**QUESTIONS, methods="pref").methods) == ["pref"]


def test_a_number_is_amulet_at_that_strength():
    assert list(Evaluation(**QUESTIONS, methods=[1.5]).methods) == ["amulet:strength=1.5"]
    named = Evaluation(**QUESTIONS, methods={"Mine": 1.5, "Typed": "0.5"})
    again = Evaluation(**json.loads(named.model_dump_json()))
    strengths = [method_of(each) for each in again.methods.values()]
    assert strengths == [Amulet(strength=1.5), Amulet(strength=0.5)]


def longest(messages, answer):
    """A scorer of best-of-n."""
    return len(answer.text)


@dataclass(frozen=True)
class Levelled(Method):
    """A method of one's own, which isn't registered."""

    name: ClassVar[str] = "levelled"
    level: int = 1

    def plan(self, preferences):
        return Pref().plan(preferences)


def test_a_method_of_one_s_own_is_named_by_where_it_lies():
    listed = Evaluation(**QUESTIONS, methods=[f"{__name__}:Levelled:level=2", Levelled(3)])
    again = Evaluation(**json.loads(listed.model_dump_json()))
    assert list(again.methods) == [f"{__name__}:Levelled:level={level}" for level in (2, 3)]
    assert [method_of(each) for each in again.methods.values()] == [Levelled(2), Levelled(3)]
    for wrong, rule in (
        (f"{__name__}:Nobody", "importable"),
        (f"{__name__}:longest", "must be a class that is a Method"),
        (f"{__name__}:Levelled:height=2", "doesn't know 'height'"),
    ):
        with pytest.raises(ConfigurationError, match=rule):
            Evaluation(**QUESTIONS, methods=[wrong])


def test_best_of_n_s_scorer_is_named_by_where_it_lies():
    spelled = f"best_of:n=4,scorer={__name__}:longest,method=amulet"
    assert method_of(spelled) == BestOf(4, scorer=longest, method=Amulet())
    assert method_of("guided_reranking:n=4") == GuidedReranking(4)
    for wrong, rule in (
        ("best_of", "scorer must be a function"),
        ("best_of:scorer=nowhere:x", "importable"),
    ):
        with pytest.raises(ConfigurationError, match=rule):
            Evaluation(**QUESTIONS, methods=[wrong])


def test_a_method_with_a_function_is_noted_alike_in_every_process():
    assert (
        method_note(BestOf(scorer=lambda m, a: 0)).definition
        == method_note(BestOf(scorer=lambda m, a: 0)).definition
    )
    assert "0x" not in method_note(BestOf(scorer=longest)).definition
    first, second = (BestOf(scorer=longest, method=Iterated(torch.sub)) for _ in range(2))
    assert method_note(first).definition == method_note(second).definition


@dataclass(frozen=True)
class Sampled(Levelled):
    """A search of one's own."""

    name: ClassVar[str] = "sampled"

    def search(self):
        return SearchPlan(self.level, rank=len)


def test_samples_that_are_chosen_among_are_drawn_even_if_answers_are_greedy():
    greedy, sampled = Decoding(), Decoding(temperature=1.5)
    for spelled in ("pref", "amulet", "beam_search"):
        assert greedy.call(as_method(spelled))["temperature"] == 0.0
        assert sampled.call(as_method(spelled))["temperature"] == 1.5
    for search in (as_method("guided_reranking"), BestOf(scorer=longest), Sampled()):
        assert greedy.call(search)["temperature"] == greedy.sample_temperature > 0.0
        assert sampled.call(search)["temperature"] == 1.5


def test_the_baseline_is_the_first_that_only_prompts_unless_one_is_named():
    methods = {"A": "amulet", "P": "pref", "B": "base"}
    assert Evaluation(**QUESTIONS, methods=methods).baseline == "P"
    assert Evaluation(**QUESTIONS, methods=["amulet", "base"]).baseline == "amulet"
    named = Evaluation(**QUESTIONS, methods=methods, scoring=Scoring(baseline="B"))
    assert named.baseline == "B"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"samples": 2}, "Greedy answers .* samples is 2"),
        ({"samples": 0}, "'samples' can't be 0"),
        ({"methods": ["amulett"]}, "method must be one of"),
        ({"methods": []}, "'methods' can't be"),
        ({"models": ()}, "'models' can't be"),
        ({"preference": "x"}, "'preference' is unknown"),
        ({"decoding": {"temprature": 1}}, "'temprature' is unknown"),
        ({"scoring": {"baseline": "pad"}}, "baseline must be the label of a method, one of"),
        ({"judge": "openai:gpt-5"}, "'judge' is one of the settings in 'scoring'"),
        ({"temperature": 1.0}, "'temperature' is one of the settings in 'decoding'"),
        ({"questions": [{"column": "x"}]}, "source"),
        ({"load": {"model": "x"}}, "name it in models"),
        ({"load": 3}, "'load' can't be 3: it must be a dict"),
        ({"decoding": 3}, "it must be a dict of settings, or of type Decoding"),
        ({"models": "pocket"}, "'models' can't be 'pocket': it must be a list, even of one"),
        ({"preferences": "Be kind."}, "preferences must be of type Mapping or list or tuple"),
        ({"preferences": {"a": 3}}, "'a' has 3: give a text"),
        ({"preferences": [""]}, "'' has '': give a text"),
    ],
)
def test_what_can_t_work_is_refused(fields, rule):
    with pytest.raises(ConfigurationError, match=rule):
        Evaluation(**{**QUESTIONS, **fields})


# --- Going on ---


def manifest(**fields):
    settings = {"decoding": {"temperature": 0.0, "max_tokens": 128}, "load": {}}
    made = {
        "settings": settings,
        "methods": {"amulet": method_note(Amulet())},
        "models": ("m",),
        "labels": ("amulet",),
        "samples": 1,
        "baseline": "amulet",
    }
    return Manifest(**{**made, **fields})


def test_a_run_goes_on_with_more_of_everything():
    metric = Metric(name="reward", title="reward", scorer="rm", needs="preference")
    before = manifest(metrics=(metric,), sessions=({"started": "then"},), weights={"m": "1"})
    labels = ("pref", "amulet")
    notes = {"amulet": method_note(Amulet()), "pref": method_note(Pref())}
    now = manifest(methods=notes, labels=labels, samples=4, sessions=({"started": "now"},))
    after = now.continuing(before)
    assert after.labels == labels
    assert after.samples == 4
    assert after.metrics == (metric,)
    assert after.weights == {"m": "1"}
    assert [session["started"] for session in after.sessions] == ["then", "now"]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"settings": {"decoding": {"temperature": 0.7}, "load": {}}}, "'temperature' was 0.0"),
        ({"settings": {"decoding": {}, "load": {"dtype": "float32"}}}, "'dtype' was None"),
        (
            {"methods": {"amulet": method_note(Amulet(kl_cap=1.0))}},
            "'amulet' was 'Amulet.*kl_cap=None",
        ),
    ],
)
def test_a_run_doesn_t_go_on_with_what_answers_would_differ_by(fields, rule):
    with pytest.raises(ConfigurationError, match=f"{rule}.*begin in a new folder"):
        manifest(**fields).continuing(manifest())


def test_a_run_goes_on_in_less_memory():
    loads = ({"dtype": "float32", "max_rows": 64}, {"dtype": "float32", "max_rows": 8})
    before, now = (manifest(settings={"decoding": {}, "load": load}) for load in loads)
    assert now.continuing(before).fingerprint == before.fingerprint


@pytest.mark.parametrize(("baseline", "names"), [("amulet", ["wins"]), ("pref", [])])
def test_comparisons_with_another_baseline_are_no_metric_any_more(baseline, names):
    wins = Metric(name="wins", title="wins", scorer="judge against amulet", needs="baseline")
    after = manifest(baseline=baseline).continuing(manifest(metrics=(wins,)))
    assert [metric.name for metric in after.metrics] == names


def test_a_run_doesn_t_go_on_with_other_weights():
    begun = manifest().with_weights({"m": "1"})
    assert begun.with_weights({"n": "2"}).weights == {"m": "1", "n": "2"}
    with pytest.raises(ConfigurationError, match="'m' was '1' and is '2'"):
        begun.with_weights({"m": "2"})


def test_the_fingerprint_is_that_of_what_answers_depend_on():
    found = {
        manifest().fingerprint,
        manifest().with_weights({"m": "1"}).fingerprint,
        manifest(methods={"amulet": method_note(Amulet(kl_cap=1.0))}).fingerprint,
        manifest(settings={"decoding": {"temperature": 0.7}, "load": {}}).fingerprint,
    }
    assert len(found) == 4
    assert manifest(samples=4, baseline="x").fingerprint == manifest().fingerprint


def test_a_model_s_fingerprint_changes_with_its_weights_and_not_with_its_place(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(bytes(3 * 2**20))
        (folder / "README.md").write_text(folder.name)
    assert fingerprint(str(first)) == fingerprint(str(second))
    (second / "model.safetensors").write_bytes(bytes(3 * 2**20 - 1) + b"1")
    assert fingerprint(str(first)) != fingerprint(str(second))
    assert fingerprint("nobody/has-this-model") is None


def test_a_repository_s_fingerprint_is_the_commit_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commits = {"main": "a" * 40, "v2": "b" * 40}
    cached = tmp_path / "models--owner--name"
    (cached / "refs").mkdir(parents=True)
    for revision, commit in commits.items():
        (cached / "refs" / revision).write_text(commit)
        (cached / "snapshots" / commit).mkdir(parents=True)
        (cached / "snapshots" / commit / "config.json").write_text("{}")
    assert fingerprint("owner/name") == commits["main"]
    assert fingerprint("owner/name", "v2") == commits["v2"]
    assert fingerprint("owner/name", "v3") is None
