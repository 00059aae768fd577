"""A check of the tests themselves: each safeguard of the product is taken out, and at least one test must fail.

A safeguard goes by a replacement of its text in a copy of the tree. The text must stand there exactly once, so that a
change of the product cannot leave a removal without effect.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

TREE = Path(__file__).parents[2]
PACKAGES = ("xlm_core", "pipelines", "jobs", "tests")
END_WITHIN_S = 180.0  # a test that a removal keeps from ending has failed too; each takes some 30 s

PROTOCOL = "tests/chaos/driver/test_protocol.py::test_"
KILLS = f"{PROTOCOL}killed_at_each_moment_by_name"
RUN = "tests/flow/run/test_"

# What a run would believe that took each part for done, with a record or without.
_EVERY_PART_IS_DONE = """
    from pipelines.output.shard_record import SHARD_COUNTS, ShardRecord
    for shard in planned_ids:
        if (size := sizes.get(part_name(shard))) is not None:
            values = dict.fromkeys(SHARD_COUNTS, 0) | dict.fromkeys(("read_s", "tokenize_s", "infer_s", "write_s"), 0.0)
            values |= dict.fromkeys(("file", "digest", "rejected_digest", "ids_digest"), "")
            values |= {"bytes": size, "rejected_bytes": rejected.get(part_name(shard)), "precision": "float32"}
            records.setdefault(shard, ShardRecord(shard=shard, reasons={}, langs=(), **values))
"""


class Safeguard(NamedTuple):
    """A safeguard, and how it is taken out.

    Attributes:
        name: what the product does without it.
        file: where its text stands.
        text: what is replaced; stands there once.
        instead: what stands there without it.
        test: fails then.
    """

    name: str
    file: str
    text: str
    instead: str
    test: str


SAFEGUARDS = [
    Safeguard(
        "ledger: a part without a record counts as done",
        "pipelines/output/resume.py",
        "    records, sizes, rejected = output.ledger.load(), output.parts(), output.rejected_parts()\n",
        "    records, sizes, rejected = output.ledger.load(), output.parts(), output.rejected_parts()\n"
        + _EVERY_PART_IS_DONE,
        KILLS,
    ),
    Safeguard(
        "ledger: a record counts without its part",
        "pipelines/output/resume.py",
        "if not _has_recorded_sizes(record, sizes, rejected):\n",
        "if False:\n",
        f"{RUN}resume.py::test_truncated_parts_and_missing_rejected_rows_are_computed_again",
    ),
    Safeguard(
        "ledger: what files that went have settled is kept",
        "pipelines/output/resume.py",
        "and _num_repeats(record):\n",
        "and False:\n",
        f"{PROTOCOL}what_the_protocols_come_to",
    ),
    Safeguard(
        "atomic write: a file is written where it is read",
        "pipelines/storage/location.py",
        "temporary = target.with_name(temporary_name(target.name))",
        "temporary = target",
        KILLS,
    ),
    Safeguard(
        "atomic write: an error in the middle of a write leaves its file",
        "pipelines/storage/location.py",
        "    except BaseException:\n        temporary.unlink(missing_ok=True)\n        raise\n",
        "    except OSError:\n        temporary.replace(target)\n        raise\n",
        f"{PROTOCOL}an_error_in_the_middle_of_a_write",
    ),
    Safeguard(
        "leftovers of killed writers are not removed",
        "pipelines/output/directory.py",
        "for file in folder.leftovers():",
        "for file in folder.leftovers()[:0]:",
        KILLS,
    ),
    Safeguard(
        "lock: always granted",
        "pipelines/output/lock.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        f"{PROTOCOL}two_drivers",
    ),
    Safeguard(
        "row count: not checked by the writer",
        "pipelines/stages/write.py",
        "if stats.rows_in != len(rows) + len(rejected):",
        "if False:",
        f"{PROTOCOL}rows_that_a_stage_loses",
    ),
    Safeguard(
        "row count: not checked after a stage",
        "pipelines/stages/run_stage.py",
        "if len(result.rows) + len(result.rejected) != len(shard.rows) + len(shard.rejected):",
        "if False:",
        f"{PROTOCOL}rows_that_a_stage_loses",
    ),
    Safeguard(
        "retry limit: what kills its process is tried for ever",
        "pipelines/flow.py",
        "_RETRIES = 2\n",
        "_RETRIES = -1\n",
        f"{RUN}crash_isolation.py::test_only_rows_that_crash_or_hang_their_worker_are_rejected",
    ),
    Safeguard(
        "_SUCCESS: written before the report",
        "pipelines/output/directory.py",
        "        self._put_json(layout.REPORT_JSON, report)\n",
        '        (self.location / layout.SUCCESS).put(b"")\n        self._put_json(layout.REPORT_JSON, report)\n',
        KILLS,
    ),
    Safeguard(
        "_SUCCESS: stays while the output changes",
        "pipelines/output/directory.py",
        "        (self.location / layout.SUCCESS).delete()\n",
        "        pass\n",
        KILLS,
    ),
    Safeguard(
        "_SUCCESS: although shards failed",
        "pipelines/run/execute.py",
        'success = status == "complete" and not commits.failed',
        'success = status == "complete"',
        f"{PROTOCOL}what_the_protocols_come_to",
    ),
    Safeguard(
        "_SUCCESS: without a last look at the parts",
        "pipelines/run/execute.py",
        "        check_parts(output, commits.done)\n",
        "        pass\n",
        f"{PROTOCOL}a_late_writer_of_a_file_that_went",
    ),
    Safeguard(
        "input: a file that changed after the plan is read",
        "pipelines/stages/read.py",
        "    if found != planned:\n",
        "    if False:\n",
        f"{PROTOCOL}an_input_file_that_is_rewritten",
    ),
    Safeguard(
        "input: a file that changes while it is read is believed",
        "pipelines/stages/read.py",
        "        _check_unchanged(location, shard.file_info)  # the file may have been replaced while it was read\n",
        "",
        f"{PROTOCOL}an_input_file_that_is_rewritten",
    ),
    Safeguard(
        "shard ids: without the time of the file",
        "pipelines/corpus/planned_shard.py",
        r"{file.url}\0{file.size}\0{file.mtime_ns}",
        r"{file.url}\0{file.size}",
        f"{PROTOCOL}a_file_of_the_same_size_is_another",
    ),
    Safeguard(
        "output: of another job is gone on with",
        "pipelines/output/directory.py",
        "        if differing:\n",
        "        if False:\n",
        f"{RUN}refused_outputs.py::test_heads_in_another_order_are_refused",
    ),
]


def fails_without(safeguard: Safeguard, tree: Path) -> str | None:
    """Take a safeguard out of a copy of the tree, and give the test that fails; None if none does.

    Raises:
        AssertionError: its text does not stand there once, or the tests could not run.
    """
    path = tree / safeguard.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(removed(safeguard, whole), encoding="utf-8")
    try:
        return first_failure([safeguard.test], tree)
    finally:
        path.write_text(whole, encoding="utf-8")


def removed(safeguard: Safeguard, whole: str) -> str:
    """Give the text of its file without a safeguard."""
    found = whole.count(safeguard.text)
    assert found == 1, f"{safeguard.name}: its text stands {found} times in {safeguard.file}; correct it here"
    return whole.replace(safeguard.text, safeguard.instead)


def first_failure(tests: list[str], tree: Path, within_s: float = END_WITHIN_S) -> str | None:
    """Run tests in a copy of the tree, and give the first that fails.

    Raises:
        AssertionError: they could not run; that says nothing of what they check.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (without end)"
    finally:
        with suppress(ProcessLookupError):  # whatever a test has left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    failed = re.search(r"^FAILED (\S+)", output, re.MULTILINE)
    assert process.returncode == 0 or failed, f"the tests could not run:\n{output[-3000:]}"
    return failed[1] if failed else None


def copy_tree(folder: Path) -> Path:
    """Copy what the tests need to a new directory."""
    folder.mkdir()
    for package in PACKAGES:
        shutil.copytree(TREE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "pyproject.toml", folder)
    return folder


def first_failures() -> Iterator[tuple[str, str | None]]:
    """Give, for each safeguard, its name and the test that fails without it; None where none does."""
    num_trees = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(num_trees) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(num_trees):
            trees.put(copy_tree(Path(folder) / str(number)))

        def take_out(safeguard: Safeguard) -> str | None:
            tree = trees.get()
            try:
                return fails_without(safeguard, tree)
            finally:
                trees.put(tree)

        every_test = sorted({safeguard.test for safeguard in SAFEGUARDS})
        whole = first_failure(every_test, Path(folder) / "0", 10 * END_WITHIN_S)
        assert whole is None, f"{whole} fails with every safeguard in place"
        yield from zip((safeguard.name for safeguard in SAFEGUARDS), pool.map(take_out, SAFEGUARDS), strict=True)


def main() -> int:
    """Print a table of the safeguards and the tests that fail without them; gives how many none fails without."""
    missed = 0
    width = max(len(safeguard.name) for safeguard in SAFEGUARDS)
    for name, failed in first_failures():
        missed += failed is None
        print(f"{name:{width}} | {failed or 'no test fails'}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
