"""Verify, without the model, that an output contains each planned row once, as a result or as a rejected row.

Records are compared with parts, parts with what the tasks write, the plan with the input, and the rows of parts and
rejected rows with those of the input, in order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

from pipelines.corpus import MemberReader, StoredHashes, read_groups
from pipelines.formatting import format_count
from pipelines.output import ReplacedError, describe_too_many_rejected, part_name, retry_if_replaced
from pipelines.thread_map import map_in_threads
from pipelines.verify.check_files import check_files
from pipelines.verify.check_plan import check_input_files, check_plan, read_plan
from pipelines.verify.check_shard import check_shard
from pipelines.verify.findings import Problem, ShardFindings
from pipelines.verify.job_description import read_job_description
from pipelines.verify.source_rows import read_source_rows
from pipelines.verify.unique_ids import check_unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.corpus import PlannedShard
    from pipelines.output import Output, Records, ShardRecord, Totals
    from pipelines.verify.check_plan import ComparedFiles
    from pipelines.verify.job_description import JobDescription

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# Each thread holds a part and a row group in memory; more threads would only compete for the same processors.
_THREADS = 4


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

    Memory use: a part and a row group for each of a few threads, and the plan and some numbers of each shard. Because
    ids must be unique, 8 bytes of each row are kept, in temporary files if there are many.

    Args:
        output: the output of a job.
        progress: called with the number of rows that are checked and their total.

    Raises:
        FatalError: this is not the output of a job, or job.json, the plan or the ledger cannot be read.
        RetryableError: the output's storage failed.
    """
    job, job_problems = read_job_description(output)
    plan, plan_problems = check_plan(output, read_plan(output), may_skip=job.input.filter is not None)
    history, totals = retry_if_replaced(lambda: _read_ledger(output, plan["shard"]))
    records = history.current()
    is_done = pc.is_in(plan["shard"], value_set=records.shards)
    done = plan.filter(is_done) if not pc.all(is_done).as_py() else plan
    verdict = Verdict(len(plan), len(done), output.is_complete, problems=[*job_problems, *plan_problems])
    num_left = _count_rows(plan.filter(pc.invert(is_done)))
    verdict.too_many_rejected = describe_too_many_rejected(totals, job.policy, num_left)
    file_problems, verdict.notes = check_files(output, plan["shard"], records)
    verdict.problems += file_problems
    if len(history) > len(records):
        earlier = format_count(len(history) - len(records), "earlier record")
        verdict.notes.append(f"the ledger has {earlier} of shards that were computed again; the last record is used")
    files = check_input_files(output, plan, job.stores, job.input.filter)
    verdict.problems += files.problems
    _check_shards(verdict, output, job, done, records, files, progress)
    return verdict


def _read_ledger(output: Output, planned: pa.ChunkedArray) -> tuple[Records, Totals]:
    """Load the ledger, and add up the records of planned shards."""
    history = output.ledger.history()
    return history, history.current().select(planned).totals()


def _count_rows(shards: pa.Table) -> int:
    return int(shards["num_rows"].to_numpy().sum())


def _check_shards(
    verdict: Verdict,
    output: Output,
    job: JobDescription,
    shards: pa.Table,
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
                is_unchanged = all(member.file not in files.changed for member in shard.members)
                source = read_source_rows(shard, job, reader) if is_unchanged else None
                findings.append(
                    check_shard(output, job, shard, record, source, partial(_read_footer, output, shard.id))
                )
            return group, findings

    reference: ShardFindings | None = None
    rewritten: list[str] = []
    not_compared, num_not_compared = dict[str, None](), 0
    num_done, total = 0, _count_rows(shards)
    progress(num_done, total)
    with StoredHashes() as id_hashes:
        for group, findings in map_in_threads(check, _with_records(shards, records, output), _THREADS):
            for shard, found in zip(group, findings, strict=True):
                reference = reference or (found if found.schema else None)
                if reference and found.schema and not _have_same_fields(reference.schema, found.schema):
                    message = f"the metadata of its columns differs from that of {part_name(reference.shard)}"
                    found.add_problem(output.parts / part_name(found.shard), message)
                if found.rewritten and not found.problems:
                    rewritten.append(part_name(found.shard))
                if not found.compared_with_input:
                    not_compared |= dict.fromkeys(m.file for m in shard.members if m.file in files.changed)
                    num_not_compared += 1
                id_hashes.add(found.id_hashes)
                verdict.problems += found.problems
                verdict.counts += found.counts
            num_done += sum(shard.num_rows for shard in group)
            progress(num_done, total)
        verdict.notes += _describe_limits(rewritten, [*not_compared], num_not_compared, files)
        if job.input.id is not None and job.ids_are_unique:
            verdict.problems += check_unique(output, shards["shard"], job.input.id, id_hashes.find_repeated())


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
        shards = format_count(num_not_compared, "shard")
        state = files.changed.get(not_compared[0], "unreadable")
        input_files = format_count(len(not_compared), "input file")
        yield (
            f"{input_files} changed, deleted or unreadable ({not_compared[0]}: {state}): row ids of {shards} "
            "were checked only against the digest in the ledger, and spans were not checked against their texts"
        )


def _have_same_fields(schema: pa.Schema | None, other: pa.Schema) -> bool:
    return schema is not None and all(a.equals(b, check_metadata=True) for a, b in zip(schema, other, strict=True))


def _with_records(
    shards: pa.Table, records: Records, output: Output
) -> Iterator[tuple[list[PlannedShard], list[ShardRecord]]]:
    """Yield the shards of each row group, with their records."""
    found = _read_records(shards["shard"], records, output)
    for group in read_groups(shards):
        yield group, [*islice(found, len(group))]


def _read_footer(output: Output, shard: str) -> str:
    """Return the footer that the part of a shard should have."""
    return retry_if_replaced(lambda: next(iter(output.ledger.load().select(pa.array([shard])))).to_footer())


def _read_records(shards: pa.ChunkedArray, records: Records, output: Output) -> Iterator[ShardRecord]:
    num_read = 0
    while num_read < len(shards):
        numbers = pc.index_in(shards.slice(num_read), value_set=records.shards)
        try:
            for record in records.take(numbers.to_numpy()).without_langs():
                num_read += 1
                yield record
        except ReplacedError:
            records = output.ledger.load()
