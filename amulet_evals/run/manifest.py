"""What a run was made with: settings, methods, weights, versions, hardware.

Answers of one run are comparable because this is checked when a run goes on: whatever an answer
depends on must be as it was, everything else (more questions, methods, samples, scores) may grow.

This module knows JSON and fingerprints: nothing of how answers are made or scored.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from pydantic import BaseModel, ConfigDict, computed_field

from amulet_evals.hardware import hardware
from amulet_evals.hashing import digest
from amulet_evals.run.grid import MethodNote
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.version import VERSION

WEIGHTS = {".safetensors", ".bin", ".json", ".jinja", ".model"}
"""Ends of the names of files that decide what a model answers."""

PACING = {"compile", "cuda_graphs", "kv_cache_memory", "max_queue", "max_rows", "prefill_chunk"}
"""Options for loading that decide how fast answers come, and nothing else."""

END = 2**20
"""How many bytes at either end of a file its fingerprint is made of."""


AGAINST = " against "
"""What stands in the name of a scorer that compares, before the baseline's label."""

Needs = Literal["answer", "preference", "baseline"]
"""What a scorer reads: question and answer; the preference, too; or the baseline's answer, too."""


class Metric(BaseModel):
    """A number that an answer is scored by.

    Attributes:
        name: Its name among the values of a score.
        title: What tables call it.
        scorer: Who gives it.
        needs: What the scorer reads.
        better: Which end is wanted; None where that depends on the style.
        parity: The number of a method that is the baseline's equal; None for the baseline's own.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    scorer: str
    needs: Needs
    better: Literal["higher", "lower"] | None = "higher"
    parity: float | None = None


class Manifest(BaseModel):
    """What a run was made with.

    Attributes:
        settings: As they were given the last time; a config file for the same again.
        methods: Notes on methods by their labels, of all that were ever run here.
        weights: Fingerprints of models by their names, of the methods' own too.
        metrics: What answers were scored by.
        models: Names of the models that the report is about.
        labels: Labels of the methods that it is about.
        samples: Answers per question.
        baseline: Label of the method that the others are compared with.
        sessions: Versions and hardware of every time that the run went on.
    """

    settings: dict[str, Any]
    methods: dict[str, MethodNote]
    weights: dict[str, str] = {}
    metrics: tuple[Metric, ...] = ()
    models: tuple[str, ...]
    labels: tuple[str, ...]
    samples: int
    baseline: str
    sessions: tuple[dict[str, str], ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fingerprint(self) -> str:
        """A name for everything that the answers depend on, besides what is asked."""
        settings = (self.settings["decoding"], _deciding(self.settings["load"]))
        return digest(
            json.dumps([*settings, _definition(self.methods), self.weights], sort_keys=True)
        )

    def continuing(self, earlier: Manifest) -> Manifest:
        """This one, going on where an earlier one stopped.

        Raises:
            ConfigurationError: Something that answers depend on isn't as it was.
        """
        checked = {
            "setting": (earlier.settings["decoding"], self.settings["decoding"]),
            "option for loading": _filled(
                _deciding(earlier.settings["load"]), _deciding(self.settings["load"])
            ),
            "method": (_definition(earlier.methods), _definition(self.methods)),
        }
        for what, (before, now) in checked.items():
            _refuse_change(what, before, now)
        own = {(metric.scorer, metric.name) for metric in self.metrics}
        kept = (
            each
            for each in earlier.metrics
            if (each.scorer, each.name) not in own
            # What was compared with another baseline says nothing of this one.
            and (each.needs != "baseline" or earlier.baseline == self.baseline)
        )
        return self.model_copy(
            update={
                "methods": {**earlier.methods, **self.methods},
                "weights": earlier.weights,
                "metrics": (*self.metrics, *kept),
                "sessions": (*earlier.sessions, *self.sessions),
            }
        )

    def with_weights(self, weights: Mapping[str, str]) -> Manifest:
        """This one, after models were loaded and have these fingerprints.

        Raises:
            ConfigurationError: A model isn't the one that earlier answers are from.
        """
        _refuse_change("fingerprint of", self.weights, weights)
        return self.model_copy(update={"weights": {**self.weights, **weights}})


def session() -> dict[str, str]:
    """What this process would make answers with."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "langchain-amulet": VERSION,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "hardware": "; ".join(map(hardware, devices or ["cpu"])),
    }


def fingerprint(model: str, revision: str | None = None) -> str | None:
    """A name for a model's weights, tokenizer and template; None for what isn't on this machine.

    Of a local folder it is made of the names, sizes and ends of its files, which is enough to
    tell trainings apart; of a repository on the Hub it is the commit in the local cache, that of
    a branch, tag or commit if ``revision`` names one.
    """
    folder = Path(resolve_model(model))
    if not folder.is_dir():
        try:
            cached = try_to_load_from_cache(model, "config.json", revision=revision)
        except HFValidationError:  # a name that only a backend of one's own makes sense of
            return None
        return Path(cached).parent.name if isinstance(cached, str) else None
    found = hashlib.sha256()
    for path in sorted(each for each in folder.iterdir() if each.suffix in WEIGHTS):
        found.update(f"{path.name} {path.stat().st_size}".encode())
        with path.open("rb") as file:
            found.update(file.read(END))
            file.seek(max(0, path.stat().st_size - END))
            found.update(file.read())
    return found.hexdigest()[:16]


def fingerprints(models: Mapping[str, str | None]) -> dict[str, str]:
    """The fingerprints of those models that are here, each of its revision."""
    found = {model: fingerprint(model, revision) for model, revision in models.items()}
    return {model: name for model, name in found.items() if name is not None}


def _definition(methods: Mapping[str, MethodNote]) -> dict[str, str]:
    return {label: note.definition for label, note in methods.items()}


def _deciding(load: Mapping[str, Any]) -> dict[str, Any]:
    """The options for loading that answers depend on."""
    return {name: value for name, value in load.items() if name not in PACING}


def _filled(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Both, where what one of them doesn't name is None."""
    nothing = dict.fromkeys([*before, *now])
    return {**nothing, **before}, {**nothing, **now}


def _refuse_change(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Whatever both have must be the same."""
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            raise ConfigurationError(
                f"A run goes on with what it was begun with, but the {what} {name!r} was "
                f"{before[name]!r} and is {now[name]!r}: begin in a new folder, or change it back."
            )
