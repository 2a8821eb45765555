"""What the pages on extending the package show is one file each, and works as they say."""

import json
import re
import shlex
from pathlib import Path

import pytest

from amulet_evals.run.journal import rows
from examples.extending import own_chat_format
from langchain_amulet import ChatAmulet
from support import terminal
from support.examples import run

ROOT = Path(__file__).parents[2]


# --- A chat format ---


def test_the_page_on_chat_formats_shows_the_whole_example_which_calls_as_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = (ROOT / "examples" / "extending" / "own_chat_format.py").read_text(encoding="utf-8")
    assert len(file.splitlines()) < 60
    page = (ROOT / "docs" / "extending" / "chat-format.md").read_text(encoding="utf-8")
    assert f"```py\n{file}```\n" in page
    own_chat_format.main()
    assert capsys.readouterr().out == "[('say', {'word': 'yes'})]\n"


# --- A method ---

OWN = "examples.extending.own_method"


def shown(language: str, page: str = "method") -> str:
    """What a page, that on methods of one's own if not another, shows in a language."""
    text = (ROOT / "docs" / "extending" / f"{page}.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(block)


def test_the_page_on_methods_of_one_s_own_shows_the_whole_example() -> None:
    file = (ROOT / "examples" / "extending" / "own_method.py").read_text(encoding="utf-8")
    assert shown("py") == file
    assert len(file.splitlines()) < 60


def test_methods_of_one_s_own_answer_in_a_program() -> None:
    answers = run("extending/own_method.py").splitlines()
    assert len(answers) == len(set(answers)) == 3


@pytest.mark.parametrize("place", ["bash", "json"])
def test_methods_of_one_s_own_are_compared_by_command_and_by_config_file(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("questions.json").write_text(json.dumps(["How can I save money?"]))
    written = shown(place).replace("own_method:", f"{OWN}:")
    if place == "bash":
        _, *command = shlex.split(written.replace("\\\n", " "))
    else:
        Path("settings.json").write_text(written)
        command = ["evaluate", "--config", "settings.json", "--out", "runs/own"]
    done = terminal.run(*command)
    assert done.exit_code == 0, done.output
    found = {row["method"]: row for row in rows(Path("runs/own/answers.jsonl"))}
    assert len(found) == written.count("own_method:") + 1
    assert not any("error" in row for row in found.values())
    assert all(-1.0 < row["strength"] < 0.0 for name, row in found.items() if "Gentle" in name)


# --- A backend ---


def test_the_page_on_backends_of_one_s_own_shows_the_whole_example() -> None:
    file = (ROOT / "examples" / "extending" / "own_backend.py").read_text(encoding="utf-8")
    assert shown("py", "backend") == file
    assert len(file.splitlines()) < 60


def test_a_backend_of_one_s_own_answers_as_the_model_that_it_runs_does() -> None:
    with ChatAmulet(temperature=0, dtype="float32") as llm:
        expected = llm.invoke("How can I save money?", preference="Be uplifting.").text
    assert run("extending/own_backend.py") == f"{expected}\n"


@pytest.mark.parametrize("place", ["bash", "json"])
def test_a_backend_of_one_s_own_is_chosen_by_command_and_by_config_file(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = "examples.extending.own_backend:load"
    written = shown(place, "backend").replace("own_backend:load", own)
    if place == "bash":
        _, *command = shlex.split(written.replace("\\\n", " "))
        command += ["--max-tokens", "8"]
    else:
        Path("questions.json").write_text(json.dumps(["How can I save money?"]))
        settings = json.loads(written) | {"decoding": {"max_tokens": 8}}
        Path("settings.json").write_text(json.dumps(settings))
        command = ["evaluate", "--config", "settings.json", "--out", "runs/own"]
    done = terminal.run(*command)
    assert done.exit_code == 0, done.output
    if place == "json":
        found = rows(Path("runs/own/answers.jsonl"))
        assert [row.get("error") for row in found] == [None, None]
