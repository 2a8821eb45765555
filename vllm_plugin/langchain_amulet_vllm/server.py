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

EXCLUDED = {
    "--speculative-config": "drafted tokens aren't steered",
    "-sc": "drafted tokens aren't steered",
    "--scheduling-policy": "answers are taken in as they come",
    "--long-prefill-token-threshold": "all prompts of an answer are read in one pass",
    "--kv-transfer-config": "keys and values of other servers aren't waited for",
    "--skip-tokenizer-init": "a client's tokenizer is compared with the server's",
}
"""What steering can't go with, and why. Settings that come from elsewhere, such as a file, end the
server as it starts, by `check_config`; these do so before anything is loaded."""

HELP = f"""langchain-amulet-vllm MODEL [OPTIONS]: vLLM's server, with preference steering.

MODEL is a folder or a repository on the Hub. Options are those of vLLM's server, which follow.
Set for steering: {", ".join(NEEDED)}.
Refused, as steering can't go with them: {", ".join(EXCLUDED)}.
"""


def arguments(given: Sequence[str]) -> list[str]:
    """The command line of vLLM's server for that of this one.

    Raises:
        SystemExit: One of the options that steering needs or excludes is given, or no model.
    """
    if given and given[0] in ("-h", "--help"):
        print(HELP)
        return ["--help"]
    for name in map(_option, given):
        if name in NEEDED:
            sys.exit(f"{name} is set to {NEEDED[name]!r} for steering: leave it out.")
        if name in EXCLUDED:
            sys.exit(f"Steering can't go with {name}, as {EXCLUDED[name]}: leave it out.")
    if not given or given[0].startswith("-"):
        sys.exit("The first argument must be a model: langchain-amulet-vllm MODEL [OPTIONS].")
    needed = [part for option in NEEDED.items() for part in option]
    return ["--model", *given, *needed]


def _option(argument: str) -> str:
    """An option's name in any of vLLM's spellings: --a_b, --a-b=c and --a-b.c are all --a-b."""
    return argument.partition("=")[0].partition(".")[0].replace("_", "-")


def main() -> None:
    """Start the server, once it is sure that steering will work."""
    check_version()
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")  # whose processors are others
    from vllm.entrypoints.launchers.api_server.entry import main as serve

    sys.argv[1:] = arguments(sys.argv[1:])
    serve()
