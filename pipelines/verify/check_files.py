"""Check that every file of results has a record, and that every record is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute

from pipelines.formatting import format_count
from pipelines.output import SUCCESS, is_part_name, part_name
from pipelines.verify.findings import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipelines.output import Output, Records
    from pipelines.storage import Location

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_COLLECT = "xlm gc lists and removes files without a record"
_DELETE = "delete it: readers take every file in this directory for data"


def check_files(output: Output, planned: pa.ChunkedArray, records: Records) -> tuple[list[Problem], list[str]]:
    """Check that every file of results has a record and every record is planned.

    Args:
        output: the output.
        planned: the shards of the plan.
        records: the records of the ledger.

    Returns:
        The problems, and messages for the user that are not problems.
    """
    recorded = records.shards
    uncommitted = _without(planned, recorded)
    parts, rejected = output.list_parts()["shard"], output.list_rejected_parts()["shard"]
    with_rejected = records.filter(records.column("rows_rejected") > 0).shards
    problems = [
        Problem((output.parts / part_name(shard)).url, "recorded in the ledger, but not planned", "run the job again")
        for shard in sorted(_without(recorded, planned).to_pylist())
    ]
    problems += _not_recorded(output.parts, _without(parts, recorded, uncommitted), recursive=True, advice=_DELETE)
    problems += _not_recorded(
        output.rejected, _without(rejected, with_rejected, uncommitted), recursive=False, advice=_COLLECT
    )
    if len(uncommitted) and output.is_complete:
        missing = f"{len(uncommitted):,} of {format_count(len(planned), 'shard')} missing from the ledger"
        message = f"marks the output as complete, but {missing}"
        problems.append(Problem((output.location / SUCCESS).url, message, "delete it, and run the job again"))
    notes: list[str] = []
    if num_uncommitted := pc.sum(pc.is_in(parts, value_set=uncommitted)).as_py():
        found = format_count(num_uncommitted, "part")
        notes.append(f"{found} without a record, left by a stopped run; the next run adopts or replaces them")
    return problems, notes


def _not_recorded(folder: Location, shards: pa.ChunkedArray, *, recursive: bool, advice: str) -> Iterator[Problem]:
    """Yield a problem for each file of these shards, and for each file with another name."""
    found = {part_name(shard): _COLLECT for shard in shards.to_pylist()}
    for path, _ in folder.scan(recursive=recursive):
        if not is_part_name(path) and (recursive or not path.startswith(".")):
            found[path] = advice
    for path in sorted(found):
        yield Problem((folder / path).url, "not recorded in the ledger", found[path])


def _without(shards: pa.ChunkedArray, *others: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the shards that are in none of the others."""
    for other in others:
        shards = shards.filter(pc.invert(pc.is_in(shards, value_set=other)))
    return shards
