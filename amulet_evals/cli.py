"""`langchain-amulet evaluate` and `report`: methods compared, in tables, plots and on a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress
from rich.console import Console
from rich.text import Text

from langchain_amulet.cli.options import reporting
from langchain_amulet.errors import ConfigurationError

# Several values by repeating the option; None and no value leave what the config file says.
Models = Annotated[list[str] | None, typer.Option(help="`pocket`, a Hub id, or a folder.")]
Questions = Annotated[
    list[str] | None, typer.Option(help="A .json, .jsonl or .csv file, or a Hub data set.")
]
Column = Annotated[str | None, typer.Option(help="Where a row has its question.")]
Split = Annotated[str | None, typer.Option(help="Part of a Hub data set, else `test`.")]
Limit = Annotated[int | None, typer.Option(help="Most questions of each source.")]
Prefer = Annotated[
    list[str] | None,
    typer.Option(
        "--prefer",
        "-p",
        help="creative, concise, ... as the paper words them; words of your own, or traits as in "
        "`concise ++`; or a .txt or .json file of them.",
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", "-m", help="Such as pref, amulet:kl_cap=0.5, or module:Name of your own."
    ),
]
Baseline = Annotated[str | None, typer.Option(help="The method that others are compared with.")]
Samples = Annotated[int | None, typer.Option(help="Answers per question.")]
Temperature = Annotated[float | None, typer.Option(help="0, the default, is greedy.")]
MaxTokens = Annotated[int | None, typer.Option(help="Longest answer, else 128.")]
Seed = Annotated[int | None, typer.Option(help="Of the choice of questions and of answers.")]
System = Annotated[str | None, typer.Option(help="System message of every prompt.")]
Backend = Annotated[
    str | None, typer.Option(help="What runs the models: a backend's name, or module:name.")
]
BaseUrl = Annotated[
    str | None, typer.Option(help="Where the server is that runs them, for --backend vllm.")
]
Device = Annotated[str | None, typer.Option(help="Such as cuda:0.")]
Dtype = Annotated[str | None, typer.Option(help="Such as bfloat16.")]
Score = Annotated[list[str] | None, typer.Option(help="A function: module:function.")]
RewardModel = Annotated[list[str] | None, typer.Option(help="A reward model: Hub id or folder.")]
Objective = Annotated[list[str] | None, typer.Option(help="Head of the reward model.")]
Judge = Annotated[
    str | None, typer.Option(help="A chat model: openai:gpt-5, or module:name of your own.")
]
Concurrency = Annotated[int | None, typer.Option(help="Answers decoded at a time.")]


def evaluate(
    out: Annotated[Path, typer.Option(help="The run's folder; a run that is there goes on.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Settings as JSON, or a run.json; options override it."),
    ] = None,
    model: Models = None,
    questions: Questions = None,
    column: Column = None,
    split: Split = None,
    limit: Limit = None,
    prefer: Prefer = None,
    method: Methods = None,
    baseline: Baseline = None,
    samples: Samples = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    seed: Seed = None,
    system: System = None,
    backend: Backend = None,
    base_url: BaseUrl = None,
    device: Device = None,
    dtype: Dtype = None,
    score: Score = None,
    reward_model: RewardModel = None,
    objective: Objective = None,
    judge: Judge = None,
    concurrency: Concurrency = None,
) -> None:
    """Compare methods on questions and preferences; the same command again goes on.

    Options may be repeated where several values make sense. Tables, plots and a page are put in
    the folder's report/.
    """
    place = _given(device=device, dtype=dtype)
    settings = _given(
        models=model,
        load=_given(backend=backend, base_url=base_url, **place),
        questions=[_given(source=each, column=column, split=split) for each in questions or ()],
        limit=limit,
        preferences=prefer,
        methods=method,
        samples=samples,
        decoding=_given(temperature=temperature, max_tokens=max_tokens, seed=seed, system=system),
        scoring=_given(
            functions=score,
            reward_models=[
                _given(model=each, objectives=objective, **place) for each in reward_model or ()
            ],
            judge=judge,
            baseline=baseline,
        ),
        concurrency=concurrency,
    )
    with reporting():
        _check_goes_with("--questions", questions, {"--column": column, "--split": split})
        _check_goes_with("--reward-model", reward_model, {"--objective": objective})
        _evaluate(_merged(_read(config) if config else {}, settings), out)


def report(
    folder: Annotated[Path, typer.Argument(help="The folder that `evaluate` wrote to.")],
) -> None:
    """Make the tables, plots and the page of a run anew."""
    with reporting():
        from amulet_evals import report as make

        _print_location(make(folder))


def _evaluate(settings: Mapping[str, Any], out: Path) -> None:
    from amulet_evals import Evaluation
    from amulet_evals import evaluate as run
    from amulet_evals.reporting.report import failures
    from langchain_amulet.cli.models import quiet_loading

    quiet_loading()
    evaluation = Evaluation(**settings)
    try:
        with _progress() as on_progress:
            made = run(evaluation, out, on_progress)
    except KeyboardInterrupt:
        Console().print("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None
    for line in failures(out):
        Console(stderr=True).print(Text(line, "red"), soft_wrap=True)
    _print_location(made)


def _check_goes_with(option: str, given: object, details: Mapping[str, object]) -> None:
    """Refuse an option that says more of another one, where that isn't given."""
    alone = next((name for name, value in details.items() if value and not given), None)
    if alone is not None:
        raise ConfigurationError(
            f"{alone} says more of what {option} names, but {option} isn't given: give both, or "
            "put both in the config file."
        )


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given a value on the command line."""
    return {name: value for name, value in options.items() if value not in (None, [], {})}


def _merged(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a config file, overridden by options; of a group, key by key."""
    merged = {**config, **options}
    for group in ("load", "decoding", "scoring"):
        if isinstance(config.get(group), dict) and group in options:
            merged[group] = {**config[group], **options[group]}
    return merged


def _read(config: Path) -> dict[str, Any]:
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"A config file must hold settings as JSON, but {str(config)!r} can't be read: "
            f"{error}. Mend it, or name another."
        ) from error
    if not isinstance(settings, dict):
        raise ConfigurationError(
            f"A config file must hold settings by their names, but {str(config)!r} holds "
            f"{type(settings).__name__}: put them in braces."
        )
    is_run = isinstance(settings.get("settings"), dict)  # a run.json, which says more than these
    return settings["settings"] if is_run else settings


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for everything that is done, with the time that is left."""
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left:"),
        progress.TimeRemainingColumn(),
    )
    tasks: dict[str, progress.TaskID] = {}
    with progress.Progress(*columns, console=Console(stderr=True)) as bars:

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, completed=done)
            bars.update(tasks[what], completed=done, total=total)

        yield on_progress


def _print_location(report_folder: Path) -> None:
    Console().print(Text(f"The report is in {report_folder}"), soft_wrap=True)
