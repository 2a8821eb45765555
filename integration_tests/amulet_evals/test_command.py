"""`langchain-amulet evaluate` and `report` as one types them, and one line for what is wrong."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from langchain_amulet.methods import Method, Pref
from support import terminal
from support.evaluation_runs import STYLES, answers, asked, run, small


def test_the_command_compares_what_its_options_say(tiny: str, tmp_path: Path) -> None:
    table = tmp_path / "asked.csv"
    table.write_text("prompt\nWhy?\nHow?\nWho?\n")
    done = run(
        *("evaluate", "--out", tmp_path / "run", "--model", tiny, "--dtype", "float32"),
        *("--questions", table, "--column", "prompt", "--limit", "2", "-p", "creative"),
        *("-p", "Be kind.", "-m", "base", "-m", "amulet:kl_cap=0.5", "--baseline", "base"),
        *("--samples", "2", "--temperature", "0.7", "--max-tokens", "8", "--seed", "3"),
        *("--system", "You are Tiny.", "--score", "builtins:max", "--concurrency", "4"),
    )
    assert done.exit_code == 1  # the score isn't a number, which shows that it was asked for
    assert "'builtins:max' gave" in done.stderr
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert manifest["decoding"]["temperature"] == 0.7
    assert manifest["decoding"]["system"] == "You are Tiny."
    assert (manifest["limit"], manifest["samples"], manifest["concurrency"]) == (2, 2, 4)
    assert manifest["scoring"]["baseline"] == "base"
    assert len(answers(tmp_path / "run")) == 2 * 2 * (1 + 2)


def test_options_override_the_config_file_and_leave_the_rest(tiny: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(small(tiny, tmp_path, limit=1).model_dump_json())
    place = tmp_path / "run"
    done = run("evaluate", "--config", config, "--out", place, "--max-tokens", "3", "-m", "pref")
    assert done.exit_code == 0, done.output
    assert str(place / "report") in done.output
    found = answers(place)
    assert [row["method"] for row in found] == ["pref"] * len(STYLES)
    assert max(row["tokens"] for row in found) <= 3
    again = run("report", place)
    assert again.exit_code == 0
    assert str(place / "report") in again.output


def forgetful(question: str, answer: str, preference: str) -> float:
    """A score whose author forgot to install something."""
    import nowhere_to_be_found  # type: ignore[import-not-found]

    return float(nowhere_to_be_found.score(answer))


def test_what_one_s_own_code_lacks_isn_t_taken_for_an_extra_of_the_package(
    tiny: str, tmp_path: Path
) -> None:
    done = run(
        *("evaluate", "--out", tmp_path / "run", "--model", tiny, "--max-tokens", "2"),
        *("--questions", asked(tmp_path, 1), "-p", "Be kind.", "-m", "pref"),
        *("--score", f"{__name__}:forgetful"),
    )
    assert done.exit_code == 1
    assert f"'{__name__}:forgetful' raised ModuleNotFoundError in {__file__}" in done.stderr
    assert "the answers are kept" in done.stderr
    assert "langchain-amulet[evaluate]" not in done.output
    assert len(answers(tmp_path / "run")) == 1


def test_the_command_tells_of_what_failed_and_a_run_s_own_file_is_a_config(
    tiny: str, tmp_path: Path
) -> None:
    (tmp_path / "asked.json").write_text(json.dumps(["Why?", "Why? " * 5000]))
    settings = small(tiny, tmp_path, questions=(str(tmp_path / "asked.json"),))
    (tmp_path / "config.json").write_text(settings.model_dump_json())
    first, again = tmp_path / "first", tmp_path / "again"
    for config, out in ((tmp_path / "config.json", first), (first / "run.json", again)):
        done = run("evaluate", "--config", config, "--out", out)
        assert done.exit_code == 0, done.output
        assert "7 of 14 answers failed. The first: ContextLengthError: " in done.stderr
    made_with = [json.loads((out / "run.json").read_text())["settings"] for out in (first, again)]
    assert made_with[0] == made_with[1]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["evaluate"], "Missing option"),
        (["evaluate", "--out", "{}"], "'questions' is missing"),
        (["evaluate", "--out", "{}", "--questions", "none.csv"], "No such file"),
        (["evaluate", "--out", "{}", "--config", "none.json"], "A config file must hold settings"),
        (["report", "{}"], "must be the folder of an evaluation"),
        (["evaluate", "--out", "{}", "--objective", "6"], "--objective says more of"),
        (["evaluate", "--out", "{}", "--column", "q"], "--column says more of"),
    ],
)
def test_a_wrong_option_is_one_line_and_a_failure(
    tmp_path: Path, arguments: list[str], rule: str
) -> None:
    refused = run(*(each.format(tmp_path / "run") for each in arguments))
    assert refused.exit_code in (1, 2)
    assert rule in refused.stderr
    assert not (tmp_path / "run").exists()


@dataclass(frozen=True)
class Failing(Method):
    name: ClassVar[str] = "failing"
    step: str = "plan"

    def plan(self, preferences: Any) -> Any:
        return 1 / 0 if self.step == "plan" else Pref().plan(preferences)

    def search(self) -> Any:
        return 1 / 0 if self.step == "search" else None


@pytest.mark.parametrize("step", ["plan", "search"])
def test_a_method_that_fails_is_a_line_on_the_command_line_and_nothing_is_decoded(
    tiny: str, tmp_path: Path, step: str
) -> None:
    out, method = tmp_path / "run", f"{__name__}:Failing:step={step}"
    done = terminal.run(
        "evaluate", "--out", str(out), "--model", tiny, "--questions", str(asked(tmp_path, 1)),
        "-p", "concise", "-m", method, "-m", "pref",
    )  # fmt: skip
    assert done.exit_code == 1
    assert f"{step}() must work" in done.stderr and "raised ZeroDivisionError" in done.stderr
    assert answers(out) == []
