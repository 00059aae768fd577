"""Check that the plan's shard ids are right, and that its shards cover every row of the input once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise, tee
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.corpus import MemberReader, derive_ids, is_plan, members_of, planned_shards, read_footer
from pipelines.errors import FatalError
from pipelines.filter import matching_rows, parse_filter
from pipelines.formatting import format_count
from pipelines.output import PLAN_FILE
from pipelines.storage import FileInfo, locate
from pipelines.thread_map import map_in_threads
from pipelines.verify.findings import Problem
from pipelines.verify.source_rows import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.corpus import Member
    from pipelines.output import Output
    from pipelines.storage import StoreSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_THREADS = 16  # a footer is a small read, mostly waiting
_FILES_AT_ONCE = 4_096  # that are Python objects
_PLAN_AGAIN = "delete _SUCCESS, and run the job again to write a new plan"


class ComparedFiles(NamedTuple):
    """The files of the input, compared with the plan.

    Attributes:
        changed: for each file that is not as it was planned, what happened to it.
        problems: what is wrong with the plan.
    """

    changed: dict[str, str]
    problems: list[Problem]


def read_plan(output: Output) -> pa.Table:
    """Read the plan, without the row groups that are not read.

    Raises:
        FatalError: the plan is missing or damaged.
    """
    file = output.bookkeeping / PLAN_FILE
    try:
        plan = file.read_table()
        if is_plan(plan.schema):
            plan = plan.filter(plan["shard"].is_valid()) if plan["shard"].null_count else plan
            return plan.combine_chunks()  # one chunk, of which `members_of` need not copy the members
    except FileNotFoundError:
        raise FatalError(f"{file.url}: missing; {_PLAN_AGAIN}") from None
    except (ValueError, pa.ArrowException):  # text that is not UTF-8, or not Parquet
        pass
    raise FatalError(f"{file.url}: damaged; {_PLAN_AGAIN}")


def check_plan(output: Output, plan: pa.Table, *, may_skip: bool = False) -> tuple[pa.Table, list[Problem]]:
    """Check that shard ids follow from their members, and that the members in a file are contiguous.

    Args:
        output: the output.
        plan: its plan.
        may_skip: whether row groups may be missing, because the job has a filter.

    Returns:
        The shards with the right id, each once, and the problems. A wrong id must not become a file name.
    """
    url, problems = (output.bookkeeping / PLAN_FILE).url, list[Problem]()
    offsets, members = members_of(plan)
    is_right = np.diff(offsets) > 0
    ids = derive_ids(np.unique(offsets), members)  # of shards with members
    is_right[is_right] = pc.equal(plan["shard"].filter(pa.array(is_right)), ids).to_numpy()
    gaps = _find_gaps(members, may_skip)
    numbers = plan["shard"].filter(pa.array(is_right)).combine_chunks().dictionary_encode().indices.to_numpy()
    valid = np.flatnonzero(is_right)[np.sort(np.unique(numbers, return_index=True)[1])]
    if len(valid) < len(plan):
        invalid = format_count(len(plan) - len(valid), "shard")
        problems.append(Problem(url, f"{invalid} with a wrong or repeated id", _PLAN_AGAIN))
        plan = plan.take(pa.array(valid))
    if len(gaps):
        positions = format_count(len(gaps), "position")
        message = f"the shards of a file are not contiguous, at {positions}, such as in {gaps[0].as_py()}"
        problems.append(Problem(url, message, _PLAN_AGAIN))
    return plan, problems


def _find_gaps(members: pa.Table, may_skip: bool) -> pa.ChunkedArray:
    """Return the file of each member that neither starts where the one before it ends, nor at the start of a file."""
    members = members.select(["file", "row_group", "first_row", "file_row", "num_rows"])
    members = members.sort_by([(name, "ascending") for name in ("file", "row_group", "first_row")])
    files = members["file"].combine_chunks().dictionary_encode().indices.to_numpy()
    groups, first_rows, file_rows, num_rows = (
        members[name].to_numpy() for name in ("row_group", "first_row", "file_row", "num_rows")
    )
    ends = file_rows[:-1] + num_rows[:-1]
    is_next_row = (file_rows[1:] >= ends) if may_skip else (file_rows[1:] == ends)
    is_next = is_next_row & np.where(
        groups[1:] == groups[:-1],
        first_rows[1:] == first_rows[:-1] + num_rows[:-1],
        (groups[1:] > groups[:-1]) & (first_rows[1:] == 0),
    )
    is_at_start = (first_rows == 0) & (may_skip | (file_rows == 0))
    is_in_file = np.concatenate([np.zeros(1, np.bool_), files[1:] == files[:-1]])[: len(files)]
    is_sound = np.where(is_in_file, np.concatenate([np.zeros(1, np.bool_), is_next])[: len(files)], is_at_start)
    return members["file"].filter(pa.array(~is_sound))


def check_input_files(
    output: Output, plan: pa.Table, stores: Sequence[StoreSettings], filter_text: str | None = None
) -> ComparedFiles:
    """Find the input files that changed after the plan was made, and check that the plan covers all rows of the others.

    Row groups that a plan leaves out must not contain rows that the filter matches. Their statistics are not trusted.

    Args:
        output: the output, whose plan is named in problems.
        plan: the shards with the right id.
        stores: options of the stores that contain the corpus.
        filter_text: the job's filter.
    """
    plan_url = (output.bookkeeping / PLAN_FILE).url
    found = ComparedFiles({}, [])
    files, counted = tee(_planned_files(plan))
    num_rows = map_in_threads(lambda file: _count_rows(file.info, stores), counted, _THREADS)
    for (info, planned, shard), rows in zip(files, num_rows, strict=True):
        if isinstance(rows, str):
            found.changed[info.url] = rows
            continue
        left_out = rows.keys() - planned.keys() if filter_text is not None else set[int]()
        if all(rows[group] == planned[group] for group in (rows.keys() | planned.keys()) - left_out):
            for group in sorted(left_out):
                (some,) = planned_shards(plan.slice(shard, 1))
                member = next(member for member in some.members if member.file == info.url)
                member = replace(member, row_group=group, first_row=0, num_rows=rows[group])
                if filter_text is not None and not _drops_all(member, filter_text, stores):
                    message = f"leaves out row group {group} of {info.url}, which has rows that input.filter matches"
                    found.problems.append(Problem(plan_url, message, _PLAN_AGAIN))
        else:
            got = f"{format_count(planned.total(), 'row')} in {format_count(len(planned), 'row group')}"
            message = f"has {got} of {info.url}, expected {rows.total():,} in {len(rows)}"
            found.problems.append(Problem(plan_url, message, _PLAN_AGAIN))
            found.changed[info.url] = "unreadable"
    return found


class _PlannedFile(NamedTuple):
    """A file of the plan.

    Attributes:
        info: the file as it was planned.
        num_rows: its rows by row group.
        shard: the number of a shard with some of them.
    """

    info: FileInfo
    num_rows: Counter[int]
    shard: int


def _planned_files(plan: pa.Table) -> Iterator[_PlannedFile]:
    """Yield the files of a plan in the order in which they occur first, some of them as Python objects at once."""
    offsets, members = members_of(plan)
    files = members["file"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.argsort(files, kind="stable")
    shards = np.repeat(np.arange(len(plan)), np.diff(offsets))
    columns = members.select(["file", "size", "mtime_ns", "etag", "row_group", "num_rows"])
    bounds = np.append(np.flatnonzero(np.diff(files[order], prepend=-1)), len(files))
    for number in range(0, len(bounds) - 1, _FILES_AT_ONCE):
        some = bounds[number : number + _FILES_AT_ONCE + 1]
        chosen = order[some[0] : some[-1]]
        rows = columns.take(pa.array(chosen)).to_pylist()
        for first, last in pairwise((some - some[0]).tolist()):
            counts = Counter[int]()
            for row in rows[first:last]:
                counts[row["row_group"]] += row["num_rows"]
            *info, _, _ = rows[first].values()
            yield _PlannedFile(FileInfo(*info), counts, int(shards[chosen[first]]))


def _drops_all(member: Member, filter_text: str, stores: Sequence[StoreSettings]) -> bool:
    """Return whether a filter drops all rows of a row group."""
    with MemberReader(sorted(parse_filter(filter_text)[1]), stores) as reader:
        try:
            return matching_rows(filter_text, reader.read(member)).true_count == 0
        except UNREADABLE:
            return False


def _count_rows(planned: FileInfo, stores: Sequence[StoreSettings]) -> Counter[int] | str:
    """Count the rows of each row group that has any; or return what happened to the file after it was planned."""
    try:
        location = locate(planned.url, stores)
        if location.file_info() != planned:
            return "changed"
        with location.open() as source:
            footer = read_footer(source).metadata
    except FileNotFoundError:
        return "deleted"
    except UNREADABLE:
        return "unreadable"
    return +Counter({group: footer.row_group(group).num_rows for group in range(footer.num_row_groups)})
