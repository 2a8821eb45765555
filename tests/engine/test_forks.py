"""Forks of a process that uses models: each child loads its own and answers, or is told."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.models import save_model

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")

PROLOGUE = """
    import faulthandler, os, signal, sys, threading, time, warnings
    warnings.simplefilter("ignore")  # Python says that it is unwise, which is the point
    import torch
    from langchain_amulet.engine import LoadOptions, Request, acquire
    from langchain_amulet.errors import EngineClosedError
    from langchain_amulet.sampling import SamplingParams
    from langchain_amulet.steering import Plan

    torch.set_num_threads(2)
    OPTIONS = LoadOptions(device="cpu", dtype="float32")

    def answer(runtime):
        request = Request(((5, 6, 7),), Plan.plain(), SamplingParams(temperature=0.0), 4)
        return [token.id for token in runtime.engine.submit(request)]

    def forked(work):
        child = os.fork()
        if child == 0:
            faulthandler.enable()
            faulthandler.dump_traceback_later(50)
            signal.alarm(60)  # which ends it if it hangs
            try:
                work()
                os._exit(0)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        if status:
            print(f"the child ended with the wait status {status}", file=sys.stderr)
        return status
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    return save_model(tmp_path)


def run(script: str, model: str) -> None:
    """Run a script in a process of its own, as a test's process has threads of all kinds."""
    text = textwrap.dedent(PROLOGUE) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", text, model], capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()


def test_a_model_made_after_the_fork_answers_where_the_parent_has_computed(model: str) -> None:
    run(
        """
        for _ in range(3):  # in this very thread, by several, so that OpenMP has helpers for it
            torch.randn(600, 600) @ torch.randn(600, 600)
            torch.randn(1000, 1000).softmax(-1)
        sys.exit(forked(lambda: answer(acquire(sys.argv[1], OPTIONS))))
        """,
        model,
    )


def test_a_model_that_is_named_before_the_fork_is_loaded_by_each_process(model: str) -> None:
    run(
        """
        runtime = acquire(sys.argv[1], OPTIONS)
        sys.exit(forked(lambda: answer(runtime)) or not answer(runtime))
        """,
        model,
    )


def test_a_model_that_is_loaded_before_the_fork_says_so_in_the_child(model: str) -> None:
    run(
        """
        runtime = acquire(sys.argv[1], OPTIONS)
        answer(runtime)

        def work():
            try:
                answer(runtime)
            except EngineClosedError as error:
                assert "after the fork" in str(error)
            else:
                raise AssertionError("it answered")
            answer(acquire(sys.argv[1], OPTIONS))

        sys.exit(forked(work) or not answer(runtime))
        """,
        model,
    )


def test_a_fork_while_another_thread_loads_waits_and_its_child_computes(model: str) -> None:
    """Until the thread that loaded is over for the system: OpenMP takes a lock as it ends.

    All of these hung before. One may still: of the locks in the libraries that a process has loaded
    ours are few, and nothing knows when all the others are open.
    """
    run(
        """
        failed = 0
        for rows in range(2, 5):  # other options, so that each of them loads
            begun, options = threading.Event(), LoadOptions(dtype="float32", max_rows=rows)

            def load():
                begun.set()
                return acquire(sys.argv[1], options).engine

            loading = threading.Thread(target=load)
            loading.start()
            begun.wait()
            time.sleep(0.003 * rows)
            failed += bool(forked(lambda: answer(acquire(sys.argv[1], OPTIONS))))
            loading.join()
        sys.exit(failed > 1)
        """,
        model,
    )


def test_a_fork_right_after_an_engine_was_closed_has_a_child_that_computes(model: str) -> None:
    run(
        """
        failed = 0
        for rows in range(2, 5):
            runtime = acquire(sys.argv[1], LoadOptions(dtype="float32", max_rows=rows))
            answer(runtime)
            runtime.engine.close()
            failed += bool(forked(lambda: answer(acquire(sys.argv[1], OPTIONS))))
        sys.exit(failed)
        """,
        model,
    )


def test_a_loader_that_forks_by_itself_does_not_wait_for_itself(model: str) -> None:
    run(
        """
        from langchain_amulet.engine import load
        from langchain_amulet.engine.backends import register

        @register("forking")
        def load_forking(model_id, options):
            assert forked(lambda: None) == 0
            return load(model_id, OPTIONS)

        sys.exit(not answer(acquire(sys.argv[1], LoadOptions(backend="forking"))))
        """,
        model,
    )
