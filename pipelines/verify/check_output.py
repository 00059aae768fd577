"""Verify, without the model, that an output contains each planned row once, as a result or as a rejected row.

Records are compared with parts, parts with what the tasks write, the plan with the input, and the rows of parts and
rejected rows with those of the input, in order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, count, groupby
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.corpus import MemberReader, RepeatedHashes, group_by_row_group
from pipelines.formatting import format_count
from pipelines.output import (
    SUCCESS,
    ReplacedError,
    describe_too_many_rejected,
    id_keys,
    is_part_name,
    part_name,
    retry_if_replaced,
)
from pipelines.thread_map import map_in_threads
from pipelines.verify.check_plan import check_input_files, check_plan, read_plan
from pipelines.verify.check_shard import check_shard
from pipelines.verify.findings import Problem, ShardFindings
from pipelines.verify.job_description import read_job_description
from pipelines.verify.source_rows import read_source_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pipelines.corpus import PlannedShard
    from pipelines.output import Output, Records, ShardRecord, Totals
    from pipelines.storage import Location
    from pipelines.verify.check_plan import ComparedFiles
    from pipelines.verify.job_description import JobDescription

# Each thread holds a part and a row group in memory; more threads would only compete for the same processors.
_THREADS = 4

_GROUPS_AT_ONCE = 200  # whose records are read from the ledger together

_COLLECT = "xlm gc lists and removes files without a record"
_DELETE = "delete it: readers take every file in this directory for data"


@dataclass
class Verdict:
    """The result of a verification.

    Attributes:
        planned: number of shards in the plan.
        done: number of planned shards in the ledger.
        success: whether the output is marked complete.
        too_many_rejected: what was rejected, if this is more than the job allows.
        counts: what was checked, as in `ShardFindings`.
        problems: what is wrong.
        notes: messages for the user that are not problems.
    """

    planned: int
    done: int
    success: bool
    too_many_rejected: str | None = None
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[str] = field(default_factory=list[str])

    @property
    def complete(self) -> bool:
        """Whether the last run was complete. An incomplete output may be correct as far as it goes."""
        return self.success and self.done == self.planned

    @property
    def verified(self) -> bool:
        """Whether the output is complete and has no problems."""
        return self.complete and not self.problems


def verify(output: Output, progress: Callable[[int, int], None] = lambda done, total: None) -> Verdict:
    """Verify a whole output. Nothing is written. While a run is writing, its committed shards are verified.

    Memory use: a part and a row group for each of a few threads, and 16 bytes per row, because ids must be unique.

    Args:
        output: the output of a job.
        progress: called with the number of rows that are checked and their total.

    Raises:
        FatalError: this is not the output of a job, or job.json, the plan or the ledger cannot be read.
        RetryableError: the output's storage failed.
    """
    job, job_problems = read_job_description(output)
    plan, plan_problems = check_plan(output, read_plan(output), may_skip=job.input.filter is not None)
    history, totals = retry_if_replaced(lambda: _read_ledger(output, plan))
    records = history.current()
    recorded = set(records.shards.to_pylist())
    done = [shard for shard in plan if shard.id in recorded]
    verdict = Verdict(len(plan), len(done), output.is_complete, problems=[*job_problems, *plan_problems])
    num_left = sum(shard.num_rows for shard in plan if shard.id not in recorded)
    verdict.too_many_rejected = describe_too_many_rejected(totals, job.policy, num_left)
    _check_files(verdict, output, {shard.id for shard in plan}, records)
    if len(history) > len(records):
        earlier = format_count(len(history) - len(records), "earlier record")
        verdict.notes.append(f"the ledger has {earlier} of shards that were computed again; the last record is used")
    files = check_input_files(output, plan, job.stores, job.input.filter)
    verdict.problems += files.problems
    _check_shards(verdict, output, job, done, records, files, progress)
    return verdict


def _read_ledger(output: Output, plan: list[PlannedShard]) -> tuple[Records, Totals]:
    """Load the ledger, and add up the records of planned shards."""
    history = output.ledger.history()
    return history, history.current().select(_ids(plan)).totals()


def _ids(shards: Iterable[PlannedShard]) -> pa.Array:
    return pa.array([shard.id for shard in shards], pa.string())


def _check_files(verdict: Verdict, output: Output, planned: set[str], records: Records) -> None:
    """Check that every file of results has a record and every record is planned."""
    problems = verdict.problems
    shards = set(records.shards.to_pylist())
    problems += [
        Problem((output.parts / part_name(shard)).url, "recorded in the ledger, but not planned", "run the job again")
        for shard in sorted(shards - planned)
    ]
    recorded = {part_name(shard) for shard in shards}
    found = _list_relative(output.parts)
    with_rejected = records.filter(records.column("rows_rejected") > 0)
    rejected = {part_name(shard) for shard in with_rejected.shards.to_pylist()}
    uncommitted = {part_name(shard) for shard in planned} - recorded
    if num_uncommitted := len(uncommitted.intersection(found)):
        parts = format_count(num_uncommitted, "part")
        verdict.notes.append(f"{parts} without a record, left by a stopped run; the next run adopts or replaces them")
    problems += [
        Problem((output.parts / name).url, "not recorded in the ledger", _COLLECT if is_part_name(name) else _DELETE)
        for name in found
        if name not in recorded | uncommitted
    ]
    problems += [
        Problem((output.rejected / file.name).url, "not recorded in the ledger", _COLLECT)
        for file in output.rejected.list()
        if file.name not in rejected | uncommitted and not file.name.startswith(".")
    ]
    num_missing = len(planned - shards)
    if verdict.success and num_missing:
        shards = f"{num_missing:,} of {format_count(len(planned), 'shard')} missing from the ledger"
        message = f"marks the output as complete, but {shards}"
        problems.append(Problem((output.location / SUCCESS).url, message, "delete it, and run the job again"))


def _list_relative(folder: Location) -> list[str]:
    """List the files in a directory, as paths below it."""
    return [file.url.removeprefix(folder.url.rstrip("/") + "/") for file in folder.list(recursive=True)]


def _check_shards(
    verdict: Verdict,
    output: Output,
    job: JobDescription,
    shards: Sequence[PlannedShard],
    records: Records,
    files: ComparedFiles,
    progress: Callable[[int, int], None],
) -> None:
    """Check every committed shard, and then what must hold across shards."""

    def check(item: tuple[list[PlannedShard], list[ShardRecord]]) -> tuple[list[PlannedShard], list[ShardFindings]]:
        group, found = item
        with MemberReader(job.input_columns, job.stores) as reader:
            findings: list[ShardFindings] = []
            for shard, record in zip(group, found, strict=True):
                is_unchanged = all(member.file in files.unchanged for member in shard.members)
                source = read_source_rows(shard, job, reader) if is_unchanged else None
                findings.append(check_shard(output, job, shard, record, source))
            return group, findings

    reference: ShardFindings | None = None
    id_hashes: dict[str, NDArray[np.uint64]] = {}
    rewritten: list[str] = []
    not_compared, num_not_compared = list[str](), 0
    num_done, total = 0, sum(shard.num_rows for shard in shards)
    progress(num_done, total)
    groups = _with_records(group_by_row_group(shards), records, output)
    for group, findings in map_in_threads(check, groups, _THREADS):
        for shard, found in zip(group, findings, strict=True):
            reference = reference or (found if found.schema else None)
            if reference and found.schema and not _have_same_fields(reference.schema, found.schema):
                message = f"the metadata of its columns differs from that of {part_name(reference.shard)}"
                found.add_problem(output.parts / part_name(found.shard), message)
            if found.rewritten and not found.problems:
                rewritten.append(part_name(found.shard))
            if not found.compared_with_input:
                not_compared += [member.file for member in shard.members if member.file not in files.unchanged]
                num_not_compared += 1
            id_hashes[found.shard] = found.id_hashes
            verdict.problems += found.problems
            verdict.counts += found.counts
        num_done += sum(shard.num_rows for shard in group)
        progress(num_done, total)
    verdict.notes += _describe_limits(rewritten, not_compared, num_not_compared, files)
    if job.input.id is not None and job.ids_are_unique:
        verdict.problems += _check_unique(output, job.input.id, id_hashes)


def _describe_limits(
    rewritten: list[str], not_compared: list[str], num_not_compared: int, files: ComparedFiles
) -> Iterator[str]:
    """Yield notes on shards that could not be checked completely.

    Args:
        rewritten: names of parts that are intact, but not the ones that were recorded.
        not_compared: the changed input files of shards that could not be compared with their files.
        num_not_compared: number of these shards.
        files: what happened to these files.
    """
    if rewritten:
        parts = format_count(len(rewritten), "part")
        yield f"{parts} written again after the commit, with the same rows, such as {rewritten[0]}: a Ray task repeated"
    if not_compared:
        changed, shards = list(dict.fromkeys(not_compared)), format_count(num_not_compared, "shard")
        state = files.changed.get(changed[0], "unreadable")
        input_files = format_count(len(changed), "input file")
        yield (
            f"{input_files} changed, deleted or unreadable ({changed[0]}: {state}): row ids of {shards} "
            "were checked only against the digest in the ledger, and spans were not checked against their texts"
        )


def _have_same_fields(schema: pa.Schema | None, other: pa.Schema) -> bool:
    return schema is not None and all(a.equals(b, check_metadata=True) for a, b in zip(schema, other, strict=True))


def _check_unique(output: Output, id_column: str, id_hashes: dict[str, NDArray[np.uint64]]) -> Iterator[Problem]:
    """Find ids that several rows have. Ids are read again only where hashes are equal."""
    repeated = RepeatedHashes.find(list(id_hashes.values()))
    first_rows: dict[bytes, str] = {}
    for shard, hashes in id_hashes.items():
        suspects = repeated.find_in(hashes)
        if not len(suspects):
            continue
        part = output.parts / part_name(shard)
        keys = id_keys(part.read_table([id_column])[id_column].combine_chunks())
        firsts = [(row, first_rows.setdefault(keys[row], f"row {row} of {part.name}")) for row in suspects.tolist()]
        repeats = [(row, first) for row, first in firsts if first != f"row {row} of {part.name}"]
        if repeats:
            row, first = repeats[0]
            rows = format_count(len(repeats), "row")
            message = f"{rows} with the id of an earlier row: row {row} has that of {first}"
            yield Problem(part.url, message, "delete both parts, and run the job again to compute their shards again")


def _with_records(
    groups: Iterable[list[PlannedShard]], records: Records, output: Output
) -> Iterator[tuple[list[PlannedShard], list[ShardRecord]]]:
    """Add the records of their shards to groups, reading many records at once."""
    for _, some in groupby(zip(count(), groups, strict=False), key=lambda item: item[0] // _GROUPS_AT_ONCE):
        together = [group for _, group in some]
        shards = _ids(chain.from_iterable(together))
        try:
            found = {record.shard: record for record in records.select(shards)}
        except ReplacedError:
            records = output.ledger.load()
            found = {record.shard: record for record in records.select(shards)}
        for group in together:
            yield group, [found[shard.id] for shard in group]
