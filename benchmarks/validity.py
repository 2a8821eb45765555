"""How many answers under a grammar are valid: all of them, or the command fails.

Answers are hot (temperature 1.5) and steered at the paper's strength, without the mask that keeps
them plausible, by the bundled model and by random ones, which write whatever a grammar lets them.
Half of them have hardly more tokens than their schema needs, so that they are brought to an end.
All go through `ChatAmulet`, as JSON by a schema or as calls of a tool with that schema, many at a
time. What comes back is read by ``json`` and checked by ``jsonschema``, which know nothing of this
package.

    python -m benchmarks.validity                     # 1,000 answers of each model
    python -m benchmarks.validity --samples 100 --models random
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from rich.table import Table

from benchmarks.harness import console
from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ContextLengthError
from langchain_amulet.methods import Amulet
from support.models import save_random_model
from support.schemas import SCHEMAS, Schema
from support.tokenizers import byte_fallback, byte_level

MODELS = ("pocket", "random", "random-sentencepiece")
AT_ONCE = 16
PLENTY, LITTLE = 512, 24
"""Tokens with which an answer is tried first; twice as many as long as they are too few."""


@dataclass(frozen=True)
class Attempt:
    """One answer to ask for.

    Attributes:
        schema: The schema's name.
        seed: What is drawn, and so the answer.
        tokens: How many it may have.
        as_call: Whether it is a tool's arguments.
    """

    schema: str
    seed: int
    tokens: int
    as_call: bool


@dataclass(frozen=True)
class Validity:
    """What became of an attempt: valid, or why it isn't."""

    attempt: Attempt
    fault: str = ""


def attempts(count: int) -> Iterator[Attempt]:
    """All schemas in turn: with many tokens and with few, as text and, if objects, as calls."""
    names = list(SCHEMAS)
    for seed in range(count):
        name, turn = names[seed % len(names)], seed // len(names)
        as_call = turn % 4 >= 2 and SCHEMAS[name].get("type") == "object"
        yield Attempt(name, seed, PLENTY if turn % 2 else LITTLE, as_call)


def check(llm: ChatAmulet, attempt: Attempt) -> Validity:
    """Ask, and check what comes back."""
    schema = SCHEMAS[attempt.schema]
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    try:
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        for value in _values(llm, attempt, schema):
            validator.validate(value)
    except (ValueError, jsonschema.ValidationError) as error:
        return Validity(attempt, str(error).splitlines()[0])
    return Validity(attempt)


def _values(llm: ChatAmulet, attempt: Attempt, schema: Schema) -> list[Any]:
    """What the answer says: one value, or the arguments of its calls."""
    if not attempt.as_call:
        return [json.loads(_answer(llm, attempt, response_format=_format(schema)).content)]
    tool = {"name": "store", "description": "Store it.", "parameters": dict(schema)}
    answer = _answer(llm, attempt, tools=[tool], tool_choice="any")
    if answer.invalid_tool_calls or not answer.tool_calls:
        raise ValueError(f"no whole call: {answer.invalid_tool_calls}")
    return [call["args"] for call in answer.tool_calls]


def _answer(llm: ChatAmulet, attempt: Attempt, **wanted: Any) -> Any:
    tokens = attempt.tokens
    while True:
        try:
            return llm.invoke("Fill it in.", seed=attempt.seed, max_tokens=tokens, **wanted)
        except ContextLengthError:
            tokens *= 2
            if tokens > 2**12:
                raise


def _format(schema: Schema) -> Mapping[str, Any]:
    return {"type": "json_object", "schema": schema}


@contextmanager
def opened(name: str) -> Iterator[ChatAmulet]:
    """A model, hot and steered; the random ones are made here."""
    steering = {"temperature": 1.5, "preference": "Be kind.", "method": Amulet.paper()}
    with tempfile.TemporaryDirectory() as folder:
        if name != "pocket":
            tokenizer = byte_level() if name == "random" else byte_fallback()
            name = save_random_model(Path(folder), tokenizer, positions=8192)
        with ChatAmulet(model=name, dtype="float32", **steering) as llm:
            yield llm


def main() -> None:
    """Ask, count and print."""
    options = _arguments()
    table = Table("model", "schemas", "answers", "as calls", "valid", "seconds", min_width=80)
    faults: list[str] = []
    for model in options.models:
        start = time.perf_counter()
        with opened(model) as llm, ThreadPoolExecutor(AT_ONCE) as pool:
            checked = list(pool.map(lambda each: check(llm, each), attempts(options.samples)))
        faults += [f"{model}: {each.attempt}: {each.fault}" for each in checked if each.fault]
        count = Counter(bool(each.fault) for each in checked)
        table.add_row(
            model,
            str(len({each.attempt.schema for each in checked})),
            str(len(checked)),
            str(sum(each.attempt.as_call for each in checked)),
            str(count[False]),
            f"{time.perf_counter() - start:.0f}",
        )
    shown = console()
    shown.print(table)
    for fault in faults:
        shown.print(fault)
    sys.exit(bool(faults))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="answers of each model")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
