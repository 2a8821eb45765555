"""How many JSON schemas of a corpus answers can be held to, and what the others are refused for.

Every ``.json`` file below a folder is taken for a schema, whose grammar is made and checked;
nothing is decoded. A corpus is, for instance, the folder ``data`` of the repository
guidance-ai/jsonschemabench on GitHub.

    python -m benchmarks.schemas path/to/jsonschemabench/data
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

from rich.progress import track
from transformers import AutoTokenizer

from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar import GrammarCompiler, json_rule


def refusal(path: Path, compiler: GrammarCompiler) -> str | None:
    """Why answers can't be held to a schema; None if they can.

    Raises:
        ValueError: It isn't JSON.
    """
    try:
        compiler.check(f"start: {json_rule(json.loads(path.read_text(encoding='utf-8')))}")
    except SchemaError as error:
        return str(error)
    return None


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tell", action="store_true", help="why each of the others is refused")
    given = parser.parse_args()
    paths = sorted(given.folder.rglob("*.json"))
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("pocket"))
    compiler = GrammarCompiler(tokenizer, len(tokenizer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {path: refusal(path, compiler) for path in track(paths)}
    refused = {path: why for path, why in found.items() if why is not None}
    for path, why in refused.items() if given.tell else ():
        print(f"{path.relative_to(given.folder)}: {why}")
    print(f"{len(paths)} schemas: {len(paths) - len(refused)} held, {len(refused)} refused")


if __name__ == "__main__":
    main()
