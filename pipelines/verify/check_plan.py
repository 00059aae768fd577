"""Check that the plan's shard ids are right, and that its shards cover every row of the input once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from pipelines.corpus import Member, MemberReader, PlannedShard, is_plan, planned_shards, read_footer, shard_id
from pipelines.errors import FatalError
from pipelines.filter import matching_rows, parse_filter
from pipelines.formatting import format_count
from pipelines.output import PLAN_FILE
from pipelines.storage import FileInfo, locate
from pipelines.verify.findings import Problem
from pipelines.verify.source_rows import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.output import Output
    from pipelines.storage import StoreSettings

_THREADS = 16  # a footer is a small read, mostly waiting
_PLAN_AGAIN = "delete _SUCCESS, and run the job again to write a new plan"


class ComparedFiles(NamedTuple):
    """The files of the input, compared with the plan.

    Attributes:
        unchanged: the files that are as they were planned.
        changed: for each other file, what happened to it.
        problems: what is wrong with the plan.
    """

    unchanged: set[str]
    changed: dict[str, str]
    problems: list[Problem]


def read_plan(output: Output) -> list[PlannedShard]:
    """Read the plan.

    Raises:
        FatalError: the plan is missing or damaged.
    """
    file = output.bookkeeping / PLAN_FILE
    try:
        plan = file.read_table()
        if is_plan(plan.schema):
            return planned_shards(plan.filter(plan["shard"].is_valid()))
    except FileNotFoundError:
        raise FatalError(f"{file.url}: missing; {_PLAN_AGAIN}") from None
    except (ValueError, pa.ArrowException):  # text that is not UTF-8, or not Parquet
        pass
    raise FatalError(f"{file.url}: damaged; {_PLAN_AGAIN}")


def check_plan(
    output: Output, plan: Sequence[PlannedShard], *, may_skip: bool = False
) -> tuple[list[PlannedShard], list[Problem]]:
    """Check that shard ids follow from their members, and that the members in a file are contiguous.

    Args:
        output: the output.
        plan: its plan.
        may_skip: whether row groups may be missing, because the job has a filter.

    Returns:
        The shards with the right id, each once, and the problems. A wrong id must not become a file name.
    """
    url, problems = (output.bookkeeping / PLAN_FILE).url, list[Problem]()
    ids = [shard_id(shard.members) if shard.members else None for shard in plan]
    first = {expected: i for i, expected in reversed(list(enumerate(ids)))}
    valid = [shard for i, shard in enumerate(plan) if shard.id == ids[i] and first[ids[i]] == i]
    if len(valid) < len(plan):
        invalid = format_count(len(plan) - len(valid), "shard")
        problems.append(Problem(url, f"{invalid} with a wrong or repeated id", _PLAN_AGAIN))
    members = sorted(
        (member for shard in plan for member in shard.members), key=lambda m: (m.file, m.row_group, m.first_row)
    )
    gaps = [
        after.file for before, after in pairwise([None, *members]) if after and not _is_next(before, after, may_skip)
    ]
    if gaps:
        positions = format_count(len(gaps), "position")
        message = f"the shards of a file are not contiguous, at {positions}, such as in {gaps[0]}"
        problems.append(Problem(url, message, _PLAN_AGAIN))
    return valid, problems


def check_input_files(
    output: Output, plan: Sequence[PlannedShard], stores: Sequence[StoreSettings], filter_text: str | None = None
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
    members = [member for shard in plan for member in shard.members]
    some_member = {member.file: member for member in members}
    files: dict[str, FileInfo] = {}
    planned: dict[str, Counter[int]] = {}
    for member in members:
        files[member.file] = member.file_info
        planned.setdefault(member.file, Counter())[member.row_group] += member.num_rows
    found = ComparedFiles(set(), {}, [])
    with ThreadPoolExecutor(_THREADS) as pool:
        num_rows = pool.map(lambda file: _count_rows(file, stores), files.values())
        for file, rows in zip(files, num_rows, strict=True):
            if isinstance(rows, str):
                found.changed[file] = rows
                continue
            left_out = rows.keys() - planned[file].keys() if filter_text is not None else set[int]()
            if all(rows[group] == planned[file][group] for group in (rows.keys() | planned[file].keys()) - left_out):
                found.unchanged.add(file)
                for group in sorted(left_out):
                    member = replace(some_member[file], row_group=group, first_row=0, num_rows=rows[group])
                    if filter_text is not None and not _drops_all(member, filter_text, stores):
                        message = f"leaves out row group {group} of {file}, which has rows that input.filter matches"
                        found.problems.append(Problem(plan_url, message, _PLAN_AGAIN))
            else:
                got = f"{format_count(planned[file].total(), 'row')} in {format_count(len(planned[file]), 'row group')}"
                message = f"has {got} of {file}, expected {rows.total():,} in {len(rows)}"
                found.problems.append(Problem(plan_url, message, _PLAN_AGAIN))
    return found


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


def _is_next(before: Member | None, member: Member, may_skip: bool) -> bool:
    """Return whether a member starts where the one before it ends, or at the start of another file."""
    if before is None or before.file != member.file:
        return member.first_row == 0 and (may_skip or member.file_row == 0)
    if member.file_row != before.end_row and not (may_skip and member.file_row > before.end_row):
        return False
    if member.row_group == before.row_group:
        return member.first_row == before.first_row + before.num_rows
    return member.row_group > before.row_group and member.first_row == 0
