"""Encode the rows of one objective as files of examples, with the same plan, readers and tokenizers as other jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import ray.data
from ray.data import ActorPoolStrategy, TaskPoolStrategy
from ray.exceptions import RayError

from pipelines.errors import ClusterError, FatalError, RetryableError
from pipelines.flow import PlanSource
from pipelines.stages import READ_CPUS
from pipelines.storage import describe_error
from pipelines.train.examples.encode import EncodedShard, EncodeExamples

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipelines.stages import Reader
    from pipelines.train.examples.encode import EncodeSettings

_RETRIES = 2
_TOKENIZER_CPUS = 0.9  # Ray Data fuses stages that ask for the same number of CPUs


@dataclass(frozen=True)
class ExampleCorpus:
    """The rows of one objective, or those of its section `dev`.

    Attributes:
        title: in messages.
        reader: what to read.
        shards: the plan.
        encode: how to encode the rows.
    """

    title: str
    reader: Reader
    shards: pa.Table
    encode: EncodeSettings


def encode_corpus(
    corpus: ExampleCorpus, shards: pa.Table, num_tokenizers: int, on_shard: Callable[[EncodedShard], None]
) -> None:
    """Encode some shards of a corpus on Ray, and write a file for each.

    Args:
        corpus: the rows.
        shards: the shards to encode.
        num_tokenizers: maximum number of processes.
        on_shard: receives the result of each shard.

    Raises:
        FatalError: a shard cannot be encoded.
        RetryableError: the store or the cluster failed.
    """
    source = PlanSource(corpus.reader, shards)
    options: dict[str, Any] = {"batch_size": 1, "batch_format": "pyarrow"}
    dataset = ray.data.read_datasource(
        source,
        num_cpus=READ_CPUS,
        compute=TaskPoolStrategy(max(1, num_tokenizers // 2)),
        override_num_blocks=source.num_tasks,
        ray_remote_args={"max_retries": _RETRIES},
    ).map_batches(
        EncodeExamples,
        fn_constructor_args=(corpus.encode,),
        compute=ActorPoolStrategy(min_size=1, max_size=num_tokenizers),
        num_cpus=_TOKENIZER_CPUS,
        max_restarts=-1,
        max_task_retries=_RETRIES,
        **options,
    )
    dataset.context.target_max_block_size = 1
    missing = set(shards["shard"].to_pylist())
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in cast("pa.Table", batch).to_pylist(maps_as_pydicts="strict"):
                shard = EncodedShard(**row)
                if shard.error is not None:
                    error = RetryableError if shard.is_retryable else FatalError
                    raise error(f"{corpus.title}: {shard.error}")
                missing.discard(shard.shard)
                on_shard(shard)
    except RayError as error:
        raise ClusterError(f"Ray failed ({type(error).__name__}: {describe_error(error)})") from None
    if missing:
        raise ClusterError(f"{corpus.title}: {len(missing)} shards were lost when their workers died")
