"""Orphans: files in an output that the ledger does not account for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import FatalError
from pipelines.output.layout import BOOKKEEPING, DATA, METADATA_PATH, PART, PART_PATH, TEMPORARY
from pipelines.storage import final_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.output.directory import Output
    from pipelines.storage import Location


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
    files = output.location.list(recursive=True)
    loaded = output.ledger.load()
    records = dict(zip(loaded.shards.to_pylist(), loaded.column("rows_rejected").tolist(), strict=True))
    orphans: list[Orphan] = []
    for file in files:
        path = file.url[len(output.location.url.rstrip("/")) + 1 :]
        if (found := _classify(path, records)) is not None:
            orphans.append(Orphan(output.location / path, path, file.size, *found))
    if not records and output.is_complete and any(PART_PATH.fullmatch(orphan.path) for orphan in orphans):
        raise FatalError(
            f"{output.location.url}: complete, but its ledger is missing, so every part would be an orphan; restore "
            "_xlm/ledger"
        )
    return orphans


def _classify(path: str, rows_rejected: Mapping[str, int]) -> tuple[str, bool] | None:
    """Return what a file is, and whether it may be removed; None if the ledger accounts for it."""
    if METADATA_PATH.fullmatch(path):
        return None
    if part := PART_PATH.fullmatch(path):
        is_rejected, record = part[1] != DATA, rows_rejected.get(part[2])
        if record is None:
            return f"{'rejected rows' if is_rejected else 'results'} of shards that were never committed", True
        if is_rejected and not record:
            return "rejected rows of shards that have no rejected rows any more", True
        return None
    folder, slash, name = path.rpartition("/")
    if final := final_name(name):
        target = folder + slash + final
        is_part = folder == f"{BOOKKEEPING}/{TEMPORARY}" and PART.fullmatch(final)
        if is_part or PART_PATH.fullmatch(target) or METADATA_PATH.fullmatch(target):
            return "temporary files of processes that were killed", True
    return "files that were not written by a job", False
