"""What lies in an output and no record accounts for: what runs that were killed left there, and what is not ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import FatalError
from pipelines.output.ledger import SHARD_ID
from pipelines.storage import final_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.output.directory import Output
    from pipelines.storage import Location

# What a run writes, by its path below the output.
_PART = re.compile(rf"(_xlm/rejected/)?part-({SHARD_ID.pattern})\.parquet")
_ABOUT = re.compile(
    r"_SUCCESS|_xlm/(?:job\.json|plan\.parquet|report\.(?:json|html)|lock|lock-[0-9a-f]{16}\.json)"
    r"|_xlm/ledger/[0-9]{20}-[0-9a-f]{8}\.parquet"
)


class Leftover(NamedTuple):
    """A file that nothing accounts for.

    Attributes:
        location: the file.
        name: its path below the output.
        size_bytes: its size.
        why: what it is, in the plural.
        is_ours: whether a run wrote it, so that it may be removed.
    """

    location: Location
    name: str
    size_bytes: int
    why: str
    is_ours: bool


def find_leftovers(output: Output) -> list[Leftover]:
    """List what no record of the ledger accounts for, in the order of the names.

    Of a run that is alive, parts that it has not committed yet are among them. Only the holder of the output's lock
    knows that there is none.

    Raises:
        FatalError: the ledger is damaged; or it is gone though the output is complete, and would account for nothing.
    """
    files = output.location.list(recursive=True)  # before the ledger: what is committed meanwhile is accounted for
    records = output.ledger.load()
    found: list[Leftover] = []
    for file in files:
        name = file.url[len(output.location.url.rstrip("/")) + 1 :]
        if (judged := _judge(name, records)) is not None:
            found.append(Leftover(output.location / name, name, file.size, *judged))
    if not records and output.is_complete and any(_PART.fullmatch(leftover.name) for leftover in found):
        raise FatalError(
            f"{output.location.url}: complete, but without a ledger, by which none of its parts is a leftover; restore "
            "_xlm/ledger"
        )
    return found


def _judge(name: str, records: Mapping[str, dict[str, Any]]) -> tuple[str, bool] | None:
    """Say what a file is, and whether it is ours; None of one that is accounted for."""
    if _ABOUT.fullmatch(name):
        return None
    if part := _PART.fullmatch(name):
        is_rejected, record = part[1] is not None, records.get(part[2])
        if record is None:
            return f"{'rejected rows' if is_rejected else 'results'} of shards that were never committed", True
        if is_rejected and not record["rows_rejected"]:
            return "rejected rows of shards of which no row is rejected by now", True
        return None
    folder, slash, last = name.rpartition("/")
    if final := final_name(last):
        target = folder + slash + final
        if _PART.fullmatch(target) or _ABOUT.fullmatch(target):
            return "unfinished files of processes that were killed", True
    return "files that no run writes", False
