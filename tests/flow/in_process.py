"""The stages of a job one after the other in this process: the real ones, without Ray between them."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pytest

from pipelines.corpus.duplicate_ids import find_duplicates
from pipelines.flow import Settled
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.rows.shard import REPEATED
from pipelines.run.graceful_stop import Stop
from pipelines.run.prepare import Prepared, prepare
from pipelines.stages.infer import Infer
from pipelines.stages.pools import Pools
from pipelines.stages.read import PlanSource
from pipelines.stages.tokenize import Tokenize
from pipelines.storage import Location, locate

POOLS = Pools(tokenizers=1, models=1, tokenizer_cpus=0.5, model_cpus=1.0, model_gpus=0.0, model_threads=1)


def run_stages(job: Job) -> list[dict[str, Any]]:
    """Run every shard of a job, and give what the write stage says of each."""
    prepared = prepare(job)
    settled: Settled = {}
    if job.policy.duplicate_ids == "reject" and job.input.id is not None:
        for repeat in find_duplicates(prepared.plan.shards, job.input.id, job.input.filter, {}, job.storage):
            settled.setdefault(repeat.shard, {})[repeat.row] = (REPEATED, "an earlier row has this id")
    return list(stage_records(prepared, POOLS, prepared.plan.shards, settled))


def stage_records(
    prepared: Prepared,
    pools: Pools,
    shards: pa.Table,
    settled: Settled,
    *,
    alone: bool = False,
    write: Callable[[pa.Table], pa.Table] | None = None,
) -> Iterator[dict[str, Any]]:
    """Run shards through the stages.

    As with Ray, the shards of a row group lie in one block, and a stage is handed a slice of it.
    """
    tokenize, infer = Tokenize(prepared.tokenize(settled)), Infer(prepared.infer(pools))
    for task in PlanSource(prepared.reader(), shards, alone=alone).get_read_tasks(1):
        block = pa.concat_tables(task())
        for stage in (tokenize, infer, write or prepared.writer()):
            block = pa.concat_tables(stage(block.slice(i, 1)) for i in range(len(block))).combine_chunks()
        yield from block.to_pylist(maps_as_pydicts="strict")


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Let `flow.run` take its shards through the stages in this process, each with its record at once.

    For what happens around them.
    """
    patch.setattr("pipelines.flow.ray_session", lambda _: nullcontext((2.0, 0.0)))
    patch.setattr("pipelines.flow.cluster_watch", nullcontext)
    patch.setattr("pipelines.flow.graceful_stop", lambda *_: nullcontext(Stop()))
    patch.setattr("pipelines.flow.build_dataset", stage_records)
    patch.setattr("pipelines.flow.stream", lambda records: records)
    patch.setattr("pipelines.run.commits._COMMIT_EVERY_S", (0.0, 0.0))


def read_output(path: str) -> pa.Table:
    """Read all parts, in the order of their names."""
    return pa.concat_tables(read_parts(Output(locate(path)).location))


def read_parts(location: Location) -> list[pa.Table]:
    names = sorted(Output(location).parts())
    return [(location / name).read_table() for name in names]


def read_rejected(path: str) -> list[dict[str, Any]]:
    folder = Output(locate(path)).rejected
    return [row for file in folder.list() for row in (folder / file.name).read_table().to_pylist()]
