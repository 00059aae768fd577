"""Orphans: files in an output that the ledger does not account for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.output.layout import BOOKKEEPING, DATA, METADATA_PATH, PART, PART_PATH, SHARD_ID, TEMPORARY
from pipelines.output.parts import listing_table
from pipelines.storage import final_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.output.directory import Output
    from pipelines.output.ledger import Records
    from pipelines.storage import Location


pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class Orphan(NamedTuple):
    """A file that the ledger does not account for.

    Attributes:
        location: the file.
        path: its path below the output.
        size_bytes: its size.
        description: what such files are, in the plural.
        is_removable: whether a run wrote it, so that it may be removed.
    """

    location: Location
    path: str
    size_bytes: int
    description: str
    is_removable: bool


def find_orphans(output: Output) -> list[Orphan]:
    """List the files that the ledger does not account for, ordered by path.

    While a run writes to the output, its uncommitted parts are listed too. Only the holder of the output's lock can
    rule that out.

    Raises:
        FatalError: the ledger is damaged; or it is empty although the output is complete, so that every part would be
            an orphan.
    """
    # List before loading the ledger, so that parts committed in between have a record.
    others: list[tuple[str, int]] = []
    parts = listing_table(_split_listing(output, others))
    records = output.ledger.load()
    found = [(path, size, *_classify(path)) for path, size in others]
    found += _find_parts_without_record(parts, records)
    orphans = [Orphan(output.location / file[0], *file) for file in sorted(found)]
    if not len(records) and output.is_complete and any(PART_PATH.fullmatch(orphan.path) for orphan in orphans):
        raise FatalError(
            f"{output.location.url}: complete, but its ledger is missing, so every part would be an orphan; restore "
            "_xlm/ledger"
        )
    return orphans


def _split_listing(output: Output, others: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """List the files of an output: yield parts and files of rejected rows, and add files of other kinds to a list."""
    for path, size in output.location.scan(recursive=True):
        if PART_PATH.fullmatch(path):
            yield path, size
        elif not METADATA_PATH.fullmatch(path):
            others.append((path, size))


def _find_parts_without_record(parts: pa.Table, records: Records) -> Iterator[tuple[str, int, str, bool]]:
    """Yield the parts and files of rejected rows that have no record: path, size, and as `_classify` returns it."""
    named = pc.extract_regex(parts["name"], f"^(?P<folder>.+)/part-(?P<shard>{SHARD_ID.pattern})")
    shards, is_data = pc.struct_field(named, "shard"), pc.equal(pc.struct_field(named, "folder"), DATA)
    is_recorded = pc.is_in(shards, value_set=records.shards)
    with_rejected = records.filter(records.column("rows_rejected") > 0)
    is_expected = pc.if_else(is_data, is_recorded, pc.is_in(shards, value_set=with_rejected.shards))
    kinds = pa.table({"path": parts["name"], "size": parts["size"], "is_data": is_data, "is_recorded": is_recorded})
    for file in kinds.filter(pc.invert(is_expected)).to_pylist():
        if file["is_recorded"]:
            description = "rejected rows of shards that have no rejected rows any more"
        else:
            description = f"{'results' if file['is_data'] else 'rejected rows'} of shards that were never committed"
        yield file["path"], file["size"], description, True


def _classify(path: str) -> tuple[str, bool]:
    """Return what another file is, and whether it may be removed."""
    folder, slash, name = path.rpartition("/")
    if final := final_name(name):
        target = folder + slash + final
        is_part = folder == f"{BOOKKEEPING}/{TEMPORARY}" and PART.fullmatch(final)
        if is_part or PART_PATH.fullmatch(target) or METADATA_PATH.fullmatch(target):
            return "temporary files of processes that were killed", True
    return "files that were not written by a job", False
