"""Have a model answer all that the study asks, and score what there is.

``python -m amulet_evals.study decode`` has a model answer, and nothing else. The same command goes
on where it stopped; `timeout` and Ctrl-C lose only the answers under way. ``score`` is another
step, which decodes nothing and may be done on another machine and before all is answered.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from amulet_evals.config import Decoding, Evaluation, Scoring
from amulet_evals.data.questions import QuestionSource
from amulet_evals.data.styles import read_styles
from amulet_evals.run.answering import Answering
from amulet_evals.run.conversations import Talker, scripts, talks
from amulet_evals.run.folder import RunFolder
from langchain_amulet import ChatAmulet

FOLDER = Path(__file__).parent
ANSWERED = ("greedy", "sampled")
"""Parts that are questions, one at a time."""
PARTS = (*ANSWERED, "conversations")
LASTING = ("pref", "subtle", "balanced", "amulet")
"""Methods that are compared over conversations."""
TURNS = 20
SYSTEM = "You are a helpful assistant."


def _read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def _say(what: str, done: int, total: int) -> None:
    if done % 500 == 0 or done == total:
        print(f"{time.strftime('%H:%M:%S')} {what}: {done} of {total}", flush=True)


def _answers(
    part: str,
    out: Path,
    model: str,
    load: dict[str, Any],
    questions: list[Path],
    limit: int,
    concurrency: int,
) -> None:
    """One grid of questions."""
    evaluation = Evaluation(
        **_read(f"{part}.json"),
        models=(model,),
        load=load,
        questions=tuple(QuestionSource(source=str(each)) for each in questions),
        limit=limit,
        preferences=_read("styles.json"),
        examples=_read("examples.json"),
        concurrency=concurrency,
    )
    work = Answering(evaluation, RunFolder(out / part), lambda *at: _say(part, *at[1:]))
    work.find_models()
    with work.run.locked():
        work.decode()


def _conversations(
    out: Path, model: str, load: dict[str, Any], limit: int, concurrency: int, turns: int
) -> None:
    """Conversations of many turns."""
    asked = _read("conversations.json")
    found = scripts(asked["topics"][:limit], asked["openings"], asked["turns"], turns)
    styles = [each for each in read_styles(_read("styles.json")) if each.name in asked["styles"]]
    all_talks = talks(model, LASTING, found, styles, ("system", "user"))
    decoding = Decoding(temperature=0.7, max_tokens=96, system=SYSTEM)
    run = RunFolder(out / "conversations")
    with run.locked(), ChatAmulet(model=model, **load) as llm:
        talker = Talker(llm, {each.id: each for each in found}, decoding, run.answers)
        said = talker.talk(all_talks, concurrency, lambda *at: _say("conversations", *at))
        asyncio.run(said)


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def decode(
    model: Annotated[str, typer.Option(help="A folder or a Hub id; part of the answers' names.")],
    questions: Annotated[list[Path], typer.Option(help="Files of questions, a set each.")],
    out: Annotated[Path, typer.Option(help="Where the runs' folders are.")],
    part: Annotated[list[str] | None, typer.Option(help="Only these: " + ", ".join(PARTS))] = None,
    limit: Annotated[int, typer.Option(help="Most questions of each set.")] = 100,
    conversations: Annotated[int, typer.Option(help="Most conversations.")] = 24,
    turns: Annotated[int, typer.Option(help="Turns of each.")] = TURNS,
    device: Annotated[str | None, typer.Option(help="Such as cuda.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as bfloat16.")] = None,
    concurrency: Annotated[int, typer.Option(help="Answers decoded at a time.")] = 128,
) -> None:
    """Have everything answered that isn't."""
    place = {"device": device, "dtype": dtype, "max_rows": 2 * concurrency}
    load = {name: value for name, value in place.items() if value is not None}
    for each in part or PARTS:
        started = time.monotonic()
        if each == "conversations":
            _conversations(out, model, load, conversations, concurrency, turns)
        else:
            _answers(each, out, model, load, questions, limit, concurrency)
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

    for part in ANSWERED:
        if (out / part).is_dir():
            scoring = Scoring(**_read(f"{part}.json")["scoring"], nearness=nearness)
            print(score_run(out / part, scoring, _say))


if __name__ == "__main__":
    app()
