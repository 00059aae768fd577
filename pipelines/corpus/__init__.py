"""The input: its plan, its rows and its duplicate ids."""

from pipelines.corpus.cut_shards import ShardLimits
from pipelines.corpus.ids import MAX_ROWS_IN_DRIVER, RepeatedHashes, StoredHashes, find_duplicates, hash_ids
from pipelines.corpus.known_files import GoneFiles
from pipelines.corpus.lang_counts import LangValue, count_langs, is_counted_quickly
from pipelines.corpus.member_reader import MemberReader, join_alike, select_rows
from pipelines.corpus.parquet import UnsupportedInputError, explain_unreadable, read_footer
from pipelines.corpus.plan import Plan, plan_shards
from pipelines.corpus.planned_shard import (
    Member,
    PlannedShard,
    group_by_row_group,
    is_plan,
    members_of,
    plan_table,
    planned_shards,
    read_groups,
)
from pipelines.corpus.shard_ids import derive_ids
from pipelines.corpus.some_rows import read_some_rows
from pipelines.corpus.survey import Corpus, survey_corpus

__all__ = [
    "MAX_ROWS_IN_DRIVER",
    "Corpus",
    "GoneFiles",
    "LangValue",
    "Member",
    "MemberReader",
    "Plan",
    "PlannedShard",
    "RepeatedHashes",
    "ShardLimits",
    "StoredHashes",
    "UnsupportedInputError",
    "count_langs",
    "derive_ids",
    "explain_unreadable",
    "find_duplicates",
    "group_by_row_group",
    "hash_ids",
    "is_counted_quickly",
    "is_plan",
    "join_alike",
    "members_of",
    "plan_shards",
    "plan_table",
    "planned_shards",
    "read_footer",
    "read_groups",
    "read_some_rows",
    "select_rows",
    "survey_corpus",
]
