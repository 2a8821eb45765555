"""The study's reports, by the commands that make them: answers with known numbers, read back."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from amulet_evals.data.questions import Question
from amulet_evals.run.conversations import Talk
from amulet_evals.run.journal import Journal, rows
from amulet_evals.scorers.trait_measures import MEASURES
from amulet_evals.study.__main__ import app
from amulet_evals.study.applying import Rule
from amulet_evals.study.asked import PARTS, Amount, read
from langchain_amulet.preferences import PRESETS
from support.evaluation_runs import decoded

PLAIN = "Rest a little now and then."
MORE = {
    "concise": "Rest.",
    "enthusiastic": "Rest a little now and then!",
    "formal": "It is advisable to rest a little now and then.",
    "warm": "Rest a little now and then, dear friend.",
    "creative": "Rest a little now and then, like a cat.",
    "lists": "- Rest a little.",
    "simple": "Go to bed.",
}
"""For a trait an answer that has more of it than the plain one."""
LONGER = "Rest a little now and then, and sleep as long as you like."

Cells = dict[tuple[str, str, str], dict[str, str]]


def study(command: str, *arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, *map(str, arguments)])


def answered(path: Path, found: Iterator[tuple[Talk, int, str]]) -> Path:
    """A journal of answers: to a talk, at a turn, a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Journal(path) as journal:
        for talk, turn, text in found:
            journal.append({"talk": talk.key, **asdict(talk), "turn": turn, "text": text})
    return path


def single(part: str, amount: Amount, text_of: Callable[[Talk], str]) -> Iterator[Any]:
    """A text for each talk of one turn that a part of the study asks for."""
    return ((talk, 1, text_of(talk)) for talk in PARTS[part]("models/m", amount).talks)


def reported(command: str, *answers: Path, options: tuple[str, ...] = ()) -> Cells:
    """What a command writes, as its CSV says it: cells by table, method and column."""
    folder = answers[0].parent / "report"
    files = [each for path in answers for each in ("--answers", path)]
    done = study(command, *files, "--report", folder, *options)
    assert done.exit_code == 0, done.output
    (table,) = folder.glob("*.csv")
    assert table.with_suffix(".md").read_text().startswith("**")
    return cells(table)


def cells(table: Path) -> Cells:
    with table.open(newline="") as lines:
        return {
            (line["table"], line["method"], line["column"]): line for line in csv.DictReader(lines)
        }


def means(found: Cells, table: str, method: str) -> dict[str, float]:
    return {
        column: float(cell["mean"] or "nan")
        for (own, label, column), cell in found.items()
        if (own, label) == (table, method)
    }


def ends(cell: Mapping[str, str]) -> tuple[float, float]:
    return float(cell["difference_low"]), float(cell["difference_high"])


# --- lasting ---

IN_STYLE_FOR = {"pref": 1, "amulet": 3}
"""The last turn at which answers are in style."""


def talked(script: str, turns: int) -> Iterator[tuple[Talk, int, str]]:
    """A conversation, plain and by two methods, each in style for as long as it is."""
    for turn in range(1, turns + 1):
        yield Talk("models/m", "base", script, None, None, "system"), turn, PLAIN
        for method, last in IN_STYLE_FOR.items():
            talk = Talk("models/m", method, script, "concise", "Be brief.", "system")
            yield talk, turn, MORE["concise"] if turn <= last else PLAIN


def test_lasting_tells_what_fades_of_the_answers_of_all_shares(tmp_path: Path) -> None:
    shares = [answered(tmp_path / each / "answers.jsonl", talked(each, 3)) for each in "ab"]
    found = reported("lasting", *shares)
    title = "in style, wished in the system message: m"
    assert means(found, title, "pref") == {
        "turn 1": 1.0, "turns 2 to 3": 0.0, "second less first": -1.0,
    }  # fmt: skip
    assert means(found, title, "amulet") == {
        "turn 1": 1.0, "turns 2 to 3": 1.0, "second less first": 0.0,
    }  # fmt: skip
    assert {cell["n"] for cell in found.values()} == {"2"}
    assert ends(found[title, "amulet", "turns 2 to 3"]) == (1.0, 1.0)
    assert found[title, "pref", "turns 2 to 3"]["difference_low"] == ""
    picture = (shares[0].parent / "report" / "style-by-turn-m.svg").read_text()
    assert ">amulet<" in picture and ">strong<" not in picture


def test_of_conversations_of_one_turn_nothing_is_said_to_fade_or_last(tmp_path: Path) -> None:
    found = reported("lasting", answered(tmp_path / "answers.jsonl", talked("a", 1)))
    assert {column for _, _, column in found} == {"turn 1"}


# --- applying ---


def test_applying_tells_where_a_preference_applies_and_where_it_should_not(tmp_path: Path) -> None:
    rules = {row["name"]: Rule.of(row) for row in read("conditions.json")}
    applies = {script for rule in rules.values() for script, _ in rule.numbered("applies")}

    def text_of(talk: Talk) -> str:
        is_heard = talk.style == "preference" or (talk.style and talk.script in applies)
        trait = rules[talk.script.rpartition(" ")[0]].trait
        return MORE[trait] if is_heard else PLAIN

    nothing = Amount((), 0, 1)
    path = answered(tmp_path / "answers.jsonl", single("conditions", nothing, text_of))
    found = reported("applying", path)
    should, should_not = "where it applies", "where it doesn't"
    table = "in style: m"
    assert means(found, table, "pref, always") == {should: 1.0, should_not: 1.0}
    assert means(found, table, "pref, in words") == {should: 1.0, should_not: 0.0}
    matched = means(found, "matched", "words")
    assert 0.5 < matched[should] < 1.0 and matched[should_not] == 0.0
    assert means(found, table, "pref, when, words") == pytest.approx(matched)
    assert ends(found[table, "pref, always", should]) == (1.0, 1.0)
    assert {cell["n"] for cell in found.values()} == {"54"}


def test_questions_that_nobody_has_answered_yet_apply_to_nothing(tmp_path: Path) -> None:
    first = read("conditions.json")[0]

    def some() -> Iterator[Any]:
        for talk, turn, _ in single("conditions", Amount((), 0, 1), lambda talk: ""):
            if talk.script.startswith(f"{first['name']} "):
                yield talk, turn, MORE[first["trait"]] if talk.style else PLAIN

    found = reported("applying", answered(tmp_path / "answers.jsonl", some()))
    counts = {cell["n"] for (table, _, _), cell in found.items() if table == "in style: m"}
    assert counts == {"9"}


# --- quoted ---


def test_quoted_tells_what_was_given_back_letter_by_letter(tmp_path: Path) -> None:
    keeps = read("quoting.json")["keeps"]

    def text_of(talk: Talk) -> str:
        kind, _, at = talk.script.rpartition(" ")
        text = str(keeps[kind][int(at)])
        if talk.method == "amulet" and kind == "name":
            return text.lower()
        return f"It is {text}." if talk.method != "base" or int(at) < 5 else PLAIN

    nothing = Amount((), 0, 1)
    found = reported(
        "quoted", answered(tmp_path / "answers.jsonl", single("quoting", nothing, text_of))
    )
    table = "given back as it was: m"
    assert means(found, table, "base") == dict.fromkeys(keeps, 0.5)
    assert means(found, table, "pref") == dict.fromkeys(keeps, 1.0)
    assert means(found, table, "amulet") == {**dict.fromkeys(keeps, 1.0), "name": 0.0}
    assert ends(found[table, "amulet", "name"]) == (-1.0, -1.0)
    assert ends(found[table, "amulet", "code"]) == (0.0, 0.0)
    assert found[table, "pref", "name"]["difference_low"] == ""
    assert {cell["n"] for cell in found.values()} == {"10"}


# --- calibrate ---


def trait_text(talk: Talk) -> str:
    """More of brevity from a strength of 0.3 on, less of it from 1.2 on; of others nothing."""
    strength = float(talk.method.partition("strength=")[2] or 0)
    if talk.style == "concise more" and strength >= 0.3:
        return MORE["concise"]
    return LONGER if talk.style == "concise less" and strength >= 1.2 else PLAIN


def test_calibrate_writes_down_the_strengths_that_it_shows(tmp_path: Path) -> None:
    questions = tuple(Question(str(at), f"What is {at}?") for at in range(4))
    amount = Amount(questions, 4, 1)
    path = answered(tmp_path / "answers.jsonl", single("traits", amount, trait_text))
    found = reported("calibrate", path)
    chosen = json.loads((tmp_path / "report" / "strengths.json").read_text())
    assert chosen["concise"] == {
        "less_strengths": [-0.7, 1.2], "has_less": True, "more_strengths": [-0.7, 0.3],
    }  # fmt: skip
    assert chosen["warm"]["more_strengths"] == [0.0, 1.2]  # those of what shows nothing
    assert chosen.keys() == MEASURES.keys()
    table = "effect of each level: m"
    assert means(found, table, "concise") == {"-2": -1.0, "-1": 0.0, "+1": 0.0, "+2": 1.0}
    assert ends(found[table, "concise", "+2"]) == (1.0, 1.0)
    assert (tmp_path / "report" / "effects-of-traits-by-level.svg").exists()


def test_a_trait_that_falls_apart_at_any_strength_has_the_strength_where_it_does_least(
    tmp_path: Path,
) -> None:
    def text_of(talk: Talk) -> str:
        strength = talk.method.partition("strength=")[2]
        if talk.style != "warm more":
            return PLAIN
        return "dear " * (5 if strength == "0.7" else 50)

    amount = Amount((Question("0", "What?"), Question("1", "Who?")), 2, 1)
    path = answered(tmp_path / "answers.jsonl", single("traits", amount, text_of))
    reported("calibrate", path)
    chosen = json.loads((tmp_path / "report" / "strengths.json").read_text())
    assert chosen["warm"]["more_strengths"] == [0.7, 0.7]


# --- presets ---


def test_presets_tells_what_traits_do_together_beside_what_each_does_alone(tmp_path: Path) -> None:
    texts = {"friendly": MORE["warm"], "warm +": MORE["warm"], "formal -": MORE["formal"]}
    amount = Amount(tuple(Question(str(at), f"What is {at}?") for at in range(3)), 3, 1)
    answers = single("presets", amount, lambda talk: texts.get(talk.style or "", PLAIN))
    found = reported("presets", answered(tmp_path / "answers.jsonl", answers))
    table = "as wished: m"
    several = [name for name, levels in PRESETS.items() if len(levels) > 1]
    assert {row.partition(":")[0] for _, row, _ in found} == set(several)
    repeated = {"repeated 4-grams, together": 0.0}
    assert means(found, table, "friendly: warm +") == {"alone": 1.0, "together": 1.0, **repeated}
    assert means(found, table, "friendly: formal -") == {"alone": -1.0, "together": 0.0, **repeated}
    assert ends(found[table, "friendly: formal -", "together"]) == (1.0, 1.0)
    assert means(found, table, "sober: warm -") == {"alone": 0.0, "together": 0.0, **repeated}
    assert {cell["n"] for cell in found.values()} == {"3"}


# --- score and trade-off ---

COUNTED: dict[str, Any] = {
    "preferences": {"concise": "Be concise."},
    "methods": {"Base": "base", "Pref": "pref", "Amulet": "amulet"},
}
SAID = {"Base": (PLAIN, PLAIN), "Pref": ("Rest.", PLAIN), "Amulet": ("Rest.", "Rest.")}


def counted(model: str, folder: Path, **fields: Any) -> Path:
    """A run of the study's greedy part, with what `SAID` answers to each question."""
    run = decoded(model, folder, limit=2, **{**COUNTED, **fields})
    found, left = list(rows(run / "answers.jsonl")), {each: iter(SAID[each]) for each in SAID}
    for row in found:
        row["text"] = next(left[row["method"]])
    (run / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return run.rename(folder / "greedy")


def test_a_trade_off_is_what_a_style_brings_beside_what_it_costs(tiny: str, tmp_path: Path) -> None:
    run, folder = counted(tiny, tmp_path), tmp_path / "shown"
    scored = study("score", "--out", tmp_path, "--nearness", tiny)
    assert scored.exit_code == 0, scored.output
    done = study("trade-off", "--run", run, "--report", folder)
    assert done.exit_code == 0, done.output
    found = cells(folder / "trade-off.csv")
    (table,) = {title for title, _, _ in found}
    numbers = {method: means(found, table, method) for method in SAID}
    assert [each["in style"] for each in numbers.values()] == [0.0, 0.5, 1.0]
    assert [each["words"] for each in numbers.values()] == [6.0, 3.5, 1.0]
    assert ends(found[table, "Amulet", "in style"]) == (0.0, 1.0)
    other = study("trade-off", "--run", run, "--report", folder, "--against", "Amulet")
    assert other.exit_code == 0, other.output
    against = cells(folder / "trade-off.csv")
    assert ends(against[table, "Pref", "in style"]) == (-1.0, 0.0)
    assert means(against, table, "Pref") == pytest.approx(numbers["Pref"], nan_ok=True)
    near = [
        row["values"]["nearness"]
        for row in rows(run / "scores.jsonl")
        if row["scorer"].startswith("nearness") and row["values"]["nearness"] is not None
    ]
    assert min(near) <= numbers["Amulet"]["nearness to question"] <= max(near)
    (picture,) = folder.glob("trade-off-*.svg")
    assert all(f">{method}<" in picture.read_text() for method in ("Pref", "Amulet"))


def test_a_style_that_nobody_can_count_has_no_trade_off(tiny: str, tmp_path: Path) -> None:
    run = counted(tiny, tmp_path, preferences={"odd": "Be odd."})
    study("score", "--out", tmp_path)
    done = study("trade-off", "--run", run, "--report", tmp_path / "shown")
    assert done.exit_code == 1
    assert "1 other styles" in done.stderr and "odd" not in done.stderr
    assert not (tmp_path / "shown").exists()


# --- What can't be done ---


@pytest.mark.parametrize("command", ["lasting", "applying", "quoted", "calibrate"])
def test_a_report_of_nothing_is_refused_in_one_line(command: str, tmp_path: Path) -> None:
    of_questions = tmp_path / "greedy.jsonl"
    of_questions.write_text('{"key": "a", "model": "m", "text": "Rest."}\n')
    plain = (each for each in talked("a", 1) if each[0].style is None)
    for path in (tmp_path / "gone", of_questions, answered(tmp_path / "plain.jsonl", plain)):
        done = study(command, "--answers", path, "--report", tmp_path / "shown")
        assert done.exit_code == 1
        assert done.stderr.count("\n") == 1 and "answers.jsonl" in done.stderr
    assert not (tmp_path / "shown").exists()


@pytest.mark.parametrize("command", ["lasting", "applying", "quoted", "calibrate"])
def test_answers_of_another_part_are_refused(command: str, tmp_path: Path) -> None:
    other = Talk("m", "amulet:strength=9", "s", "odd", "Be odd.", "system")
    path = answered(tmp_path / "answers.jsonl", iter([(other, 1, "Rest.")]))
    done = study(command, "--answers", path, "--report", tmp_path / "shown")
    assert done.exit_code == 1
    assert "of another part" in done.stderr and "odd" not in done.stderr


def test_where_nothing_was_answered_there_is_nothing_to_score(tmp_path: Path) -> None:
    done = study("score", "--out", tmp_path)
    assert done.exit_code == 1
    assert "has neither" in done.stderr


@pytest.mark.parametrize(
    "options, told",
    [
        (("--part", "odd"), "'odd' is not one of"),
        (("--turns", "0"), "'--turns'"),
        (("--turns", "26"), "ask for 25 at the most"),
        (("--conversations", "0"), "'--conversations'"),
        (("--window", "-1"), "'--window'"),
        (("--concurrency", "0"), "'--concurrency'"),
        (("--share", "3", "2"), "3 of 2"),
        (("--share", "0", "2"), "0 of 2"),
        (("--method", "Pref"), "No method of this part is 'Pref': it has 'pref', 'auto'"),
        (("--part", "greedy", "--method", "pref"), "name one of them, by --part"),
        (("--placement", "top"), "No placement of this part is 'top': it has 'system', 'user'"),
    ],
)
def test_amounts_that_make_no_study_are_refused(
    options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    given = ("--model", "pocket", "--out", tmp_path / "out")
    done = study("decode", *given, "--part", "conversations", *options)
    assert done.exit_code in (1, 2)
    assert told in done.stderr
    assert not (tmp_path / "out").exists()
