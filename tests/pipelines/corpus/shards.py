"""Planned shards for tests."""

from pipelines.corpus.planned_shard import Member, PlannedShard


def one_member(shard: str, num_rows: int, file: str = "f", *, first_row: int = 0, file_row: int = 0) -> PlannedShard:
    """Make a shard of rows of one row group."""
    return PlannedShard(shard, (Member(file, 0, 0, "", 0, first_row, file_row, num_rows),))
