"""Check that no two rows of an output have the same id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.corpus import hash_ids
from pipelines.formatting import format_count
from pipelines.output import id_keys, part_name
from pipelines.thread_map import map_in_threads
from pipelines.verify.findings import Problem
from pipelines.verify.source_rows import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipelines.corpus import RepeatedHashes
    from pipelines.output import Output

_THREADS = 4  # each holds the ids of a part
_ADVICE = "delete both parts, and run the job again to compute their shards again"


def check_unique(
    output: Output, shards: pa.ChunkedArray, id_column: str, repeated: RepeatedHashes
) -> Iterator[Problem]:
    """Find ids that several rows have. Nothing is read if no hash is repeated.

    Args:
        output: the output.
        shards: the shards whose parts are compared.
        id_column: the column with the ids.
        repeated: the hashes of ids that are repeated.
    """
    if not repeated.num_repeats:
        return

    def read(shard: str) -> dict[int, bytes]:
        """Return the ids with repeated hashes by row."""
        try:
            ids = (output.parts / part_name(shard)).read_table([id_column])[id_column].combine_chunks()
        except UNREADABLE:
            return {}
        suspects = repeated.find_in(hash_ids(ids)[0])
        return dict(zip(suspects.tolist(), id_keys(ids.take(suspects)), strict=True))

    first_rows: dict[bytes, str] = {}
    names = (shard.as_py() for shard in shards)
    for shard, ids in zip(shards, map_in_threads(read, names, _THREADS), strict=True):
        part = output.parts / part_name(shard.as_py())
        repeats: list[tuple[int, str]] = []
        for row, row_id in ids.items():
            first = first_rows.setdefault(row_id, own := f"row {row} of {part.name}")
            if first != own:
                repeats.append((row, first))
        if repeats:
            row, first = repeats[0]
            rows = format_count(len(repeats), "row")
            message = f"{rows} with the id of an earlier row: row {row} has that of {first}"
            yield Problem(part.url, message, _ADVICE)
