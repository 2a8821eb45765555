"""Files from the study's answers: tables in Markdown and CSV, pictures, and traits' strengths.

Knows files. Doesn't know how anything is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from amulet_evals.reporting.plots import Plot, style
from amulet_evals.reporting.results import read_results
from amulet_evals.reporting.tables import Table, in_csv, markdown
from amulet_evals.run.folder import RunFolder
from amulet_evals.scorers.trait_measures import OF_STYLE
from amulet_evals.study.applying import Rule, applying, matchers, matching
from amulet_evals.study.asked import LASTING, WORDINGS, preset_trials, read, trait_trials
from amulet_evals.study.calibration import calibrate, level_plot, level_table, strengths
from amulet_evals.study.lasting import Lasting, effect_table, repetition_table, turn_plot
from amulet_evals.study.quoted import kept_table
from amulet_evals.study.said import Said, by_model, read_said
from amulet_evals.study.together import together_table
from amulet_evals.study.trade_off import trade_off_plot, trade_off_table, trade_offs
from langchain_amulet.errors import ConfigurationError


def report_trade_off(run: Path, folder: Path, against: str | None) -> None:
    """What steering brings and costs on questions, held against a method or the run's baseline."""
    results = read_results(RunFolder(run))
    found = tuple(trade_offs(replace(results, baseline=against or results.baseline)))
    _write(folder, "trade-off", [*map(trade_off_table, found)], map(trade_off_plot, found))


def report_lasting(answers: Iterable[Path], folder: Path) -> None:
    """How far conversations are in style from the first turn to the last."""
    said = _read(answers, lambda each: each.method in LASTING and each.style in OF_STYLE)
    found = [Lasting(model, each) for model, each in by_model(said).items()]
    tables = [
        table(each, placement)
        for each in found
        for placement in each.placements
        for table in (effect_table, repetition_table)
    ]
    _write(folder, "lasting", tables, map(turn_plot, found))


def report_applying(answers: Iterable[Path], folder: Path, encoder: str | None) -> None:
    """Where preferences with a condition apply, and where they do and shouldn't."""
    rules, asked = [Rule.of(row) for row in read("conditions.json")], matchers(encoder)
    said = by_model(_read(answers, lambda each: each.style in WORDINGS))
    tables = (applying(model, each, rules, asked) for model, each in said.items())
    _write(folder, "applying", [matching(rules, asked), *tables])


def report_quoted(answers: Iterable[Path], folder: Path) -> None:
    """What was given back as it was, by kind."""
    keeps = read("quoting.json")["keeps"]
    scripts = {f"{kind} {at}" for kind, texts in keeps.items() for at in range(len(texts))}
    said = by_model(_read(answers, lambda each: each.script in scripts))
    _write(folder, "quoted", [kept_table(model, each, keeps) for model, each in said.items()])


def report_traits(answers: Iterable[Path], folder: Path) -> None:
    """The strengths of traits' levels, chosen for all models together, and what these do."""
    tried = {name for name, _, _ in trait_trials()}
    said = _read(answers, lambda each: each.style in tried)
    levels = tuple(calibrate(said))
    tables = [level_table(model, levels) for model in by_model(said)]
    _write(folder, "traits", tables, map(level_plot, [levels]))
    text = json.dumps(strengths(levels), indent=2)
    (folder / "strengths.json").write_text(f"{text}\n", encoding="utf-8")


def report_presets(answers: Iterable[Path], folder: Path) -> None:
    """What the traits of presets do together, and alone."""
    asked = {name for name, _, _ in preset_trials()}
    said = by_model(_read(answers, lambda each: each.style in asked))
    tables = [together_table(model, each) for model, each in said.items()]
    _write(folder, "presets", tables)


def _read(answers: Iterable[Path], is_asked: Callable[[Said], bool]) -> tuple[Said, ...]:
    """Answers of one part of the study.

    Args:
        answers: Journals.
        is_asked: Whether the part asks for an answer that is in a style.

    Raises:
        ConfigurationError: There are answers of another part, or none in any style.
    """
    said = read_said(answers)
    styled = [each for each in said if each.style is not None]
    if not styled or not all(map(is_asked, styled)):
        raise ConfigurationError(
            "A report is made of one part's answers, some of them in a style, but these are of "
            "another part or all plain: name the answers.jsonl in the folder of this report's part."
        )
    return said


def _write(folder: Path, name: str, tables: Sequence[Table], plots: Iterable[Plot] = ()) -> None:
    """Put tables and pictures into a folder; these are drawn as they are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text("\n".join(map(markdown, tables)), encoding="utf-8")
    titled = [((each.title,), each) for each in tables]
    (folder / f"{name}.csv").write_text(in_csv(titled, ("table",)), encoding="utf-8")
    with style():
        for each in plots:
            (folder / f"{each.file_name}.svg").write_bytes(each.svg())
