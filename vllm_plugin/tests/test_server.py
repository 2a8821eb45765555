"""What runs where vLLM is: by programs there, as this environment has none."""

import pytest

from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from support.vllm_servers import run_in_venv

CONFIGURED = f"""
import os
os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
import torch
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from langchain_amulet_vllm.support import LOGPROBS_MODE, PROCESSOR, SCHEDULER, check_config
def config(**changes):
    steering = dict(
        scheduler_cls=SCHEDULER, logits_processors=[PROCESSOR], logprobs_mode=LOGPROBS_MODE
    )
    return EngineArgs(model={str(POCKET_FOLDER)!r}, **(steering | changes)).create_engine_config()
"""
"""Makes vLLM's own configuration of a server."""


def test_all_of_it_can_be_imported_from_what_is_installed() -> None:
    code = """
import importlib, pathlib, langchain_amulet, langchain_amulet_vllm
for package in (langchain_amulet, langchain_amulet_vllm):
    root = pathlib.Path(list(package.__path__)[0])
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if not parts[-1].startswith("__"):
            importlib.import_module(".".join((package.__name__, *parts)))
"""
    done = run_in_venv(code)
    assert done.returncode == 0, done.stderr[-2000:]


def test_installing_it_changes_no_other_start_of_vllm() -> None:
    code = """
from importlib.metadata import distribution
print({each.group for each in distribution("langchain-amulet-vllm").entry_points})
"""
    assert run_in_venv(code).stdout.strip() == "{'console_scripts'}"


def test_versions_that_were_not_tested_are_refused_by_name() -> None:
    code = """
from langchain_amulet_vllm.support import TESTED, check_version
check_version(TESTED[0] + "+cpu")
check_version("0.99.0")
"""
    done = run_in_venv(code)
    assert "this is 0.99.0. Install a tested one" in done.stderr


def test_settings_by_which_streams_could_lose_step_are_refused() -> None:
    code = f"""{CONFIGURED}
from langchain_amulet_vllm.support import UnsupportedServerError
check_config(config())
for changes, said in [
    (dict(logprobs_mode="raw_logprobs"), "--logprobs-mode processed_logits"),
    (dict(scheduler_cls=None), "start it by langchain-amulet-vllm"),
    (dict(logits_processors=None), "start it by langchain-amulet-vllm"),
    (dict(scheduling_policy="priority"), "leave out --scheduling-policy"),
    (dict(long_prefill_token_threshold=64), "leave out --long-prefill-token-threshold"),
]:
    try:
        check_config(config(**changes))
    except UnsupportedServerError as error:
        assert said in str(error), error
        print("refused")
"""
    done = run_in_venv(code)
    assert done.stdout.count("refused") == 5, done.stderr[-2000:]


@pytest.mark.parametrize("option", ["--scheduler-cls", "--logprobs-mode=raw_logprobs"])
def test_options_that_steering_needs_can_t_be_given(option: str) -> None:
    code = f"from langchain_amulet_vllm.server import arguments; arguments(['m', {option!r}])"
    assert "leave it out" in run_in_venv(code).stderr


def test_a_group_with_a_row_too_few_gets_an_error_and_no_token() -> None:
    code = f"""{CONFIGURED}
from vllm.v1.sample.logits_processor import BatchUpdate
from langchain_amulet.engine.remote.request_wire import ARGUMENT, write
from langchain_amulet.engine.request import Request
from langchain_amulet.sampling import SamplingParams as OurParams
from langchain_amulet.steering import Contrast, Plan, Stream
from langchain_amulet_vllm.processor import SteeringProcessor

PLAN = Plan(streams=(Stream((0,)), Stream()), anchor=0, contrasts=(Contrast(2.0, 0, 1),),
            reference=((0, 1.0),))
PROMPTS = ((5, 6, 7), (6, 7))
CONFIG = config()

def begun(rows):
    "A processor that was told of these rows of a group of two, and the rows as it was told."
    asked = Request(PROMPTS, PLAN, OurParams(temperature=0.0), 8, stop_ids=frozenset({{2}}))
    params = SamplingParams(extra_args={{ARGUMENT: write(asked)}})
    processor = SteeringProcessor(CONFIG, torch.device("cpu"), False)
    added = [(k, params, list(PROMPTS[k]), []) for k in (0, 1)]
    processor.update_state(BatchUpdate(2, [], [added[k] for k in rows], []))
    return processor, added

def step(processor, rows, is_steered):
    found = processor.apply(torch.randn(2, 3072))
    for row in rows:
        assert found[row].isfinite().sum() == 1
        assert (found[row].max() >= 0) == is_steered
        assert is_steered or found[row, 2] == -1.0

for rows in ([0], [1]):  # one alone
    processor, _ = begun(rows)
    step(processor, rows, False)

processor, added = begun([0, 1])  # one leaves
step(processor, [0, 1], True)
processor.update_state(BatchUpdate(2, [1], [], []))
step(processor, [0], False)
step(processor, [0], False)

processor, added = begun([0, 1])  # one is preempted, and comes back
step(processor, [0, 1], True)
for _, _, _, output in added:
    output.append(9)
processor.update_state(BatchUpdate(2, [1], [], []))
processor.update_state(BatchUpdate(2, [], [added[1]], []))
step(processor, [0, 1], False)

processor, added = begun([0, 1])  # one falls behind
step(processor, [0, 1], True)
added[0][3].append(9)
step(processor, [0, 1], False)
print("told")
"""
    done = run_in_venv(code)
    assert done.stdout.strip().endswith("told"), done.stderr[-2000:]
