"""What must hold of the plan: its shards are what their ids say, and they cut up all of the input, each row once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus.plan import PLAN, shard_id
from pipelines.errors import FatalError, RetryableError
from pipelines.filter.parse import parse_filter
from pipelines.formatting import counted
from pipelines.stages.read import read_row_group
from pipelines.storage import FileInfo, locate
from pipelines.verify.check_results import quoted_columns
from pipelines.verify.check_shard import Problem

if TYPE_CHECKING:
    from pipelines.job.job import Job
    from pipelines.output.directory import Output

_THREADS = 16  # a footer is a small read, mostly waiting
_ANEW = "delete _SUCCESS, and run the job again to write the plan anew"
_UNREADABLE = (OSError, LookupError, ValueError, pa.ArrowException, FatalError, RetryableError)


class Sources(NamedTuple):
    """What was found of the input.

    Attributes:
        reachable: the files that are as they were planned.
        missing: for each of the others, what became of it.
        problems: what is wrong with the plan.
    """

    reachable: set[str]
    missing: dict[str, str]
    problems: list[Problem]


def read_plan(output: Output) -> pa.Table:
    """Read which shards there are to be.

    Raises:
        FatalError: there is no plan, or none that can be read.
    """
    place = output.inner / "plan.parquet"
    try:
        plan = place.read_table()
        if plan.schema.equals(PLAN):
            return plan
    except FileNotFoundError:
        raise FatalError(f"{place.url}: gone; {_ANEW}") from None
    except (ValueError, pa.ArrowException):  # of no UTF-8, of no Parquet
        pass
    raise FatalError(f"{place.url}: damaged; {_ANEW}")


def check_plan(output: Output, plan: pa.Table) -> tuple[pa.Table, list[Problem]]:
    """Check that shards have the ids that follow from their files, and lie end to end in them.

    Returns:
        The shards of which that is so of the id, each once: no other id may become the name of a file.
    """
    place, rows, problems = (output.inner / "plan.parquet").url, plan.to_pylist(), list[Problem]()
    ids = [shard_id(_identity(row), row["row_group"], row["first_row"]) for row in rows]
    first = {shard: i for i, shard in reversed(list(enumerate(ids)))}
    sound = [row["shard"] == ids[i] and first[ids[i]] == i for i, row in enumerate(rows)]
    if not all(sound):
        wrong = counted(sound.count(False), "shard")
        problems.append(Problem(place, f"{wrong} with an id that is not its own, or is another's too", _ANEW))
    gaps = [row["file"] for before, row in pairwise([None, *rows]) if row and not _follows(before, row)]
    if gaps:
        problems.append(Problem(place, f"shards do not lie end to end: {gaps[0]}, in {len(gaps)} places", _ANEW))
    return plan.filter(pa.array(sound, pa.bool_())), problems


def check_sources(job: Job, output: Output, plan: pa.Table) -> Sources:
    """See which files of the input are still as they were planned, and whether the plan covers each row of them."""
    files: dict[str, FileInfo] = {}
    planned: dict[str, Counter[int]] = {}
    for row in plan.to_pylist():
        files[row["file"]] = _identity(row)
        planned.setdefault(row["file"], Counter())[row["row_group"]] += row["num_rows"]
    found = Sources(set(), {}, [])
    with ThreadPoolExecutor(_THREADS) as pool:
        for file, rows in zip(files, pool.map(lambda file: _rows_by_group(job, file), files.values()), strict=True):
            if isinstance(rows, str):
                found.missing[file] = rows
            elif rows == planned[file]:
                found.reachable.add(file)
            else:
                has, of = counted(rows.total(), "row"), f"{planned[file].total():,} in {len(planned[file])}"
                what = f"{file} has {has} in {len(rows)} row groups, but the plan {of}"
                found.problems.append(Problem((output.inner / "plan.parquet").url, what, _ANEW))
    return found


def read_source(job: Job, shard: dict[str, Any]) -> pa.Table | None:
    """Read what tells the rows of a shard's row group: ids, what the filter reads, and texts that results quote.

    Returns:
        None where it cannot be read any more.
    """
    columns = set(quoted_columns(job)) | ({job.input.id} if job.input.id else set[str]())
    columns |= parse_filter(job.input.filter)[1] if job.input.filter else set()
    try:
        return read_row_group(locate(shard["file"], job.storage), shard["row_group"], sorted(columns))
    except _UNREADABLE:
        return None


def _rows_by_group(job: Job, planned: FileInfo) -> Counter[int] | str:
    """Count the rows of each row group that has any; or say why the file is not the one that was planned."""
    try:
        location = locate(planned.url, job.storage)
        if location.file_info() != planned:
            return "changed since"
        with location.open() as source:
            footer = pq.read_metadata(source)
    except FileNotFoundError:
        return "gone"
    except _UNREADABLE:
        return "out of reach"
    return +Counter({group: footer.row_group(group).num_rows for group in range(footer.num_row_groups)})


def _identity(row: dict[str, Any]) -> FileInfo:
    return FileInfo(row["file"], row["size"], row["mtime_ns"])


def _follows(before: dict[str, Any] | None, row: dict[str, Any]) -> bool:
    """Whether a shard begins where the one before it ends, or its file begins."""
    if before is None or before["file"] != row["file"]:
        return row["file_row"] == row["first_row"] == 0
    if row["file_row"] != before["file_row"] + before["num_rows"]:
        return False
    if row["row_group"] == before["row_group"]:
        return row["first_row"] == before["first_row"] + before["num_rows"]
    return row["row_group"] > before["row_group"] and row["first_row"] == 0
