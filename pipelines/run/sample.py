"""Compute a few rows of a job in this process, without Ray, into an output in memory."""

from __future__ import annotations

import uuid
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.corpus import planned_shards
from pipelines.environment import set_threads_to_wait
from pipelines.errors import FatalError, ShardError
from pipelines.output import Output
from pipelines.stages import Identify, Infer, Tokenize
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.corpus import PlannedShard
    from pipelines.rows import Shard
    from pipelines.run.prepare import Prepared

_SPREAD = 5  # shards to take rows from, if the corpus has as many
_MAX_SHARDS = 50  # to read, if the filter drops nearly all rows


def compute_sample(prepared: Prepared, num_rows: int) -> Output:
    """Run the stages on rows of shards that are spread over the corpus.

    From each of these shards, the first rows of every language are taken. Nothing is written to `output.path`.

    Args:
        prepared: the job.
        num_rows: maximum number of rows, after the filter.

    Returns:
        An output in memory, with parts and records of the sampled shards.

    Raises:
        FatalError: a stage failed, or the filter drops every row that was read.
    """
    set_threads_to_wait()
    import torch  # here, because runs do not compute samples

    stages, job = prepared.stages, prepared.job
    output = Output(locate(f"memory://xlm-sample-{uuid.uuid4().hex}"))
    output.begin(prepared.description, prepared.plan.to_table())
    identify = stages.identify and Identify(stages.identify, {})
    tokenize = Tokenize(stages.tokenize, {})
    on_gpu = job.compute.gpus_per_model > 0 and torch.cuda.is_available()
    infer = Infer(stages.infer, on_gpu=on_gpu, num_threads=torch.get_num_threads())
    write = replace(stages.write, output=output.location)
    try:
        shards = _read_shards(prepared, num_rows)
        shards = map(identify.step, shards) if identify else shards
        records = [write.write(infer.step(tokenize.step(shard))) for shard in shards]
        records = [replace(record, rows_read=record.rows_in) for record in records]
    except ShardError as error:
        raise FatalError(str(error)) from None
    if not records:
        raise FatalError("input.filter drops every row of the shards that were read; correct it")
    output.ledger.append(records)
    return output


def _read_shards(prepared: Prepared, num_rows: int) -> Iterator[Shard]:
    """Yield shards cut down to few rows, in total `num_rows`, in equal numbers if the shards have enough."""
    read = (next(prepared.stages.read.read([planned])) for planned in _spread_shards(prepared.plan.shards))
    found = list(islice((shard for shard in read if shard.failure is not None or len(shard.rows)), _SPREAD))
    for i, shard in enumerate(sorted(found, key=lambda shard: len(shard.rows))):
        if shard.failure is not None:
            raise FatalError(shard.failure.message)
        if num_rows:
            cut = _cut(shard, -(-num_rows // (len(found) - i)), prepared.job.input.lang_column)
            num_rows -= len(cut.rows)
            yield cut


def _spread_shards(plan: pa.Table) -> list[PlannedShard]:
    """Return some shards of the plan, such that the first ones are spread over the corpus, too."""
    num_shards = min(len(plan), _MAX_SHARDS)
    stride = -(-num_shards // _SPREAD)
    order = sorted(range(num_shards), key=lambda i: (i % stride, i))
    return planned_shards(plan.take([i * len(plan) // num_shards for i in order]))


def _cut(shard: Shard, num_rows: int, lang_column: str | None) -> Shard:
    """Keep the first rows of every language, in input order."""
    positions = range(len(shard.rows))
    if lang_column is not None:
        turns: dict[object, count[int]] = {}
        langs = shard.rows.column(lang_column).to_numpy(zero_copy_only=False)
        # the first row of each language, then the second one of each, and so on
        positions = sorted(positions, key=lambda i: next(turns.setdefault(langs[i], count())))
    rows = shard.rows.take(pa.array(sorted(islice(positions, num_rows)), pa.int64()))
    return replace(shard, rows=rows, stats=replace(shard.stats, rows_in=len(rows)))
