"""``langchain-amulet-vllm MODEL [OPTIONS]``: vLLM's own server, with steering.

Options are those of ``vllm serve``; what steering needs of them is set here.

Knows vLLM's command line. Doesn't know what is set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from langchain_amulet.sampling import MOST_TOP_LOGPROBS
from langchain_amulet_vllm.support import LOGPROBS_MODE, PROCESSOR, SCHEDULER, check_version

NEEDED = {
    "--scheduler-cls": SCHEDULER,
    "--logits-processors": PROCESSOR,
    "--logprobs-mode": LOGPROBS_MODE,
    "--max-logprobs": str(MOST_TOP_LOGPROBS + 1),
}
"""What steering needs of the server."""


def arguments(given: Sequence[str]) -> list[str]:
    """The command line of vLLM's server for that of this one.

    Raises:
        SystemExit: One of the options that steering needs is given, or no model.
    """
    taken = [name for name in NEEDED if any(each.split("=")[0] == name for each in given)]
    if taken:
        sys.exit(f"{taken[0]} is set to {NEEDED[taken[0]]!r} for steering: leave it out.")
    if not given or given[0].startswith("-"):
        sys.exit("The first argument must be a model: langchain-amulet-vllm MODEL [OPTIONS].")
    needed = [part for option in NEEDED.items() for part in option]
    return ["--model", *given, *needed]


def main() -> None:
    """Start the server, once it is sure that steering will work."""
    check_version()
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")  # whose processors are others
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    sys.argv[1:] = arguments(sys.argv[1:])
    serve()
