"""Work that exceeds its time limit ends its process, no matter what it hangs in; other work is not affected."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipelines.stages.time_limit import _describe, time_limit

LIMIT_S = 0.5

HANGING = {
    "a loop": "while True: pass",
    "a wait": "time.sleep(60)",
    "a lock": "LOCK.acquire() and LOCK.acquire()",
    "a regular expression": "re.match('(a+)+$', text)",  # its time doubles with each letter, and it holds the GIL
    "C code that holds the GIL": "ctypes.PyDLL(None).sleep(60)",
}

PROGRAM = """
import ctypes, re, threading, time
from pipelines.stages.time_limit import report_progress, time_limit

LOCK = threading.Lock()

def work(text):
    {hanging}

{before}
print(time.monotonic(), flush=True)
with time_limit({limit_s}, "tokenize", "shard"):
    work("a" * 50 + " a secret")
"""


def run(hanging: str, before: str = "") -> tuple[int, float, str]:
    """Run a program that hangs for at least 60 s, and wait for its end.

    Returns:
        The exit status, the seconds since the limit was set, and the standard error.
    """
    program = PROGRAM.format(hanging=hanging, before=before, limit_s=LIMIT_S)
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=240, check=False)
    return done.returncode, time.monotonic() - float(done.stdout), done.stderr


@pytest.mark.parametrize("hanging", HANGING)
def test_process_that_exceeds_the_limit_ends_and_prints_where_it_hung(hanging):
    status, seconds, stderr = run(HANGING[hanging])
    assert status == 1
    assert seconds > LIMIT_S - 0.1
    assert "Timeout (0:00:00.500000)!" in stderr
    assert " in work\n" in stderr
    assert "secret" not in stderr


def test_limit_ends_with_its_block_and_each_block_has_a_limit_of_its_own():
    """Two blocks end within their limits, one of them with an error; later a third one hangs.

    The pause is longer than their limits, so a limit that outlived its block would end the process before the third
    one starts, and nothing would be printed.
    """
    before = """
with time_limit(2, "tokenize", "shard"):
    pass
try:
    with time_limit(2, "tokenize", "shard"):
        raise KeyError
except KeyError:
    time.sleep(2.5)
with time_limit(2, "tokenize", "shard"):
    pass
"""
    status, seconds, stderr = run(HANGING["a wait"], before)
    assert (status, " in work\n" in stderr) == (1, True)
    assert seconds > LIMIT_S - 0.1


def test_nested_limits_are_refused():
    limit = partial(time_limit, 60, "tokenize", "shard")
    with limit(), pytest.raises(AssertionError, match="time limits must not be nested"), limit():
        pass
    with limit():
        pass


def test_work_that_makes_progress_may_take_longer_than_the_limit():
    """It hangs only after five times the limit, and is ended then."""
    progress = f"[(time.sleep({LIMIT_S} / 4), report_progress()) for _ in range(20)]; time.sleep(60)"
    status, seconds, _ = run(progress)
    assert status == 1
    assert seconds > 5 * LIMIT_S


STAGES = """
import os, sys, time
from dataclasses import replace
from functools import partial
import pyarrow as pa
from jobs.job_file.load import load_job
from pipelines.stages.infer import Infer
from pipelines.run.prepare import prepare_job
from pipelines.flow import PlanSource
from pipelines.stages.tokenize import Tokenize
from xlm_core import XLMModel, XLMTokenizer

prepared = prepare_job(load_job(sys.argv[1], ["output.path=" + sys.argv[2]]))
shard = pa.concat_tables(PlanSource(prepared.stages.read, prepared.plan.shards).get_read_tasks(1)[0]()).slice(0, 1)
build_tokenize = partial(Tokenize, pre_rejected={})
build_infer = partial(Infer, on_gpu=False, num_threads=2)

def hang(name, build, settings, kind, method):
    def load(*args):
        time.sleep(0.6)
        loaded = settings.load(*args)
        print(name, "loaded", flush=True)
        return loaded

    if not os.fork():
        setattr(kind, method, lambda *_, **options: time.sleep(60))
        build(replace(settings, load=load, timeout_s=0.3))(shard)
        os._exit(0)
    print("ended with", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)

hang("Tokenize", build_tokenize, prepared.stages.tokenize, XLMTokenizer, "encode_batch")
shard = build_tokenize(prepared.stages.tokenize)(shard)
hang("Infer", build_infer, prepared.stages.infer, XLMModel, "forward_with_plan")
"""


def test_limit_of_a_stage_starts_after_loading(demo, tmp_path):
    """Here loading takes longer than the limit, and the work after it hangs."""
    command = [sys.executable, "-c", STAGES, str(demo / "small.yaml"), str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, timeout=240, check=False)
    assert done.stdout.splitlines() == ["Tokenize loaded", "ended with 1", "Infer loaded", "ended with 1"], done.stderr
    for stage in ("tokenize", "infer"):
        assert f'pipelines/stages/{stage}.py", line ' in done.stderr  # the stage that hung
    # The model hung in one of its threads, at the last line of `hang` that calls `sleep`.
    stack = done.stderr.rpartition("Timeout (")[2]
    line = 1 + next(i for i, line in enumerate(STAGES.splitlines()) if "time.sleep(60)" in line)
    assert f"in the infer stage (at <string>:{line})" in _describe("infer", 0.3, stack)
