"""Kill the workers of runs on Ray, and resume. The series is part of `make chaos`."""

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.driver.output_contents import count_rows
from tests.chaos.fault_counts import FaultCounts
from tests.chaos.workers.ray_processes import STAGE_TITLES, kill_workers
from tests.chaos.workers.runs import finish_run, result_digests, start_run, write_expected_output
from tests.small_job import write_small_job

_NUM_KILLS, _KILLS_PER_RUN = 30, 10


def run_series(rng: random.Random) -> Iterator[FaultCounts]:
    """Kill workers of random stages during several runs. Errors are printed on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        job = write_small_job(Path(folder) / "demo")
        expected, out = write_expected_output(job, Path(folder) / "expected"), Path(folder) / "out"
        num_kills = 0
        yield FaultCounts(num_points=len(STAGE_TITLES))
        while num_kills < _NUM_KILLS:
            run = start_run(job, out)
            wanted = Counter(rng.choices(list(STAGE_TITLES), k=_KILLS_PER_RUN))
            killed = kill_workers(run, wanted, lambda: rng.expovariate(1.0))
            status, errors = finish_run(run)
            completed = status == 0 and result_digests(out) == result_digests(expected)
            if not completed:
                print(f"killed {dict(killed)}: status {status}, {errors}", file=sys.stderr)
            expected_rows, found_rows = count_rows(expected), count_rows(out)
            lost, duplicated = (expected_rows - found_rows).total(), (found_rows - expected_rows).total()
            num_kills += killed.total()
            yield FaultCounts(killed.total(), 0, 1, completed, lost, duplicated)
            shutil.rmtree(out)
