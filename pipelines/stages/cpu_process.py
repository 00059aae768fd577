"""A process of a pool on CPUs: what it needs stays loaded from shard to shard."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from pipelines.stages.checks import pre_reject
from pipelines.stages.run_stage import run_stage
from pipelines.stages.start_limit import StartLimit
from pipelines.stages.time_limit import time_limit

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.rows import PreRejected, Shard

LoadedT = TypeVar("LoadedT")


class CpuProcess(ABC, Generic[LoadedT]):
    """A process that runs one stage on shards; a subclass is a stage.

    Args:
        schema: of the rows that the stage passes on.
        id_column: the column that identifies a row.
        timeout_s: limit on the time without progress.
        pre_rejected: rows that the driver already rejected.
        max_starts: how many processes may start before one has finished a shard; None for no limit.
        niceness: by how much to lower the priority of this process.
    """

    stage: ClassVar[Literal["identify", "tokenize"]]
    process: ClassVar[Literal["identifier", "tokenizer"]]

    def __init__(
        self,
        schema: pa.Schema,
        id_column: str | None,
        timeout_s: float,
        pre_rejected: PreRejected,
        max_starts: int | None,
        niceness: int,
    ):
        self._schema, self._id_column, self._timeout_s = schema, id_column, timeout_s
        self._pre_rejected = pre_rejected
        self._loaded: LoadedT | None = None
        self._start_limit = StartLimit(self.process, max_starts)
        os.nice(niceness)

    @abstractmethod
    def load(self) -> LoadedT:
        """Load what the stage needs; called once."""

    @abstractmethod
    def compute(self, shard: Shard, loaded: LoadedT) -> Shard:
        """Run the stage on a shard."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Run the stage on one shard, packed as a table of one row."""
        return run_stage(self.stage, table, self.step, self._schema)

    def step(self, shard: Shard) -> Shard:
        """Run the stage on a shard, within its limits."""
        if self._loaded is None:
            self._start_limit.check()
            self._loaded = self.load()
        with time_limit(self._timeout_s, self.stage, shard.id), self._start_limit.survival(len(shard.rows)):
            # Do this first: a row that the driver rejected may have crashed a process of this pool.
            shard = pre_reject(shard, self._pre_rejected.get(shard.id, {}), self._id_column)
            return self.compute(shard, self._loaded)
