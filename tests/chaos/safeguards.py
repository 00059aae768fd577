"""Check that the tests notice the removal of each safeguard of the product.

Each safeguard is removed by replacing its text in a copy of the tree, and one test must fail there. The text must occur
exactly once in its file: otherwise a change of the product could make the removal ineffective.
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
TIMEOUT_S = 180.0  # a test that does not end in time has failed as well; each takes about 30 s

KILLS = "tests/chaos/driver/test_kills.py::test_next_run_completes_after_a_kill_at_each_named_point"
MERGES = "tests/chaos/driver/test_kills.py::test_kill_while_ledger_files_are_merged_loses_no_record"
ENDS = "tests/chaos/driver/test_kills.py::test_scenarios_without_faults_have_the_expected_rows"
DISK_ERRORS = "tests/chaos/driver/test_disk_errors.py::test_"
INTERFERENCE = "tests/chaos/driver/test_interference.py::test_"
RUN = "tests/flow/run/test_"


class Safeguard(NamedTuple):
    """A safeguard, and how it is removed.

    Attributes:
        name: the behaviour of the product if the safeguard is removed.
        file: the file that contains its text.
        text: the text to replace. It occurs once in the file.
        replacement: the text without the safeguard.
        test: the test that must fail without the safeguard.
    """

    name: str
    file: str
    text: str
    replacement: str
    test: str


SAFEGUARDS = [
    Safeguard(
        "ledger: a part without a record counts as committed",
        "pipelines/output/resume.py",
        "    done = pa.chunked_array([*recorded.shards.chunks, ",
        "    done = pa.chunked_array([*recorded.shards.chunks, *parts['shard'].chunks, ",
        KILLS,
    ),
    Safeguard(
        "ledger: a record without its part counts as committed",
        "pipelines/output/resume.py",
        "(~_has_recorded_sizes(records, parts, rejected), ",
        "(position < -1, ",
        f"{RUN}resume.py::test_truncated_parts_and_missing_rejected_rows_are_computed_again",
    ),
    Safeguard(
        "ledger: a record of other rows than planned counts as committed",
        "pipelines/output/resume.py",
        '(planned["num_rows"].to_numpy()[position] != records.column("rows_read"), ',
        "(position < -1, ",
        "tests/pipelines/output/test_resume.py::test_record_of_other_rows_than_planned_is_not_current",
    ),
    Safeguard(
        "ledger: rows stay rejected for repeating an id of a deleted file",
        "pipelines/output/resume.py",
        "[RejectionReason.DUPLICATE_ID] if files_changed else []",
        "[]",
        ENDS,
    ),
    Safeguard(
        "ledger: files are deleted before they are merged",
        "pipelines/output/ledger/ledger.py",
        "        self._write(rows for _, rows in Records.load(files).batches(LEDGER_FILE.names))\n",
        "        tables = [rows for _, rows in Records.load(files).batches(LEDGER_FILE.names)]\n"
        "        [file.delete() for file in files]\n        self._write(tables)\n",
        MERGES,
    ),
    Safeguard(
        "atomic write: files are written in place",
        "pipelines/storage/local_files.py",
        '    try:\n        with temporary.open("wb")',
        '    temporary = target\n    try:\n        with temporary.open("wb")',
        KILLS,
    ),
    Safeguard(
        "atomic write: a failed write publishes its file",
        "pipelines/storage/local_files.py",
        "    except BaseException:\n        temporary.unlink(missing_ok=True)\n        raise\n",
        "    except OSError:\n        temporary.replace(target)\n        raise\n",
        f"{DISK_ERRORS}error_in_the_middle_of_a_write_publishes_nothing",
    ),
    Safeguard(
        "temporary files of killed writers are not removed",
        "pipelines/output/directory.py",
        "for file in folder.list_temporary_files():",
        "for file in folder.list_temporary_files()[:0]:",
        KILLS,
    ),
    Safeguard(
        "lock: always granted",
        "pipelines/output/lock.py",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        f"{INTERFERENCE}second_driver_is_refused",
    ),
    Safeguard(
        "row count: not checked by the writer",
        "pipelines/stages/write.py",
        "if stats.rows_in != len(rows) + len(rejected):",
        "if False:",
        f"{INTERFERENCE}rows_that_a_stage_loses_fail_their_shard",
    ),
    Safeguard(
        "row count: not checked after a stage",
        "pipelines/stages/run_stage.py",
        "if len(result.rows) + len(result.rejected) != len(shard.rows) + len(shard.rejected):",
        "if False:",
        f"{INTERFERENCE}rows_that_a_stage_loses_fail_their_shard",
    ),
    Safeguard(
        "retry limit: a shard that crashes its worker is retried forever",
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
        "_SUCCESS: not removed before the output changes",
        "pipelines/output/directory.py",
        "        (self.location / layout.SUCCESS).delete()\n",
        "        pass\n",
        KILLS,
    ),
    Safeguard(
        "_SUCCESS: written although shards failed",
        "pipelines/run/execute.py",
        'success = status == "complete"',
        'success = status.startswith("complete")',
        ENDS,
    ),
    Safeguard(
        "_SUCCESS: written without a check of the parts",
        "pipelines/run/execute.py",
        "        check_parts(output, done)\n",
        "        pass\n",
        f"{INTERFERENCE}late_part_of_a_deleted_file_is_removed",
    ),
    Safeguard(
        "input: a file that changed after the plan is read",
        "pipelines/stages/read.py",
        "    if found != planned:\n",
        "    if False:\n",
        f"{INTERFERENCE}no_row_of_a_file_that_is_rewritten_during_the_run_is_written",
    ),
    Safeguard(
        "input: a file that changes while it is read is accepted",
        "pipelines/stages/read.py",
        "        _check_unchanged(location, member.file_info)  # the file may have been replaced meanwhile\n",
        "",
        f"{INTERFERENCE}no_row_of_a_file_that_is_rewritten_during_the_run_is_written",
    ),
    Safeguard(
        "shard ids: the modification time of the file is ignored",
        "pipelines/corpus/shard_ids.py",
        '"size", "mtime_ns", "etag"',
        '"size", "etag"',
        f"{INTERFERENCE}rewritten_file_of_the_same_size_is_computed_again",
    ),
    Safeguard(
        "output: the output of another job is resumed",
        "pipelines/output/directory.py",
        "        if differing:\n",
        "        if False:\n",
        f"{RUN}refused_outputs.py::test_heads_in_another_order_are_refused",
    ),
]


def failing_test(safeguard: Safeguard, tree: Path) -> str | None:
    """Remove a safeguard from a copy of the tree, and return the test that fails; None if none does.

    Raises:
        AssertionError: the safeguard's text does not occur exactly once, or the tests could not run.
    """
    source = (path := tree / safeguard.file).read_text(encoding="utf-8")
    path.write_text(without_safeguard(safeguard, source), encoding="utf-8")
    try:
        return first_failure([safeguard.test], tree)
    finally:
        path.write_text(source, encoding="utf-8")


def without_safeguard(safeguard: Safeguard, source: str) -> str:
    """Return the source of the safeguard's file without the safeguard.

    Raises:
        AssertionError: the safeguard's text does not occur exactly once.
    """
    count = source.count(safeguard.text)
    assert count == 1, f"{safeguard.name}: {safeguard.file} contains its text {count} times, expected once; correct it"
    return source.replace(safeguard.text, safeguard.replacement)


def first_failure(tests: list[str], tree: Path, timeout_s: float = TIMEOUT_S) -> str | None:
    """Run tests in a copy of the tree, and return the first that fails; None if all pass.

    Raises:
        AssertionError: the tests could not run.
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
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return f"{tests[0]} (timeout)"
    finally:
        with suppress(ProcessLookupError):  # processes that a test has left running
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    failed = re.search(r"^FAILED (\S+)", output, re.MULTILINE)
    assert process.returncode == 0 or failed, f"the tests could not run:\n{output[-3000:]}"
    return failed[1] if failed else None


def copy_tree(folder: Path) -> Path:
    """Copy the packages and tests to a new directory."""
    folder.mkdir()
    for package in PACKAGES:
        shutil.copytree(TREE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TREE / "pyproject.toml", folder)
    return folder


def failing_tests() -> Iterator[tuple[str, str | None]]:
    """Remove one safeguard after the other. Yields its name and the test that fails; None if none does.

    Raises:
        AssertionError: a test fails with all safeguards in place, or a safeguard's text is not found.
    """
    num_trees = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(num_trees) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(num_trees):
            trees.put(copy_tree(Path(folder) / str(number)))

        def remove(safeguard: Safeguard) -> str | None:
            tree = trees.get()
            try:
                return failing_test(safeguard, tree)
            finally:
                trees.put(tree)

        tests = sorted({safeguard.test for safeguard in SAFEGUARDS})
        failure = first_failure(tests, Path(folder) / "0", 10 * TIMEOUT_S)
        assert failure is None, f"{failure} fails with every safeguard in place"
        yield from zip((safeguard.name for safeguard in SAFEGUARDS), pool.map(remove, SAFEGUARDS), strict=True)


def main() -> int:
    """Print each safeguard and the test that fails without it. Return 1 if no test fails without one of them."""
    num_missed = 0
    width = max(len(safeguard.name) for safeguard in SAFEGUARDS)
    for name, test in failing_tests():
        num_missed += test is None
        print(f"{name:{width}} | {test or 'no test fails'}", flush=True)
    return min(num_missed, 1)


if __name__ == "__main__":
    sys.exit(main())
