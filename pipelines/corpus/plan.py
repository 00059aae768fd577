"""The plan: a table of the shards of a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.cut_shards import cut_shards
from pipelines.corpus.planned_shard import build_plan

if TYPE_CHECKING:
    from pipelines.corpus.cut_shards import ShardLimits
    from pipelines.corpus.survey import Corpus


class PrunedRows(NamedTuple):
    """How many rows are not read, and how many row groups contain them."""

    num_rows: int = 0
    num_row_groups: int = 0


@dataclass(frozen=True)
class Plan:
    """The shards of a corpus.

    Attributes:
        shards: one row per shard, with the columns of `plan_schema`.
        corpus: the corpus.
    """

    shards: pa.Table
    corpus: Corpus

    @property
    def schema(self) -> pa.Schema:
        """The input columns that the job reads, with their types."""
        return self.corpus.schema

    @property
    def num_rows(self) -> int:
        """Number of rows of the shards, before the filter."""
        return int(self.shards["num_rows"].to_numpy().sum())

    @property
    def num_corpus_rows(self) -> int:
        """Number of rows of the corpus, before the filter, also of those that are not read."""
        return self.num_rows + self.pruned.num_rows

    @property
    def pruned(self) -> PrunedRows:
        """The rows that are not in `shards`, because statistics show that the filter drops them."""
        pruned = self.corpus.pruned
        return PrunedRows(int(pruned["num_rows"].to_numpy().sum()), len(pruned))

    def to_table(self, *, ids_are_distinct: bool = False) -> pa.Table:
        """Return the plan as it is stored, with everything that the next run need not read from the files again.

        Args:
            ids_are_distinct: whether all ids were compared, and none is repeated.
        """
        corpus = self.corpus
        tables = [self.shards]
        if len(corpus.pruned):
            offsets = np.array([0, len(corpus.pruned)], np.int64)
            tables.append(build_plan(pa.nulls(1, pa.string()), offsets, corpus.pruned))
        return pa.concat_tables(tables).replace_schema_metadata(
            corpus.first.to_metadata(corpus.basis, ids_are_distinct=ids_are_distinct)
        )


def plan_shards(corpus: Corpus, limits: ShardLimits, kept: pa.Table | None = None) -> Plan:
    """Cut a corpus into shards; see `cut_shards`."""
    return Plan(cut_shards(corpus.row_groups, limits, kept), corpus)
