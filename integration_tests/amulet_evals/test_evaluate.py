"""`langchain-amulet evaluate` on random weights: what it asks, keeps, survives and shows."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from amulet_evals import Decoding, Evaluation, Scoring, evaluate, report
from amulet_evals.run.decoding import Decoder
from amulet_evals.run.grid import Task
from amulet_evals.run.journal import Journal, rows
from amulet_evals.scorers.attributes import length
from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import (
    ConfigurationError,
    EngineClosedError,
    ModelNotFoundError,
    RequestError,
)
from langchain_amulet.methods import Amulet, Base, Method, Pref
from support.evaluation_runs import METHODS, STYLES, answers, asked, cells, small

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that came to its end."""
    folder = tmp_path_factory.mktemp("finished")
    evaluate(small(tiny, folder), folder / "run")
    return folder / "run"


# --- Answers ---


def test_every_answer_is_the_chat_model_s_own(finished: Path, tiny: str) -> None:
    found = answers(finished)
    assert len(found) == 5 * (1 + 3 * len(STYLES))
    llm = ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12)
    for row in found[::6]:
        message = llm.invoke(
            row["question"],
            preference=row["preference"],
            method=METHODS[row["method"]],
            trace=True,
        )
        assert row["text"] == message.text
        assert row["tokens"] == message.usage_metadata["output_tokens"] == len(row["kl"])
        assert row["mean_kl"] == pytest.approx(sum(row["kl"]) / len(row["kl"]), abs=1e-4)
        base = [token["base"] for token in message.response_metadata["trace"]]
        if None in base:
            assert row["surprise"] is None
        else:
            surprise = -sum(map(math.log, base)) / len(base)
            assert row["surprise"] == pytest.approx(surprise, rel=1e-4)
        for name in ("finish_reason", "strength"):
            assert row[name] == message.response_metadata[name]


def test_a_style_of_traits_is_each_trait_at_its_strength(tiny: str, tmp_path: Path) -> None:
    wanted = [Preference.trait("concise", 2), Preference.trait("formal")]
    words = " ".join(each.text for each in wanted)
    evaluation = small(tiny, tmp_path, preferences=("concise ++, formal +", words), limit=2)
    for _ in range(2):  # the second time all is there
        evaluate(evaluation, tmp_path / "run")
    found = answers(tmp_path / "run")
    assert len(found) == 2 * (1 + 3 * 2)
    llm = ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12)
    asked = {row["traits"]: row for row in found if row["method"] == "Amulet"}
    for traits, preference in (("concise ++, formal +", wanted), ("", words)):
        row = asked[traits]
        assert row["preference"] == words
        message = llm.invoke(row["question"], preference=preference, method=METHODS["Amulet"])
        assert row["text"] == message.text
        assert row["strength"] == message.response_metadata["strength"]


def test_a_run_says_what_it_was_made_with(finished: Path, tiny: str) -> None:
    manifest = json.loads((finished / "run.json").read_text())
    assert manifest["settings"]["decoding"]["max_tokens"] == 12
    assert manifest["fingerprint"]
    assert set(manifest["weights"]) == {tiny}
    (session,) = manifest["sessions"]
    assert {"langchain-amulet", "torch", "transformers", "python", "hardware"} <= set(session)
    again = Evaluation(**manifest["settings"])
    assert list(again.methods) == list(METHODS)


def test_the_system_message_is_in_every_prompt_and_the_preference_at_its_end(
    tiny: str, tmp_path: Path
) -> None:
    prompts: list[Any] = []

    class Listening(ChatAmulet):
        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            prompts.append((input, kwargs["preference"]))
            return await super().ainvoke(input, config, **kwargs)

    with (
        Listening(model=tiny) as llm,
        Journal(tmp_path / "a.jsonl") as kept,
        Journal(tmp_path / "t.jsonl") as traces,
    ):
        methods = {"Base": Base(), "Pref": Pref()}
        settings = Decoding(system="You are Tiny.", max_tokens=2)
        decoder = Decoder(llm, methods, settings, kept, traces, frozenset())
        tasks = [Task(tiny, "Base", "Why?", None), Task(tiny, "Pref", "Why?", "Be kind.")]
        asyncio.run(decoder.decode(tasks, 2, lambda done: None))
    for messages, _ in prompts:
        assert [(each.type, each.text) for each in messages] == [
            ("system", "You are Tiny."),
            ("human", "Why?"),
        ]
    assert [preference for _, preference in prompts] == [None, "Be kind."]


def test_sampled_answers_are_repeatable_and_differ_by_sample(tiny: str, tmp_path: Path) -> None:
    hot = {"temperature": 2.0, "max_tokens": 12}
    settings = small(tiny, tmp_path, count=2, samples=3, decoding=hot)
    texts = []
    for name in ("first", "second"):
        evaluate(settings, tmp_path / name)
        texts.append({row["key"]: row["text"] for row in answers(tmp_path / name)})
    assert texts[0] == texts[1]
    of_one = [row["text"] for row in answers(tmp_path / "first") if row["question"] == "What is 0?"]
    assert len(set(of_one)) > len(of_one) / 2


def test_methods_are_decoded_one_after_the_other_so_that_each_has_a_speed_of_its_own(
    finished: Path,
) -> None:
    spans: dict[str, list[float]] = {}
    for row in answers(finished):
        spans.setdefault(row["method"], []).extend(
            [row["started"], row["started"] + row["seconds"]]
        )
    ends = sorted((min(times), max(times)) for times in spans.values())
    assert len(ends) == len(METHODS)
    assert all(end <= start + 0.01 for (_, end), (start, _) in pairwise(ends))


def test_searches_are_compared_with_the_rest_in_one_greedy_run(tiny: str, tmp_path: Path) -> None:
    searches = {"Beams": "beam_search:n=4", "Reranked": "guided_reranking:n=4"}
    methods = {"Pref": "pref", **searches, "Best": f"best_of:n=4,scorer={__name__}:longest"}
    place = evaluate(small(tiny, tmp_path, count=3, methods=methods), tmp_path / "run")
    found = answers(tmp_path / "run")
    assert len(found) == 4 * 3 * len(STYLES)
    assert not any("error" in row for row in found)
    assert max(row["tokens"] for row in found) <= 12  # the answer's, not all that were looked at
    lengths = {line["method"]: float(line["mean"]) for line in cells(place, "tokens")}
    assert lengths["Best"] >= lengths["Pref"]
    traced = {row["key"] for row in rows(tmp_path / "run" / "traces.jsonl")}
    assert {row["method"] for row in found if row["key"] in traced} == set(methods)


def test_a_method_s_own_models_belong_to_what_the_run_was_made_with(
    tiny: str, other_tiny: str, tmp_path: Path
) -> None:
    methods = {"PAD": f"pad:model={other_tiny},weight=0.5"}
    evaluate(small(tiny, tmp_path, count=1, methods=methods), tmp_path / "run")
    assert not any("error" in row for row in answers(tmp_path / "run"))
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(manifest["weights"]) == {tiny, other_tiny}
    assert len(set(manifest["weights"].values())) == 2


def longest(messages: Any, answer: Any, preferences: list[str]) -> float:
    """What is best for best-of-n."""
    assert preferences in (["Be kind."], ["Be short."], ["Few words."])
    assert "What is" in messages[-1].text  # it knows nothing but the run's questions
    return len(answer.text)


def test_an_answer_that_fails_is_written_down_and_the_others_go_on(
    tiny: str, tmp_path: Path
) -> None:
    path = tmp_path / "long.jsonl"
    lines = [*asked(tmp_path, 3).read_text().splitlines(), json.dumps("Too long? " * 2000)]
    path.write_text("\n".join(lines))
    place = evaluate(small(tiny, tmp_path, questions=(str(path),)), tmp_path / "run")
    found = answers(tmp_path / "run")
    failed = [row for row in found if "error" in row]
    assert len(failed) == 7
    assert {row["error"]["type"] for row in failed} == {"ContextLengthError"}
    assert len(found) == 4 * 7
    assert "7 answers failed" in (place / "tables.md").read_text()
    assert {line["n"] for line in cells(place, "words")} == {"3"}


def test_settings_that_a_method_can_t_have_are_refused_before_anything_is_decoded(
    tiny: str, tmp_path: Path
) -> None:
    decoding = {"max_tokens": 4, "repetition_penalty": 1.2}
    methods = {"Pref": "pref", "Beams": "beam_search:n=2"}
    with pytest.raises(RequestError, match="penalt"):
        evaluate(small(tiny, tmp_path, decoding=decoding, methods=methods), tmp_path / "run")
    assert answers(tmp_path / "run") == []


@dataclass(frozen=True)
class Planless(Method):
    name: ClassVar[str] = "planless"

    def plan(self, preferences: Any) -> Any:
        return None


def test_a_method_without_a_plan_is_named_before_anything_is_decoded(
    tiny: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="'planless' gave NoneType"):
        evaluate(small(tiny, tmp_path, methods={"None": Planless()}), tmp_path / "run")
    assert not (tmp_path / "run" / "answers.jsonl").exists()


def test_a_model_that_is_closed_meanwhile_ends_the_run(tiny: str, tmp_path: Path) -> None:
    with Journal(tmp_path / "a.jsonl") as kept, Journal(tmp_path / "t.jsonl") as traces:
        llm = ChatAmulet(model=tiny)
        decoder = Decoder(llm, {"Pref": Pref()}, Decoding(), kept, traces, frozenset())
        llm.close()
        with pytest.raises(EngineClosedError):
            asyncio.run(decoder.decode([Task(tiny, "Pref", "Why?", "x")], 2, lambda done: None))
    assert answers(tmp_path) == [] == list(rows(tmp_path / "a.jsonl"))


# --- Going on ---


@pytest.mark.parametrize("kills", [(50,), pytest.param((20, 90), marks=pytest.mark.exhaustive)])
def test_a_killed_run_goes_on_without_losing_or_repeating_an_answer(
    tiny: str, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    settings = small(tiny, tmp_path, count=24, concurrency=8, traced=24)
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    run = tmp_path / "run"
    for least in kills:
        kill_once_there_are(least, run, tmp_path / "config.json")
        kept = (run / "answers.jsonl").read_bytes()
        kept = kept[: kept.rfind(b"\n") + 1]
        assert least <= kept.count(b"\n") < 24 * 7
    evaluate(settings, run)
    assert (run / "answers.jsonl").read_bytes().startswith(kept)
    found = answers(run)
    assert len(found) == 24 * 7
    assert set(Counter(row["key"] for row in found).values()) == {1}
    evaluate(settings, tmp_path / "whole")
    texts = {row["key"]: row["text"] for row in answers(tmp_path / "whole")}
    assert {row["key"]: row["text"] for row in found} == texts
    assert len(json.loads((run / "run.json").read_text())["sessions"]) == len(kills) + 1


def kill_once_there_are(least: int, run: Path, config: Path) -> None:
    """Run the command until it has written so many lines, and kill it as the kernel would."""
    command = [sys.executable, "-c", "from langchain_amulet.cli import app; app()", "evaluate"]
    process = subprocess.Popen(
        [*command, "--config", str(config), "--out", str(run)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    file = run / "answers.jsonl"
    while not (file.exists() and file.read_bytes().count(b"\n") >= least):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_finished_run_does_nothing_but_its_report(finished: Path, tiny: str) -> None:
    before = {path.name: path.read_bytes() for path in finished.glob("*.jsonl")}
    progress: list[tuple[str, int, int]] = []
    evaluate(small(tiny, finished.parent), finished, lambda *args: progress.append(args))
    assert {path.name: path.read_bytes() for path in finished.glob("*.jsonl")} == before
    assert all(done == total for _, done, total in progress)


def test_a_run_grows_by_methods_questions_and_styles(tiny: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    evaluate(small(tiny, tmp_path, methods={"Pref": "pref"}, limit=2), run)
    first = answers(run)
    assert len(first) == 2 * 2
    place = evaluate(small(tiny, tmp_path, preferences={**STYLES, "loud": "Be loud."}), run)
    assert answers(run)[:4] == first
    assert len(answers(run)) == 5 * (1 + 3 * 3)
    assert "loud" in (place / "tables.md").read_text()


def test_a_run_doesn_t_go_on_with_other_settings(finished: Path, tiny: str) -> None:
    before = (finished / "run.json").read_bytes()
    for change, rule in (
        ({"decoding": {"max_tokens": 13}}, "'max_tokens' was 12 and is 13"),
        ({"methods": {**METHODS, "Amulet": Amulet(kl_cap=1.0)}}, "the method 'Amulet' was"),
        ({"load": {}}, "'dtype' was 'float32' and is None"),
    ):
        with pytest.raises(ConfigurationError, match=rule):
            evaluate(small(tiny, finished.parent, **change), finished)
    assert (finished / "run.json").read_bytes() == before


def test_a_run_without_an_answer_begins_anew_with_other_settings(tiny: str, tmp_path: Path) -> None:
    (tmp_path / "long.json").write_text(json.dumps(["Why? " * 5000]))
    settings = small(tiny, tmp_path, questions=(str(tmp_path / "long.json"),))
    evaluate(settings, tmp_path / "run")
    assert all("error" in row for row in answers(tmp_path / "run"))
    evaluate(small(tiny, tmp_path, count=1, decoding={"max_tokens": 3}), tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["settings"]["decoding"]["max_tokens"] == 3


@pytest.mark.parametrize("place", ["models", "methods"])
def test_a_model_that_isn_t_there_is_found_out_before_anything_is_decoded(
    tiny: str, tmp_path: Path, place: str
) -> None:
    gone = str(tmp_path / "gone")
    wrong = {"models": (tiny, gone), "methods": ["pref", f"pad:model={gone}"]}[place]
    with pytest.raises(ModelNotFoundError, match="gone"):
        evaluate(small(tiny, tmp_path, **{place: wrong}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_doesn_t_go_on_with_other_weights(tiny: str, other_tiny: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.symlink_to(tiny)
    evaluate(small(str(model), tmp_path, limit=1), tmp_path / "run")
    model.unlink()
    model.symlink_to(other_tiny)
    with pytest.raises(ConfigurationError, match="fingerprint of"):
        evaluate(small(str(model), tmp_path), tmp_path / "run")


def test_only_one_process_writes_to_a_run(finished: Path, tiny: str) -> None:
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(finished / ".lock")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert held.stdout is not None
        assert held.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="another one writes"):
            evaluate(small(tiny, finished.parent), finished)
    finally:
        held.kill()
        held.communicate()


HOLD = """
import sys, time, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


# --- Scores and the report ---


def loudness(question: str, answer: str, preference: str) -> float:
    """A score of one's own."""
    assert question and preference in ("Be kind.", "Be short.", "Few words.")
    return answer.count("!") / 10 + len(preference)


def nonsense(question: str, answer: str, preference: str) -> Any:
    """What is no score."""
    return None


def test_a_function_of_one_s_own_is_given_each_answer_with_its_preference(
    finished: Path, tiny: str
) -> None:
    scoring = Scoring(functions=(f"{__name__}:loudness",), attributes=False)
    evaluate(small(tiny, finished.parent, scoring=scoring), finished)
    scores = [row for row in rows(finished / "scores.jsonl") if "loudness" in row["values"]]
    texts = {row["key"]: row["text"] for row in answers(finished)}
    assert len(scores) == 5 * 4 * len(STYLES)  # the base prompt's answer once per style
    for row in scores:
        assert row["values"] == {"loudness": loudness("?", texts[row["answer"]], row["preference"])}


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("nonsense", "package.module:name"),
        ("no_such_module:score", "must be importable"),
        (f"{__name__}:missing", "must be importable"),
        (f"{__name__}:ROOT", "must be a function"),
        (f"{__name__}:nonsense", "must be a finite number, but .* gave None"),
    ],
)
def test_what_is_no_score_is_refused(finished: Path, tiny: str, path: str, rule: str) -> None:
    scoring = Scoring(functions=(path,), attributes=False)
    with pytest.raises(ConfigurationError, match=rule):
        evaluate(small(tiny, finished.parent, scoring=scoring), finished)


def test_a_report_is_made_anew_from_the_folder_alone(finished: Path, tmp_path: Path) -> None:
    place = report(finished)
    names = ("tables.md", "tables.csv", "tables.tex")
    before = [(place / name).read_bytes() for name in names]
    for name in names:
        (place / name).unlink()
    report(finished)
    assert [(place / name).read_bytes() for name in names] == before
    with pytest.raises(ConfigurationError, match="must be the folder of an evaluation"):
        report(tmp_path)


def test_the_tables_hold_every_method_style_and_metric(finished: Path, tiny: str) -> None:
    place = report(finished)
    of_words = cells(place, "words")
    assert [(line["method"], line["column"]) for line in of_words] == [
        (method, column) for method in METHODS for column in (*STYLES, "mean")
    ]
    texts = [row for row in answers(finished) if row["method"] == "Pref"]
    kind = [length(row["text"]) for row in texts if row["preference"] == "Be kind."]
    (mean,) = (float(line["mean"]) for line in of_words if line["method"] == "Pref"
               and line["column"] == "kind")  # fmt: skip
    assert mean == pytest.approx(sum(kind) / len(kind))
    assert all(line["difference_low"] == "" for line in of_words if line["method"] == "Pref")
    text = (place / "tables.md").read_text()
    for title in (
        "words",
        "repeated 4-grams",
        "echoed phrases",
        "KL per token",
        "cut off",
        "tokens per second",
    ):
        assert title in text
