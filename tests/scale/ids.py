"""Comparison of very many ids on Ray: the files are real, and contain nothing else."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus import find_duplicates
from pipelines.corpus.planned_shard import Member, PlannedShard, plan_table
from pipelines.job.sections import ComputeSettings
from pipelines.run.cluster import ray_session
from tests.scale.process_tree import measure_processes

_ROWS_PER_FILE = 1_000_000
_ROWS_PER_GROUP = 100_000


def write_ids(folder: Path, num_rows: int) -> pa.Table:
    """Write files with an id in each row, one of which is repeated, and return their plan."""
    shards: list[PlannedShard] = []
    for first in range(0, num_rows, _ROWS_PER_FILE):
        size = min(_ROWS_PER_FILE, num_rows - first)
        numbers = np.arange(first, first + size)
        if first + size == num_rows:
            numbers[-1] = 0
        file = folder / f"{first}.parquet"
        ids = [f"document-{number:010d}" for number in numbers.tolist()]
        pq.write_table(pa.table({"id": ids}), file, use_dictionary=False, row_group_size=_ROWS_PER_GROUP)
        for group, row in enumerate(range(0, size, _ROWS_PER_GROUP)):
            member = Member(str(file), 0, 0, "", group, 0, row, min(_ROWS_PER_GROUP, size - row))
            shards.append(PlannedShard(f"{first}-{group}", (member,)))
    return plan_table(shards)


def compare_ids(shards: pa.Table, report: Callable[[str], None]) -> None:
    """Find the repeated id, and report the seconds and the memory that it takes."""
    num_rows = sum(shards["num_rows"].to_pylist())
    with measure_processes() as tree, ray_session(ComputeSettings()):
        start = time.perf_counter()
        found = find_duplicates(shards, "id", None, {}, on_ray=True)
        repeats = list(found.repeats)
        seconds = time.perf_counter() - start
    assert (found.num_repeats, found.num_rows) == (1, num_rows)
    assert [(repeat.first_row, repeat.row) for repeat in repeats] == [(0, (num_rows - 1) % _ROWS_PER_FILE)]
    report(
        f"| compare {num_rows:,} ids on Ray; with all its processes: {tree.all_mb:,.0f} MB | {seconds:.1f} "
        f"| {tree.cpu_s:.1f} | {tree.driver_mb:,.0f} MB |"
    )
