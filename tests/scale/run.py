"""Run the driver on a simulated output of very many shards: `python -m tests.scale.run [--shards 1000000]`.

Prints the seconds and the peak memory of each step. Results are in RESULTS.md.
"""

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.scale.ids import compare_ids, write_ids
from tests.scale.planning import ROWS_PER_FILE, plan_files
from tests.scale.steps import Step, Steps, read, replace_ledger, resume
from tests.scale.synthetic import simulate

_COMMITTED_LATER = 0.01  # of all shards
_IDS_PER_SHARD = 100  # that are compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=1_000_000)
    num_shards = parser.parse_args().shards
    with tempfile.TemporaryDirectory() as folder:
        # in another process, whose memory does not count
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            num_done = num_shards - int(num_shards * _COMMITTED_LATER)
            simulation = process.submit(simulate, Path(folder), num_shards, num_done).result()
        print("| step | seconds | CPU seconds | peak memory |\n|---|--:|--:|--:|")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(print_planning, num_shards).result()
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(print_ids, Path(folder), num_shards * _IDS_PER_SHARD).result()
        steps = Steps(print_row)
        resume(simulation, steps)
        read(simulation, steps)
        replace_ledger(simulation, steps)


def print_planning(num_files: int) -> None:
    plan_files(num_files, ROWS_PER_FILE, Steps(print_row))


def print_ids(folder: Path, num_rows: int) -> None:
    (folder / "ids").mkdir()
    compare_ids(write_ids(folder / "ids", num_rows), lambda row: print(row, flush=True))


def print_row(step: Step) -> None:
    print(f"| {step.name} | {step.seconds:.1f} | {step.cpu_s:.1f} | {step.peak_mb:,.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
