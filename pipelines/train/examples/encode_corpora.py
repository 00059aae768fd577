"""Encode the rows of all objectives as files of examples, with the same plan, readers and tokenizers as other jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from ray.data import ActorPoolStrategy, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.exceptions import RayError

from pipelines.corpus import group_by_row_group, planned_shards
from pipelines.errors import ClusterError, FatalError, RetryableError
from pipelines.flow import ACTOR_RETRIES, ONE_SHARD, read_source
from pipelines.storage import describe_error
from pipelines.train.examples.encode import EncodedShard, EncodeExamples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipelines.corpus import PlannedShard
    from pipelines.stages import Reader
    from pipelines.train.examples.encode import EncodeSettings

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


def encode_corpora(
    todo: Sequence[tuple[ExampleCorpus, pa.Table]],
    num_tokenizers: int,
    on_shard: Callable[[ExampleCorpus, EncodedShard], None],
) -> None:
    """Encode shards on Ray, and write a file for each.

    Args:
        todo: corpora, and the shards of each that are encoded.
        num_tokenizers: maximum number of processes.
        on_shard: receives the result of each shard.

    Raises:
        FatalError: a shard cannot be encoded.
        RetryableError: the store or the cluster failed.
    """
    source = _CorporaSource([(corpus.reader, shards) for corpus, shards in todo])
    dataset = read_source(source, len(source.groups), max_tasks=max(1, num_tokenizers // 2)).map_batches(
        _EncodeCorpora,
        fn_constructor_args=([corpus.encode for corpus, _ in todo],),
        compute=ActorPoolStrategy(min_size=1, max_size=num_tokenizers),
        num_cpus=_TOKENIZER_CPUS,
        **ONE_SHARD,
        **ACTOR_RETRIES,
    )
    num_missing = sum(len(shards) for _, shards in todo)
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in cast("pa.Table", batch).to_pylist(maps_as_pydicts="strict"):
                number, shard_id = _split_id(row["shard"])
                corpus, shard = todo[number][0], EncodedShard(**row | {"shard": shard_id})
                if shard.error is not None:
                    error = RetryableError if shard.is_retryable else FatalError
                    raise error(f"{corpus.title}: {shard.error}")
                num_missing -= 1
                on_shard(corpus, shard)
    except RayError as error:
        raise ClusterError(f"Ray failed ({type(error).__name__}: {describe_error(error)})") from None
    if num_missing:
        raise ClusterError(f"{num_missing} shards were lost when their workers died")


class _EncodeCorpora:
    """A process of the pool, which encodes shards of all corpora."""

    def __init__(self, settings: Sequence[EncodeSettings]):
        self._encode = [EncodeExamples(corpus) for corpus in settings]

    def __call__(self, table: pa.Table) -> pa.Table:
        number, _ = _split_id(table["shard"][0].as_py())
        return self._encode[number](table)


@dataclass(frozen=True)
class _ReadGroup:
    """Reads shards that are in one row group. Their ids begin with the number of the corpus."""

    reader: Reader
    number: int
    planned: list[PlannedShard]

    def __call__(self) -> Iterator[pa.Table]:
        for shard in self.reader.read(self.planned):
            yield replace(shard, id=f"{self.number}:{shard.id}").to_table()


class _CorporaSource(Datasource):
    """A Ray Data source that reads shards of several corpora."""

    def __init__(self, corpora: Sequence[tuple[Reader, pa.Table]]):
        super().__init__()
        self.groups = [
            _ReadGroup(reader, number, group)
            for number, (reader, shards) in enumerate(corpora)
            for group in group_by_row_group(planned_shards(shards))
        ]

    def get_name(self) -> str:
        return "Corpora"

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: object, **__: object) -> list[ReadTask]:
        return [ReadTask(group, BlockMetadata(len(group.planned), None, None, None)) for group in self.groups]


def _split_id(shard_id: str) -> tuple[int, str]:
    number, _, rest = shard_id.partition(":")
    return int(number), rest
