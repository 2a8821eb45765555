"""The study's command on random weights: decoded, killed, gone on with, and scored."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from typer.testing import CliRunner

from amulet_evals import Decoding, Evaluation, Scoring, evaluate, score
from amulet_evals.data.styles import Style
from amulet_evals.hashing import number
from amulet_evals.method_spec import method_of
from amulet_evals.run.conversations import Script, Talk, Talker, talks
from amulet_evals.run.journal import rows
from amulet_evals.study.__main__ import app
from amulet_evals.study.asked import ANSWERED, LASTING, PARTS, TAKEN, read
from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import ConfigurationError, ModelNotFoundError
from support.evaluation_runs import METHODS, answers, cells, decoded, small
from support.prompts import prompts_of, text_of

EXAMPLES = {
    "kind": [{"question": "Who?", "answer": "You, dear."}],
    "short": [{"question": "Who?", "answer": "You."}],
}
SHOWN = {
    "Base": "base",
    "Pref": "pref",
    "Examples": "amulet_evals.in_context:InContext",
    "Examples, Amulet": "amulet_evals.in_context:InContext:method=amulet",
}
SCRIPTS = {each.id: each for each in (Script("a", ("A?", "B?", "C?")), Script("d", ("D?", "E?")))}
STYLES = (Style("kind", ("Be kind.",)),)
TALKS = talks("tiny", ("pref", "amulet"), SCRIPTS.values(), STYLES, ("system", "user"))
SAMPLED = Decoding(temperature=0.7, max_tokens=6, system="You are Tiny.")


# --- Examples ---


def test_answers_with_examples_are_those_to_the_longer_preference(
    tiny: str, tmp_path: Path
) -> None:
    run = decoded(tiny, tmp_path, methods=SHOWN, examples=EXAMPLES, limit=2)
    own = {"Base": "base", "Pref": "pref", "Examples": "pref", "Examples, Amulet": "amulet"}
    with ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12) as llm:
        for row in answers(run):
            assert ("dear" in (row["preference"] or "") or "You." in (row["preference"] or "")) == (
                row["method"].startswith("Examples")
            )
            message = llm.invoke(
                row["question"], preference=row["preference"], method=own[row["method"]]
            )
            assert row["text"] == message.text


def test_examples_are_in_the_preference_s_stream_alone(tiny: str, tmp_path: Path) -> None:
    run = decoded(tiny, tmp_path, methods=SHOWN, examples=EXAMPLES, limit=1)
    row = next(each for each in answers(run) if each["method"] == "Examples, Amulet")
    with ChatAmulet(model=tiny, dtype="float32") as llm:
        llm.invoke("Hello!", max_tokens=1)  # loads it
        prompts = prompts_of(llm, row["question"], preference=row["preference"], method="amulet")
        holding = [text for text in (text_of(llm, each) for each in prompts) if "You" in text]
        assert len(prompts) == 2
        assert len(holding) == 1
        assert row["preference"] in holding[0]


# --- Conversations ---


def talk_all(
    llm: ChatAmulet, path: Path, window: int | None = None
) -> tuple[dict[tuple[str, int], str], list[int]]:
    """Have all conversations; returns answers by talk and turn, and the counts on the way."""
    counts: list[int] = []
    talker = Talker(llm, SCRIPTS, SAMPLED, path, window)
    asyncio.run(talker.talk(TALKS, 3, lambda done, total: counts.append(done)))
    return {(row["talk"], row["turn"]): row["text"] for row in rows(path)}, counts


@pytest.mark.parametrize(
    "window, seen", [(None, (1, 2, 3)), (2, (1, 2, 3)), (1, (2, 3)), (0, (3,))]
)
def test_every_turn_is_answered_with_the_turns_of_its_window_before_it(
    window: int | None, seen: tuple[int, ...], llm: ChatAmulet, tmp_path: Path
) -> None:
    said, counts = talk_all(llm, tmp_path / "answers.jsonl", window)
    assert counts == list(range(1, len(said) + 1))
    assert len(said) == (1 + 2 * 2) * (3 + 2)
    row = next(
        each
        for each in rows(tmp_path / "answers.jsonl")
        if (each["script"], each["turn"], each["placement"]) == ("a", 3, "user")
    )
    history: list[Any] = [SystemMessage("You are Tiny.")]
    for turn in seen:
        history.append(HumanMessage(SCRIPTS["a"].says[turn - 1]))
        if turn < 3:
            history.append(AIMessage(said[row["talk"], turn]))
    message = llm.invoke(
        history,
        preference=row["preference"],
        seed=number(0, "a", 3),
        **{**SAMPLED.call(method_of(row["method"])), "placement": "user"},
    )
    assert row["text"] == message.text


def test_conversations_go_on_where_a_killed_process_left_them(
    llm: ChatAmulet, tmp_path: Path
) -> None:
    whole, _ = talk_all(llm, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    kept = b"".join(lines[:7])
    (tmp_path / "again.jsonl").write_bytes(kept + lines[7][:20])  # the last line is torn
    again, counts = talk_all(llm, tmp_path / "again.jsonl")
    assert again == whole
    assert counts == list(range(8, len(whole) + 1))
    assert (tmp_path / "again.jsonl").read_bytes().startswith(kept)


def test_conversations_do_not_go_on_with_another_window(llm: ChatAmulet, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    talk_all(llm, path, window=1)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"shown 1 past turns and are .* all past turns"):
        talk_all(llm, path)
    assert path.read_bytes() == before


def test_conversations_do_not_go_on_from_rows_of_something_else(
    llm: ChatAmulet, tmp_path: Path
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"talk": "a", "turn": 1, "text": "Hello!"}\n')
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"one without window, .* name a new folder"):
        talk_all(llm, path)
    assert path.read_bytes() == before


def test_what_is_done_is_counted_of_what_is_asked(llm: ChatAmulet, tmp_path: Path) -> None:
    talk_all(llm, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["talk"] != TALKS[0].key]
    (tmp_path / "answers.jsonl").write_bytes(b"".join(kept))
    talker, told = Talker(llm, SCRIPTS, SAMPLED, tmp_path / "answers.jsonl"), []
    asyncio.run(talker.talk(TALKS[:2], 3, lambda *at: told.append(at)))
    assert told == [(4, 6), (5, 6), (6, 6)]


def test_what_is_wished_as_traits_brings_their_strengths(llm: ChatAmulet, tmp_path: Path) -> None:
    talk = Talk("tiny", "auto", "d", "d", "concise ++, formal -", "system")
    talker = Talker(llm, SCRIPTS, SAMPLED, tmp_path / "answers.jsonl")
    asyncio.run(talker.talk([talk], 1, lambda done, total: None))
    row = next(rows(tmp_path / "answers.jsonl"))
    wanted = [Preference.trait("concise", 2), Preference.trait("formal", -1)]
    question = [SystemMessage("You are Tiny."), HumanMessage("D?")]
    settings = SAMPLED.call(method_of("auto"))
    message = llm.invoke(question, preference=wanted, seed=number(0, "d", 1), **settings)
    assert row["text"] == message.text
    assert talk.wanted == tuple(wanted)


def test_a_talk_s_name_tells_everything_that_it_depends_on() -> None:
    talk = Talk("m", "pref", "a", "kind", "Be kind.", "system")
    others = [
        Talk("n", "pref", "a", "kind", "Be kind.", "system"),
        Talk("m", "amulet", "a", "kind", "Be kind.", "system"),
        Talk("m", "pref", "d", "kind", "Be kind.", "system"),
        Talk("m", "pref", "a", "kind", "Be kinder.", "system"),
        Talk("m", "pref", "a", "kind", "Be kind.", "user"),
    ]
    assert len({each.key for each in (talk, *others)}) == len(others) + 1


# --- Scoring without decoding ---


def test_scoring_afterwards_says_what_an_evaluation_says(tiny: str, tmp_path: Path) -> None:
    run = decoded(tiny, tmp_path)
    before = (run / "answers.jsonl").read_bytes()
    score(run)
    evaluate(small(tiny, tmp_path), tmp_path / "at once")
    assert (run / "answers.jsonl").read_bytes() == before
    for metric in ("words", "longest_repeat", "echoes", "tokens"):
        assert cells(run / "report", metric)
        assert cells(run / "report", metric) == cells(tmp_path / "at once" / "report", metric)


def test_methods_that_have_not_answered_everything_are_left_out_until_they_have(
    tiny: str, tmp_path: Path
) -> None:
    run = decoded(tiny, tmp_path)
    lines = (run / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (run / "answers.jsonl").write_bytes(b"".join(lines[:-1]))  # a capped one is missing
    reported = {line["method"] for line in cells(score(run), "words")}
    assert reported == METHODS.keys() - {"Capped"}
    evaluate(small(tiny, tmp_path), run)
    assert {line["method"] for line in cells(run / "report", "words")} == METHODS.keys()


def test_a_baseline_that_has_not_answered_everything_is_refused(tiny: str, tmp_path: Path) -> None:
    run = decoded(tiny, tmp_path)
    settings = (run / "run.json").read_bytes()
    lines = (run / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (run / "answers.jsonl").write_bytes(b"".join(lines[:8]))  # those by base, three by pref
    with pytest.raises(ConfigurationError, match="baseline 'Pref' hasn't: go on"):
        score(run)
    assert (run / "run.json").read_bytes() == settings
    place = score(run, Scoring(baseline="Base"))
    assert {line["method"] for line in cells(place, "words")} == {"Base"}


def test_nearness_is_a_cosine_that_the_question_itself_has_one_of(
    tiny: str, tmp_path: Path
) -> None:
    run = decoded(tiny, tmp_path, methods=["pref"], limit=2)
    found = list(rows(run / "answers.jsonl"))
    found[0]["text"], found[1]["text"] = found[0]["question"], " "
    (run / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    score(run, Scoring(nearness=tiny))
    near = {
        row["answer"]: row["values"]["nearness"]
        for row in rows(run / "scores.jsonl")
        if row["scorer"].startswith("nearness")
    }
    first, second, *others = (near[row["key"]] for row in found)
    assert first == pytest.approx(1.0, abs=1e-5)
    assert second is None
    assert all(-1.0 <= each < 0.999 for each in others)
    with pytest.raises(ModelNotFoundError, match="gone"):
        score(run, Scoring(nearness=str(tmp_path / "gone")))


# --- The command ---


def test_the_study_s_conversations_go_on_by_the_same_command(tmp_path: Path) -> None:
    asked = ("--model", "pocket", "--out", str(tmp_path))
    least = ("--part", "conversations", "--conversations", "1", "--turns", "1")
    kept = tmp_path / "conversations" / "answers.jsonl"
    assert CliRunner().invoke(app, ["decode", *asked, *least]).exit_code == 0
    lines = kept.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + len(LASTING) * 2 * 4
    kept.write_bytes(b"".join(lines[:-2]))
    assert CliRunner().invoke(app, ["decode", *asked, *least]).exit_code == 0
    assert kept.read_bytes().startswith(b"".join(lines[:-2]))
    assert len(list(rows(kept))) == len(lines)
    before = kept.read_bytes()
    refused = CliRunner().invoke(app, ["decode", *asked, *least, "--window", "1"])
    assert refused.exit_code == 1
    assert "name a new folder" in refused.stderr and kept.read_bytes() == before


@pytest.mark.parametrize("option", TAKEN)
def test_an_option_that_no_part_in_question_takes_is_refused(option: str, tmp_path: Path) -> None:
    values = {"placement": ("user",), "share": ("1", "2"), "questions": ("asked.json",)}
    part = next(each for each in (*PARTS, *ANSWERED) if each not in TAKEN[option])
    named = ("--model", "pocket", "--out", str(tmp_path), "--part", part)
    given = (f"--{option}", *values.get(option, ("2",)))
    refused = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["decode", *named, *given])
    assert refused.exit_code == 2
    assert f"--{option} is taken by {', '.join(TAKEN[option])}" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", TAKEN["questions"])
def test_a_part_that_asks_questions_is_refused_without_them(part: str, tmp_path: Path) -> None:
    named = ("--model", "pocket", "--out", str(tmp_path), "--part", part)
    refused = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["decode", *named])
    assert refused.exit_code == 2
    assert "name a file by --questions" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_study_scores_the_parts_that_there_are(tiny: str, tmp_path: Path) -> None:
    decoded(tiny, tmp_path).rename(tmp_path / "greedy")
    before = (tmp_path / "greedy" / "answers.jsonl").read_bytes()
    scored = CliRunner().invoke(app, ["score", "--out", str(tmp_path), "--nearness", tiny])
    assert scored.exit_code == 0
    assert str(tmp_path / "greedy" / "report") in scored.output
    assert {line["method"] for line in cells(tmp_path / "greedy" / "report", "nearness")} == (
        METHODS.keys()
    )
    assert (tmp_path / "greedy" / "answers.jsonl").read_bytes() == before


@pytest.mark.parametrize("part", ["greedy", "sampled"])
def test_every_style_of_the_study_has_examples_and_every_method_is_one(part: str) -> None:
    settings = {each: read(f"{each}.json") for each in ("styles", "examples", part)}
    evaluation = Evaluation(
        **settings[part],
        questions=("asked.jsonl",),
        preferences=settings["styles"],
        examples=settings["examples"],
    )
    assert evaluation.baseline == "Pref"
    assert evaluation.examples.keys() == settings["styles"].keys()
