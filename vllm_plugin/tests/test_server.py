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

PROCESSING = f"""{CONFIGURED}
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

def begun(rows, **more):
    "A processor that was told of these rows of a group of two, and the rows as it was told."
    greedy = OurParams(temperature=0.0)
    asked = Request(PROMPTS, PLAN, greedy, 8, stop_ids=frozenset({{2}}), **more)
    params = SamplingParams(extra_args={{ARGUMENT: write(asked, '')}})
    processor = SteeringProcessor(CONFIG, torch.device("cpu"), False)
    added = [(k, params, list(PROMPTS[k]), []) for k in (0, 1)]
    processor.update_state(BatchUpdate(2, [], [added[k] for k in rows], []))
    return processor, added

def step(processor, rows, is_steered, failure=1):
    found = processor.apply(torch.randn(2, 3072))
    for row in rows:
        assert found[row].isfinite().sum() == 1
        assert (found[row].max() >= 0) == is_steered
        assert is_steered or found[row, 2] == -failure
"""
"""Runs the processor on made-up logits of a group of two rows."""


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


@pytest.mark.parametrize(
    "option",
    [
        "--scheduler-cls",
        "--logprobs-mode=raw_logprobs",
        "--logprobs_mode=raw_logprobs",
        "--speculative-config",
        "--speculative_config={}",
        "--speculative-config.method=ngram",
        "-sc",
        "--scheduling-policy=priority",
        "--kv-transfer-config",
    ],
)
def test_options_that_steering_needs_or_excludes_can_t_be_given(option: str) -> None:
    code = f"from langchain_amulet_vllm.server import arguments; arguments(['m', {option!r}])"
    done = run_in_venv(code)
    assert "leave it out" in done.stderr and done.returncode == 1


def test_help_says_what_is_set_and_what_vllm_s_own_options_are() -> None:
    code = (
        "from langchain_amulet_vllm.server import main; import sys; sys.argv = ['', '-h']; main()"
    )
    done = run_in_venv(code)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, _, theirs = done.stdout.partition("Refused, as steering can't go with them")
    assert "Set for steering: --scheduler-cls" in ours
    assert "--max-num-seqs" in theirs or "--help=all" in theirs


def test_a_group_with_a_row_too_few_gets_an_error_and_no_token() -> None:
    code = f"""{PROCESSING}
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


def test_what_ends_the_process_ends_it_and_all_else_only_the_answer() -> None:
    code = f"""{PROCESSING}
import signal, time
import langchain_amulet_vllm.processor as module
from langchain_amulet.preferences.echo_guard import EchoGuard

class Panic(BaseException):
    "As grammars in Rust raise."

class Asked:
    spec = dict(found=["keep it short"], begun="")

def end(*_):
    raise SystemExit  # as vLLM's workers do, once

def killed(by):
    os.kill(os.getpid(), by)
    time.sleep(5)

def panic():
    raise Panic

def failing(where, fail):
    class Failing(EchoGuard):
        def __init__(self, **parts):
            where != "made" or fail()
            super().__init__(**parts)
        def held(self, tokens):
            fail()
    return Failing

signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.default_int_handler)
for where in ("made", "asked"):
    for by, error in ((signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)):
        module.EchoGuard = failing(where, lambda: killed(by))
        processor, _ = begun([0, 1], guard=Asked())
        try:
            processor.apply(torch.randn(2, 3072))
        except error:
            print("ended")
    module.EchoGuard = failing(where, panic)
    processor, _ = begun([0, 1], guard=Asked())
    step(processor, [0, 1], False, failure=3)
"""
    done = run_in_venv(code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("ended") == 4


def test_only_where_no_guard_was_asked_for_is_there_none() -> None:
    code = f"""{PROCESSING}
from dataclasses import replace

processor, _ = begun([0, 1])
spec = processor._rows[0].group.spec
assert processor._guard(spec) is None
assert processor._guard(replace(spec, guard=dict(found=[], begun=""))) is not None
for guard in (dict(), dict(found=[], own=[])):
    processor._rows[0].group.spec = replace(spec, guard=guard)
    step(processor, [0, 1], False, failure=3)
    processor, _ = begun([0, 1])
"""
    done = run_in_venv(code)
    assert done.returncode == 0, done.stderr[-2000:]
