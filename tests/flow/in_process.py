"""Run the stages of a job one after another in this process, without Ray."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pytest

from pipelines.flow import PlanSource
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.output.resume import compare_with_plan
from pipelines.output.shard_record import ShardRecord, ShardResult
from pipelines.rows.rejection import PreRejected
from pipelines.run.output_checks import compare_ids
from pipelines.run.prepare import prepare_job
from pipelines.stages.identify import Identify
from pipelines.stages.infer import Infer
from pipelines.stages.pools import Node, Pools
from pipelines.stages.settings import StageSettings
from pipelines.stages.tokenize import Tokenize
from pipelines.storage import Location, locate

POOLS = Pools(tokenizers=1, models=1, tokenizer_cpus=0.5, model_cpus=1.0, model_gpus=0.0, model_threads=1)


def run_stages(job: Job, pools: Pools = POOLS) -> list[ShardResult]:
    """Run all shards of a job, and return the results of the write stage."""
    prepared = prepare_job(job)
    pre_rejected: PreRejected = {}
    if job.policy.duplicate_ids == "reject":
        state = compare_with_plan(Output(prepared.output), prepared.plan.shards, prepared.segmenters)
        pre_rejected = compare_ids(job, prepared, state).repeated
    return list(stage_results(prepared.stages, pools, prepared.plan.shards, pre_rejected))


def run_to_records(job: Job) -> list[ShardRecord]:
    """Run all shards of a job, none of which may fail, and return their records."""
    results = run_stages(job)
    assert [result.failure for result in results] == [None] * len(results)
    return [result.record for result in results if result.record is not None]


def build_infer(settings: StageSettings, pools: Pools = POOLS) -> Infer:
    """Build the infer stage as `build_dataset` does."""
    return Infer(settings.infer, on_gpu=pools.model_gpus > 0, num_threads=pools.model_threads)


def stage_results(
    settings: StageSettings,
    pools: Pools,
    shards: pa.Table,
    pre_rejected: PreRejected,
    *,
    isolate: bool = False,
    write: Callable[[pa.Table], pa.Table] | None = None,
) -> Iterator[ShardResult]:
    """Run shards through the stages. Takes the arguments of `build_dataset`.

    The shards of a row group share a block, and a stage receives slices of it, as Ray may do.
    """
    stages: list[Callable[[pa.Table], pa.Table]] = (
        [] if settings.identify is None else [Identify(settings.identify, pre_rejected)]
    )
    stages += [Tokenize(settings.tokenize, pre_rejected), build_infer(settings, pools), write or settings.write]
    for task in PlanSource(settings.read, shards).get_read_tasks(1):
        block = pa.concat_tables(task())
        for stage in stages:
            block = _combine(stage(block.slice(i, 1)) for i in range(len(block)))
        for row in block.to_pylist(maps_as_pydicts="strict"):
            yield ShardResult.from_row(row)


def _combine(shards: Iterable[pa.Table]) -> pa.Table:
    block = pa.concat_tables(shards)
    try:
        return block.combine_chunks()
    except pa.ArrowInvalid:  # over 2 GiB, which Ray leaves in chunks as well
        return block


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Make `run` compute shards in this process, and commit each result at once."""
    patch.setattr("pipelines.run.execute.ray_session", lambda _: nullcontext(([Node(2.0)], [])))
    patch.setattr("pipelines.run.execute.cluster_watch", nullcontext)
    patch.setattr("pipelines.run.execute.waiting_watch", lambda *_, **__: nullcontext())
    patch.setattr("pipelines.run.execute.graceful_stop", lambda *_: nullcontext())
    patch.setattr("pipelines.run.shard_runner.build_dataset", stage_results)
    patch.setattr("pipelines.run.shard_runner.stream_results", lambda results: results)
    patch.setattr("pipelines.run.commits._COMMIT_EVERY_S", (0.0, 0.0))


def read_output(path: str) -> pa.Table:
    """Read all parts, ordered by name."""
    return pa.concat_tables(read_parts(locate(path)))


def read_parts(location: Location) -> list[pa.Table]:
    output = Output(location)
    return [(output.parts / name).read_table() for name in [file.name for file in output.parts.list()]]


def read_rejected(path: str) -> list[dict[str, Any]]:
    """Read all rejected rows."""
    folder = Output(locate(path)).rejected
    return [row for file in folder.list() for row in (folder / file.name).read_table().to_pylist()]
