"""Planned shards for tests."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from pipelines.corpus.planned_shard import Member, PlannedShard
from pipelines.storage import FileInfo


def one_member(shard: str, num_rows: int, file: str = "f", *, first_row: int = 0, file_row: int = 0) -> PlannedShard:
    """Make a shard of rows of one row group."""
    return PlannedShard(shard, (Member(file, 0, 0, "", 0, first_row, file_row, num_rows),))


def shard_id(members: Sequence[Member]) -> str:
    """Derive a shard's id, as `derive_ids` does for many. Ids of existing outputs must stay, so this must too."""
    first = members[0]
    identity = _identity(first.file_info)
    if any(not _is_next(before, member) for before, member in pairwise(members)):
        positions = "".join(f"{_identity(m.file_info)}-{m.row_group}-{m.first_row}-{m.num_rows}\0" for m in members)
        identity = hashlib.sha256(positions.encode()).hexdigest()[:16]
    return f"{identity}-{first.row_group:05d}-{first.first_row:09d}"


def _is_next(before: Member, member: Member) -> bool:
    return before.file_info == member.file_info and before.end_row == member.file_row


def _identity(file: FileInfo) -> str:
    return hashlib.sha256(f"{file.url}\0{file.size}\0{file.mtime_ns}\0{file.etag}".encode()).hexdigest()[:16]
