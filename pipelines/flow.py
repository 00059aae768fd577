"""How a corpus flows through the pipeline. This module strings the stages together; `pipelines.run` does the rest.

plan ─▶ read ─▶ tokenize ─▶ infer ─▶ write ─▶ ledger ─▶ report
driver   CPU    CPU pool   GPU pool   CPU     driver    driver

In jobs that detect languages, one more stage with a CPU pool, identify, is between read and tokenize.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import ray.data
from ray.data import ActorPoolStrategy, Datasource, ReadTask, TaskPoolStrategy
from ray.data.block import BlockMetadata
from ray.exceptions import RayError

from pipelines.corpus import group_by_row_group, planned_shards
from pipelines.errors import ClusterError
from pipelines.output import ShardResult
from pipelines.stages import (
    READ_CPUS,
    WRITE_CPUS,
    Identify,
    Infer,
    Pools,
    Tokenize,
    stop_requested,
)
from pipelines.storage import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import pyarrow as pa
    from ray.data import Dataset

    from pipelines.corpus import PlannedShard
    from pipelines.rows import PreRejected
    from pipelines.stages import Reader, StageSettings

# Each stage receives one whole shard per call.
ONE_SHARD: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}

# By default, Ray Data retries a task without limit if its worker crashes.
_RETRIES = 2
_TASK_RETRIES: dict[str, Any] = {"max_retries": _RETRIES}
ACTOR_RETRIES: dict[str, Any] = {"max_restarts": -1, "max_task_retries": _RETRIES}


# Models compute before tokenizers and identifiers do: one of these gets a tenth of the time of a CPU that a model needs
# as well.
_NICENESS = 10

# How many processes of a stage may start before one has finished a shard. A single shard with a row that crashes its
# process starts at most ten before one finishes a slice without that row.
_MIN_STARTS = 20


def build_dataset(
    settings: StageSettings,
    pools: Pools,
    shards: pa.Table,
    pre_rejected: PreRejected,
    *,
    isolate: bool = False,
    write: Callable[[pa.Table], pa.Table] | None = None,
) -> Dataset:
    """String the stages together. Each row of the dataset is the result of one shard.

    Args:
        settings: the settings of the stages.
        pools: the number of workers of each stage, and their resources.
        shards: the part of the plan to compute.
        pre_rejected: rows to reject before they are tokenized.
        isolate: whether each shard waits in no queue, so that a crash loses only one shard.
        write: called on each shard in place of the write stage.
    """
    rejected = {shard: pre_rejected[shard] for shard in shards["shard"].to_pylist() if shard in pre_rejected}
    queue: dict[str, Any] = {"max_tasks_in_flight_per_actor": 1} if isolate else {}
    # With two concurrent calls, the data of one are transferred while the model computes the other.
    model_queue = queue or {"max_concurrent_calls_per_actor": 2}
    cpu_worker: dict[str, Any] = {"max_starts": _max_starts(pools.tokenizers), "niceness": _NICENESS}
    dataset = read_shards(settings.read, shards, pools.io_tasks)
    if settings.identify is not None:
        dataset = dataset.map_batches(
            Identify,
            fn_constructor_args=(settings.identify, rejected),
            fn_constructor_kwargs=cpu_worker,
            compute=ActorPoolStrategy(min_size=1, max_size=pools.tokenizers, **queue),
            num_cpus=pools.identifier_cpus,
            **ONE_SHARD,
            **ACTOR_RETRIES,
        )
    return (
        dataset.map_batches(
            Tokenize,
            fn_constructor_args=(settings.tokenize, rejected),
            fn_constructor_kwargs=cpu_worker,
            compute=ActorPoolStrategy(min_size=1, max_size=pools.tokenizers, **queue),
            num_cpus=pools.tokenizer_cpus,
            **ONE_SHARD,
            **ACTOR_RETRIES,
        )
        .map_batches(
            Infer,
            fn_constructor_args=(settings.infer,),
            fn_constructor_kwargs={
                "on_gpu": pools.model_gpus > 0,
                "num_threads": pools.model_threads,
                "max_starts": _max_starts(pools.models),
                "share_trunk": pools.models > 1,
            },
            compute=ActorPoolStrategy(size=pools.models, **model_queue),
            num_cpus=pools.model_cpus,
            num_gpus=pools.model_gpus or None,
            **ONE_SHARD,
            **ACTOR_RETRIES,
        )
        .map_batches(
            write or settings.write,
            num_cpus=WRITE_CPUS,
            compute=TaskPoolStrategy(pools.io_tasks),
            **ONE_SHARD,
            **_TASK_RETRIES,
        )
    )


def read_shards(reader: Reader, shards: pa.Table, max_tasks: int) -> Dataset:
    """Return a dataset of shards of a plan, which at most so many tasks read at a time."""
    source = PlanSource(reader, shards)
    return read_source(source, source.num_tasks, max_tasks)


def read_source(source: Datasource, num_tasks: int, max_tasks: int) -> Dataset:
    """Return a dataset of the shards of a source with so many read tasks, of which `max_tasks` run at a time."""
    dataset = ray.data.read_datasource(
        source,
        num_cpus=READ_CPUS,
        compute=TaskPoolStrategy(max_tasks),
        override_num_blocks=num_tasks,  # given their number, Ray does not split the blocks of a row group
        ray_remote_args=_TASK_RETRIES,
    )
    # Each shard becomes a block of its own, although a row group is read once for all its shards: a stage passes on
    # whole blocks, so the model would wait for all shards of a block, and a worker that dies would lose them.
    dataset.context.target_max_block_size = 1
    return dataset


class PlanSource(Datasource):
    """A Ray Data source that reads a part of the plan.

    Args:
        reader: what to read.
        plan: the shards to read.
    """

    def __init__(self, reader: Reader, plan: pa.Table):
        super().__init__()
        self._reader = reader
        self._groups = list(group_by_row_group(planned_shards(plan)))

    @property
    def num_tasks(self) -> int:
        """Number of read tasks."""
        return len(self._groups)

    def get_name(self) -> str:
        """Return the name that Ray displays."""
        return "Corpus"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: the size of a compressed file does not tell the size of its text in memory."""
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        """Return the read tasks, whatever parallelism Ray asks for."""
        return [
            ReadTask(_ReadGroup(self._reader, group), BlockMetadata(len(group), None, None, None))
            for group in self._groups
        ]


@dataclass(frozen=True)
class _ReadGroup:
    reader: Reader
    planned: list[PlannedShard]

    def __call__(self) -> Iterable[pa.Table]:
        if stop_requested():
            schema = self.reader.schema
            return (self.reader.empty_shard(shard).stopped(schema).to_table() for shard in self.planned)
        return (shard.to_table() for shard in self.reader.read(self.planned))


def _max_starts(num_workers: int) -> int:
    return max(_MIN_STARTS, 3 * num_workers)


def stream_results(dataset: Dataset) -> Generator[ShardResult]:
    """Compute a dataset, and yield the results of its shards as they arrive, in any order.

    Raises:
        ClusterError: Ray itself failed.
    """
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in cast("pa.Table", batch).to_pylist(maps_as_pydicts="strict"):
                yield ShardResult.from_row(row)
    except RayError as error:
        raise ClusterError(f"Ray failed ({type(error).__name__}: {describe_error(error)})") from None
