"""The input: its plan, its row groups and its duplicate ids."""

from pipelines.corpus.duplicate_ids import find_duplicates
from pipelines.corpus.lang_counts import LangValue, count_langs
from pipelines.corpus.parquet import UnsupportedInputError, explain_unreadable, read_footer
from pipelines.corpus.plan import Plan, make_plan
from pipelines.corpus.planned_shard import (
    PLAN,
    PlannedShard,
    group_by_row_group,
    is_plan,
    plan_table,
    planned_shards,
    shard_id,
)
from pipelines.corpus.repeated_hashes import RepeatedHashes
from pipelines.corpus.row_groups import read_row_group, select_rows
from pipelines.corpus.some_rows import read_some_rows

__all__ = [
    "PLAN",
    "LangValue",
    "Plan",
    "PlannedShard",
    "RepeatedHashes",
    "UnsupportedInputError",
    "count_langs",
    "explain_unreadable",
    "find_duplicates",
    "group_by_row_group",
    "is_plan",
    "make_plan",
    "plan_table",
    "planned_shards",
    "read_footer",
    "read_row_group",
    "read_some_rows",
    "select_rows",
    "shard_id",
]
