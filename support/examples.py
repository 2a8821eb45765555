"""The examples as a reader runs them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(example: str, *arguments: str) -> str:
    """What an example prints when a reader runs it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *arguments],
        check=True, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout
