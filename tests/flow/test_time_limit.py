"""Work that hangs ends with its process, whatever it hangs in; work in time is left alone."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.stages.time_limit import ShardLimit, time_limit

LIMIT_S = 0.5

HANGING = {
    "a loop": "while True: pass",
    "a wait": "time.sleep(60)",
    "a lock": "LOCK.acquire() and LOCK.acquire()",
    "a regular expression": "re.match('(a+)+$', text)",  # its time doubles with each letter; it holds the GIL
    "C code that holds the GIL": "ctypes.PyDLL(None).sleep(60)",
}

PROGRAM = """
import ctypes, re, threading, time
from pipelines.stages.time_limit import time_limit

LOCK = threading.Lock()

def work(text):
    {hanging}

{before}
print(time.monotonic(), flush=True)
with time_limit({limit_s}):
    work("a" * 50 + " a secret")
"""


def run(hanging: str, before: str = "") -> tuple[int, float, str]:
    """Give the exit status, the seconds since the limit was set, and what was said on standard error."""
    program = PROGRAM.format(hanging=hanging, before=before, limit_s=LIMIT_S)
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=30, check=False)
    return done.returncode, time.monotonic() - float(done.stdout), done.stderr


@pytest.mark.parametrize("hanging", HANGING)
def test_whatever_hangs_ends_in_time(hanging):
    status, seconds, said = run(HANGING[hanging])
    assert status == 1
    assert LIMIT_S - 0.1 < seconds < LIMIT_S + 1
    assert "Timeout (0:00:00.500000)!" in said
    assert " in work\n" in said  # where it hung
    assert "secret" not in said


def test_what_ends_in_time_is_left_alone_and_the_next_has_a_limit_of_its_own():
    """Each block is within its limit, also one that raises, and all of them together are not; then one hangs."""
    before = """
for _ in range(4):
    with time_limit(0.7):
        time.sleep(0.3)
try:
    with time_limit(0.3):
        raise KeyError
except KeyError:
    time.sleep(0.5)
"""
    status, seconds, said = run(HANGING["a wait"], before)
    assert (status, " in work\n" in said) == (1, True)
    assert LIMIT_S - 0.1 < seconds < LIMIT_S + 1


def test_one_limit_at_a_time():
    with time_limit(60), pytest.raises(AssertionError, match="a time limit within another"), time_limit(60):
        pass
    with time_limit(60):
        pass


@pytest.mark.parametrize(
    ("timeout_s", "num_rows", "expected_s"),
    [
        (3600.0, 16_384, 3600.0),  # a whole shard
        (3600.0, 20_000, 3600.0),
        (3600.0, 8_192, 1860.0),  # half of one, and a minute
        (3600.0, 1, 60.2),
        (3600.0, 0, 60.0),
        (600.0, 1, 60.0),
        (45.0, 1, 45.0),  # a setting below the minute stands
        (45.0, 16_384, 45.0),
    ],
)
def test_shards_of_fewer_rows_have_less_time(timeout_s, num_rows, expected_s):
    assert ShardLimit(timeout_s, rows_per_shard=16_384).seconds(num_rows) == pytest.approx(expected_s, abs=0.05)


STAGES = """
import os, sys, time
from dataclasses import replace
from functools import partial
import pyarrow as pa
from jobs.job_file.load import load_job
from pipelines.stages.infer import Infer
from pipelines.run.prepare import prepare
from pipelines.stages.read import PlanSource
from pipelines.stages.time_limit import ShardLimit
from pipelines.stages.tokenize import Tokenize
from xlm_core import XLMModel, XLMTokenizer

prepared = prepare(load_job(sys.argv[1], ["output.path=" + sys.argv[2]]))
shard = pa.concat_tables(PlanSource(prepared.stages.read, prepared.plan.shards).get_read_tasks(1)[0]()).slice(0, 1)
build_tokenize = partial(Tokenize, pre_rejected={})
build_infer = partial(Infer, on_gpu=False, num_threads=1)

def hang(name, build, settings, kind, method):
    def load(*args):
        time.sleep(0.6)
        loaded = settings.load(*args)
        print(name, "loaded", flush=True)
        return loaded

    if not os.fork():
        setattr(kind, method, lambda *_, **options: time.sleep(60))
        build(replace(settings, load=load, limit=ShardLimit(0.3, 1)))(shard)
        os._exit(0)
    print("ended with", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)

hang("Tokenize", build_tokenize, prepared.stages.tokenize, XLMTokenizer, "encode_batch")
shard = build_tokenize(prepared.stages.tokenize)(shard)
hang("Infer", build_infer, prepared.stages.infer, XLMModel, "forward_with_plan")
"""


def test_the_stages_have_a_limit_that_begins_once_they_have_loaded(demo, tmp_path):
    """Loading takes longer than the limit here."""
    command = [sys.executable, "-c", STAGES, str(demo / "job.yaml"), str(tmp_path / "out")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, timeout=100, check=False)
    assert done.stdout.splitlines() == ["Tokenize loaded", "ended with 1", "Infer loaded", "ended with 1"], done.stderr
    for stage in ("tokenize", "infer"):
        assert f'pipelines/stages/{stage}.py", line ' in done.stderr  # which of them hung
