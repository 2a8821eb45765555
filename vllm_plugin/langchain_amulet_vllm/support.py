"""Which vLLM and which settings steering works with; whatever else is refused with a reason.

Knows vLLM's version and config. Doesn't know requests.
"""

from __future__ import annotations

import vllm
from vllm.config import VllmConfig

TESTED = ("0.32.0",)
"""The versions that this package's tests ran with."""

LOGPROBS_MODE = "processed_logits"
"""In which vLLM gives back what a processor wrote, see `answer_wire`."""

SCHEDULER = "langchain_amulet_vllm.scheduler.GroupScheduler"
PROCESSOR = "langchain_amulet_vllm.processor:SteeringProcessor"


class UnsupportedServerError(RuntimeError):
    """A vLLM, or settings of it, with which steering wouldn't hold."""


def check_version(version: str = vllm.__version__) -> None:
    """Refuse a vLLM that wasn't tested: its scheduler's insides may be others.

    Raises:
        UnsupportedServerError: It wasn't.
    """
    if version.partition("+")[0] not in TESTED:
        raise UnsupportedServerError(
            f"Steering needs a vLLM that it was tested with, {' or '.join(TESTED)}, as it extends "
            f"the scheduler, which is no stable interface; this is {version}. Install a tested one."
        )


def check_config(config: VllmConfig) -> None:
    """Refuse settings under which streams could lose step, or answers couldn't be told.

    Raises:
        UnsupportedServerError: There are some.
    """
    check_version()
    scheduling = config.scheduler_config
    wrong = {
        "speculative decoding: leave out --speculative-config": config.speculative_config
        is not None,
        "the V2 model runner, whose processors differ: set VLLM_USE_V2_MODEL_RUNNER=0": bool(
            config.use_v2_model_runner
        ),
        "several data-parallel ranks, which would part a group: start one server for each": (
            config.parallel_config.data_parallel_size > 1
        ),
        "a policy other than first come, first served: leave out --scheduling-policy": (
            scheduling.policy != "fcfs"
        ),
        "prompts cut at a threshold: leave out --long-prefill-token-threshold": (
            scheduling.long_prefill_token_threshold > 0
        ),
        "no tokenizer to compare a client's with: leave out --skip-tokenizer-init": (
            config.model_config.skip_tokenizer_init
        ),
        "keys and values of other servers: leave out --kv-transfer-config": (
            config.kv_transfer_config is not None
        ),
        f"log-probabilities that aren't what was written: use --logprobs-mode {LOGPROBS_MODE}": (
            config.model_config.logprobs_mode != LOGPROBS_MODE
        ),
        "another scheduler or processor: start it by langchain-amulet-vllm": not (
            _is_named(scheduling.scheduler_cls, SCHEDULER)
            and any(
                _is_named(each, PROCESSOR) for each in config.model_config.logits_processors or ()
            )
        ),
    }
    if found := [remedy for remedy, is_so in wrong.items() if is_so]:
        raise UnsupportedServerError(f"Steering can't go with {'; nor with '.join(found)}.")


def _is_named(given: object, name: str) -> bool:
    """Whether a class, or its name in either way of vLLM's to write it, is the one of a name."""
    if isinstance(given, type):
        given = f"{given.__module__}.{given.__qualname__}"
    return str(given).replace(":", ".") == name.replace(":", ".")
