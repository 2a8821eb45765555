"""Have a model answer all that the study asks, and score what there is.

``python -m amulet_evals.study decode`` has a model answer, and nothing else. The same command goes
on where it stopped; `timeout` and Ctrl-C lose only the answers under way. The other commands decode
nothing, and may be given on another machine and before all is answered: ``score`` is for the parts
that compare methods on questions, of which ``trade-off`` then shows what a style costs; and
``lasting``, ``applying``, ``quoted``, ``calibrate`` and ``presets`` read those of the other parts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from amulet_evals.config import Evaluation, Scoring
from amulet_evals.data.questions import Question, QuestionSource, read_sets
from amulet_evals.hashing import number
from amulet_evals.run.answering import Answering
from amulet_evals.run.conversations import Talker
from amulet_evals.run.folder import RunFolder
from amulet_evals.study.asked import ANSWERED, PARTS, TAKEN, Amount, Asked, grid, read
from langchain_amulet import ChatAmulet
from langchain_amulet.cli.options import Commands, reporting
from langchain_amulet.errors import ConfigurationError

TURNS = 20


def _say(what: str, done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"{time.strftime('%H:%M:%S')} {what}: {done} of {total}", flush=True)


def _answers(
    part: str,
    out: Path,
    model: str,
    load: dict[str, Any],
    questions: list[Path],
    limit: int,
    concurrency: int,
    methods: list[str],
) -> None:
    """One grid of questions."""
    evaluation = Evaluation(
        **grid(part, methods),
        models=(model,),
        load=load,
        questions=tuple(QuestionSource(source=str(each)) for each in questions),
        limit=limit,
        preferences=read("styles.json"),
        examples=read("examples.json"),
        concurrency=concurrency,
    )
    work = Answering(evaluation, RunFolder(out / part), lambda *at: _say(part, *at[1:]))
    work.find_models()
    with work.run.locked():
        work.decode()


def _conversations(
    out: Path, asked: Asked, llm: ChatAmulet, window: int | None, concurrency: int
) -> None:
    """Conversations, of one turn or of many."""
    run = RunFolder(out)
    with run.locked(), llm:
        llm.load()  # so that what is wrong with the model is told once, and not by each talk
        named = {each.id: each for each in asked.scripts}
        talker = Talker(llm, named, asked.decoding, run.answers, window)
        asyncio.run(talker.talk(asked.talks, concurrency, lambda *at: _say(out.name, *at)))


def _questions(files: Sequence[Path]) -> tuple[Question, ...]:
    """All questions of the files, in an order that is the same on every machine."""
    sources = tuple(QuestionSource(source=str(each)) for each in files)
    found = (
        Question(f"{one.name} {each.id}", each.text)
        for one in read_sets(sources, None, 0)
        for each in one.questions
    )
    return tuple(sorted(found, key=lambda each: number(each.text)))


def _known(parts: list[str] | None) -> list[str] | None:
    """The parts, if there are such ones."""
    for each in parts or ():
        if each not in (*ANSWERED, *PARTS):
            raise typer.BadParameter(f"{each!r} is not one of {', '.join((*ANSWERED, *PARTS))}.")
    return parts


def _check_taken(given: Collection[str], parts: Sequence[str]) -> None:
    """Refuse an option that none of the parts takes, and parts that miss their questions."""
    for name, takers in TAKEN.items():
        if name in given and not set(takers) & set(parts):
            raise typer.BadParameter(
                f"--{name} is taken by {', '.join(takers)}, but what is decoded is "
                f"{', '.join(parts)}: leave it out, or name another --part."
            )
    asking = [each for each in parts if each in TAKEN["questions"]]
    if asking and "questions" not in given:
        raise typer.BadParameter(
            f"{', '.join(asking)} ask questions, but none are given: name a file by --questions."
        )


def _is_given(context: typer.Context, option: str) -> bool:
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


class _Study(Commands):
    """The study's commands, of which each shows the package's own errors as one line."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        """Run one of them."""
        with reporting():
            return super().invoke(*args, **kwargs)


app = typer.Typer(
    cls=_Study, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.command()
def decode(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="A folder or a Hub id; part of the answers' names.")],
    out: Annotated[Path, typer.Option(help="Where the runs' folders are.")],
    questions: Annotated[
        list[Path] | None,
        typer.Option(
            help="Files of questions, a set each, for " + ", ".join(TAKEN["questions"]) + "."
        ),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(callback=_known, help="Only these: " + ", ".join((*ANSWERED, *PARTS))),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Only these of the parts' methods, as its settings call them."),
    ] = None,
    placement: Annotated[
        list[str] | None,
        typer.Option(help="Of conversations, only those with the preference here: system, user."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Most questions of each set, for greedy and sampled.")
    ] = 100,
    conversations: Annotated[
        int, typer.Option(min=1, help="Most conversations, or questions of traits and presets.")
    ] = 24,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each.")] = TURNS,
    window: Annotated[
        int | None,
        typer.Option(min=0, help="Past turns that each is shown; all that fit if left out."),
    ] = None,
    share: Annotated[
        tuple[int, int],
        typer.Option(help="One share of so many of the conversations, for processes side by side."),
    ] = (1, 1),
    device: Annotated[str | None, typer.Option(help="Such as cuda.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as bfloat16.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="Most that keys and values may take, such as 8GiB.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Answers decoded at a time.")] = 128,
) -> None:
    """Have everything answered that isn't."""
    parts = part or (*ANSWERED, *PARTS)
    if (method or placement) and len(part or ()) != 1:
        raise typer.BadParameter("Parts have methods of their own: name one of them, by --part.")
    _check_taken([name for name in TAKEN if _is_given(context, name)], parts)
    rows = 2 * concurrency
    place = {"device": device, "dtype": dtype, "kv_cache_memory": memory, "max_rows": rows}
    load = {name: value for name, value in place.items() if value is not None}
    for each in parts:
        started = time.monotonic()
        if each in ANSWERED:
            _answers(each, out, model, load, questions or [], limit, concurrency, method or [])
        else:
            asked = PARTS[each](model, Amount(_questions(questions or ()), conversations, turns))
            asked = asked.share(*share).narrowed(method or (), placement or ())
            llm = ChatAmulet(model=model, **load)
            _conversations(out / each, asked, llm, window, concurrency)
        print(f"{each}: {time.monotonic() - started:.0f} s", flush=True)


@app.command()
def score(
    out: Annotated[Path, typer.Option(help="Where the runs' folders are.")],
    nearness: Annotated[
        str | None, typer.Option(help="A text encoder: answers' nearness to their questions.")
    ] = None,
) -> None:
    """Score the answers to questions that there are, and make the reports. Decodes nothing."""
    from amulet_evals import score as score_run  # needs what answers are decoded without

    found = [part for part in ANSWERED if (out / part).is_dir()]
    if not found:
        raise ConfigurationError(
            f"What is scored is answers to questions, the parts {' and '.join(ANSWERED)}, but "
            f"{str(out)!r} has neither: name the folder that `decode` was given."
        )
    for part in found:
        scoring = Scoring(**read(f"{part}.json")["scoring"], nearness=nearness)
        print(score_run(out / part, scoring, _say))


Answers = Annotated[list[Path], typer.Option(help="Files of answers; of shares, each one's.")]
Report = Annotated[Path, typer.Option(help="A folder for tables and pictures.")]


@app.command()
def trade_off(
    run: Annotated[Path, typer.Option(help="The folder of a run that was scored.")],
    report: Report,
    against: Annotated[
        str | None,
        typer.Option(help="The method that others are held against, if not the run's baseline."),
    ] = None,
) -> None:
    """Show how far each method brings answers in style, and what that costs."""
    from amulet_evals.study.reports import report_trade_off

    report_trade_off(run, report, against)


@app.command()
def lasting(answers: Answers, report: Report) -> None:
    """Show how far conversations are in style from the first turn to the last."""
    from amulet_evals.study.reports import report_lasting

    report_lasting(answers, report)


@app.command()
def applying(
    answers: Answers,
    report: Report,
    encoder: Annotated[
        str | None, typer.Option(help="A text encoder, to compare topics by.")
    ] = None,
) -> None:
    """Show where preferences with a condition apply, and where they do and shouldn't."""
    from amulet_evals.study.reports import report_applying

    report_applying(answers, report, encoder)


@app.command()
def quoted(answers: Answers, report: Report) -> None:
    """Show how much of what is to be given back is given back as it was."""
    from amulet_evals.study.reports import report_quoted

    report_quoted(answers, report)


@app.command()
def calibrate(answers: Answers, report: Report) -> None:
    """Choose the strengths of traits' levels, write them down, and show what they do."""
    from amulet_evals.study.reports import report_traits

    report_traits(answers, report)


@app.command()
def presets(answers: Answers, report: Report) -> None:
    """Show what the traits of presets do together, beside what each does alone."""
    from amulet_evals.study.reports import report_presets

    report_presets(answers, report)


if __name__ == "__main__":
    app()
