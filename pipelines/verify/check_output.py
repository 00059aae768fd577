"""Proof, without the model, that an output is what its job promised: each planned row is in it once, or rejected once.

Nothing is believed because it is written: records are held against parts, parts against what the tasks may write, the
plan against the input, and the rows of both against those of the input, in their order.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.formatting import counted
from pipelines.job.fingerprint import fingerprint_digest, result_settings
from pipelines.job.job import Job
from pipelines.output.ledger import part_name
from pipelines.stages.read import by_row_group, shard_rows
from pipelines.stages.write import id_keys
from pipelines.verify.check_plan import check_plan, check_sources, read_plan, read_source
from pipelines.verify.check_shard import Checked, Problem, Promise, check_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from pipelines.output.directory import Output
    from pipelines.storage import Location
    from pipelines.verify.check_plan import Sources

# Each holds a part, and of a row group what tells its rows; more would only wait for the same processors.
_THREADS = 4

_REMOVE = "xlm gc lists and removes what has no record"
_Record = dict[str, Any]


@dataclass
class Verdict:
    """What was checked, and what came of it.

    Attributes:
        planned: shards of the plan.
        done: those of them that the ledger has.
        success: whether the output says that it is complete.
        counts: of what was looked at, as in `Checked`.
        problems: what is not as promised.
        notes: what a person should know besides; none of it is damage.
    """

    planned: int
    done: int
    success: bool
    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[Problem] = field(default_factory=list[Problem])
    notes: list[str] = field(default_factory=list[str])

    @property
    def complete(self) -> bool:
        """Whether the last run did all it should; an output that is not complete may be sound as far as it goes."""
        return self.success and self.done == self.planned

    @property
    def verified(self) -> bool:
        """Whether all that was promised is proved."""
        return self.complete and not self.problems


def verify(output: Output, progress: Callable[[int, int], None] = lambda done, total: None) -> Verdict:
    """Check a whole output. Nothing is written, and of one that a run is writing to, what it has committed is checked.

    In memory are, for each of a few threads, a part and of a row group what tells its rows; and 16 bytes a row, for ids
    have to be unique.

    Args:
        output: of a job.
        progress: is told how many rows of how many are checked.

    Raises:
        FatalError: there is no output, or job.json, the plan or the ledger cannot be read.
        RetryableError: the output's storage fails.
    """
    promise, problems = _read_promise(output)
    plan, more = check_plan(output, read_plan(output))
    history = output.ledger.history()
    records = {record["shard"]: record for record in history}
    planned: list[str] = plan["shard"].to_pylist()
    todo = plan.filter(pa.array([shard in records for shard in planned], pa.bool_()))
    verdict = Verdict(len(planned), len(todo), output.is_complete, problems=[*problems, *more])
    _check_files(verdict, output, set(planned), records)
    if len(history) > len(records):
        again = counted(len(history) - len(records), "earlier record")
        verdict.notes.append(f"the ledger has {again} of shards that were computed again; the last one of each holds")
    sources = check_sources(promise.job, output, plan)
    verdict.problems += sources.problems
    _check_shards(verdict, output, promise, todo, records, sources, progress)
    return verdict


def _read_promise(output: Output) -> tuple[Promise, list[Problem]]:
    """Read what the job says of every part, and whether it says the same of it everywhere."""
    place = output.inner / "job.json"
    saved = output.saved_job()
    if saved is None:
        raise FatalError(f"{output.location.url}: no output of a job (it has no _xlm/job.json); name an output.path")
    try:
        job = Job.model_validate_json(json.dumps(saved["spec"]))
        promise = Promise(job, dict(saved["columns"]), dict(saved["metadata"]))
        fingerprint: dict[str, Any] = saved["fingerprint"]
        digest = fingerprint_digest(fingerprint)
        named = promise.metadata["xlm:fingerprint"]
        fields = result_settings(job)
        changed = [name for name in ("input", "tasks", "policy") if fingerprint.get(name) != fields[name]]
    except (ValueError, AttributeError, KeyError, TypeError):  # pydantic's are ValueErrors
        raise FatalError(
            f"{place.url}: damaged, or of another version of this program; restore it, or use that version"
        ) from None
    problems: list[Problem] = []
    if digest != named:
        what = f"its fingerprint is {digest[:12]}…, but its metadata says {named[:12]}…"
        problems.append(Problem(place.url, what, "restore it"))
    if changed:
        what = f"its settings are not those that its fingerprint is of: {', '.join(changed)}"
        problems.append(Problem(place.url, what, "restore it"))
    return promise, problems


def _check_files(verdict: Verdict, output: Output, planned: set[str], records: dict[str, _Record]) -> None:
    """Account for every file of results, and for what the output says of itself."""
    root, problems = output.location, verdict.problems
    strays = records.keys() - planned
    problems += [
        Problem((root / part_name(shard)).url, "recorded in the ledger, but not planned", "run the job again")
        for shard in sorted(strays)
    ]
    parts = {part_name(shard) for shard in records}
    visible = _visible(root)
    rejected = {part_name(shard) for shard, record in records.items() if record["rows_rejected"]}
    begun = {part_name(shard) for shard in planned} - parts
    if waiting := len(begun.intersection(visible)):
        left = counted(waiting, "part")
        verdict.notes.append(f"{left} without a record, as a run leaves that is stopped; the next one replaces them")
    surplus = [name for name in visible if name not in parts | begun]
    problems += [
        Problem((root / name).url, "not recorded in the ledger, yet it is read as results", _REMOVE) for name in surplus
    ]
    surplus = [file.name for file in output.rejected.list() if file.name not in rejected | begun]
    surplus = [name for name in surplus if not name.startswith(".")]
    problems += [Problem((output.rejected / name).url, "not recorded in the ledger", _REMOVE) for name in surplus]
    missing = len(planned - records.keys())
    if verdict.success and missing:
        what = f"says that the output is complete, but {missing:,} of {len(planned):,} shards are not in the ledger"
        problems.append(Problem((root / "_SUCCESS").url, what, "delete it, and run the job again"))


def _visible(folder: Location) -> list[str]:
    """List what readers of datasets see in a directory, by the path below it."""
    below = [file.url.removeprefix(folder.url.rstrip("/") + "/") for file in folder.list(recursive=True)]
    return [path for path in below if not any(part.startswith(("_", ".")) for part in path.split("/"))]


def _check_shards(
    verdict: Verdict,
    output: Output,
    promise: Promise,
    todo: pa.Table,
    records: dict[str, _Record],
    sources: Sources,
    progress: Callable[[int, int], None],
) -> None:
    """Check every shard that is done, a row group at a time, and what must hold of all of them together."""
    spec, policy = promise.job.input, promise.job.policy

    def check(group: list[dict[str, Any]]) -> list[Checked]:
        source = read_source(promise.job, group[0]) if group[0]["file"] in sources.reachable else None
        rows = [None if source is None else shard_rows(source, shard, spec.filter) for shard in group]
        return [
            check_shard(output, promise, shard, records[shard["shard"]], of_shard)
            for shard, of_shard in zip(group, rows, strict=True)
        ]

    reference: Checked | None = None
    ids: dict[str, NDArray[np.int64]] = {}
    rewritten: list[str] = []
    unproved: list[str] = []
    done, total = 0, sum(todo["num_rows"].to_pylist())
    progress(done, total)
    for group, checked in _in_order(check, by_row_group(todo)):
        for shard, found in zip(group, checked, strict=True):
            reference = reference or (found if found.schema else None)
            if reference and found.schema and not _same_columns(reference.schema, found.schema):
                of_first = part_name(reference.shard)
                found.tell(
                    output.location / part_name(found.shard), f"tells other things of its columns than {of_first}"
                )
            if found.rewritten and not found.problems:
                rewritten.append(part_name(found.shard))
            if not found.proved:
                unproved.append(shard["file"])
            ids[found.shard] = found.ids
            verdict.problems += found.problems
            verdict.counts += found.counts
        done += sum(shard["num_rows"] for shard in group)
        progress(done, total)
    verdict.notes += _notes(rewritten, unproved, sources)
    if spec.id is not None and policy.duplicate_ids != "ignore":
        verdict.problems += _check_unique(output, spec.id, ids)


def _notes(rewritten: list[str], unproved: list[str], sources: Sources) -> Iterator[str]:
    """Say what kept some shards from being proved to the last byte and row.

    Args:
        rewritten: names of parts that are whole, but not those that were recorded.
        unproved: for each shard that could not be held against its file of the input, that file.
        sources: what became of such files.
    """
    if rewritten:
        parts = counted(len(rewritten), "part")
        yield f"{parts} rewritten since recorded, rows the same, such as {rewritten[0]}: late twins of tasks do that"
    if unproved:
        files, shards = list(dict.fromkeys(unproved)), counted(len(unproved), "shard")
        fate = sources.missing.get(files[0], "out of reach")
        yield (
            f"{counted(len(files), 'file')} of the input not as planned ({files[0]}: {fate}): the rows of {shards} "
            "were checked against the ledger's digest of their ids alone, and spans not against their texts"
        )


def _same_columns(schema: pa.Schema | None, other: pa.Schema) -> bool:
    return schema is not None and all(a.equals(b, check_metadata=True) for a, b in zip(schema, other, strict=True))


def _check_unique(output: Output, id_column: str, ids: dict[str, NDArray[np.int64]]) -> Iterator[Problem]:
    """Find ids that stand in two rows. Only where hashes are equal are the ids themselves read again."""
    every = np.sort(np.concatenate([np.empty(0, np.int64), *ids.values()]))
    suspects = np.unique(every[1:][every[1:] == every[:-1]])
    seen: dict[bytes, str] = {}
    for shard, hashes in ids.items():
        places = np.flatnonzero(np.isin(hashes, suspects))
        if not len(places):
            continue
        part = output.location / part_name(shard)
        keys = id_keys(part.read_table([id_column])[id_column].combine_chunks())
        firsts = [(row, seen.setdefault(keys[row], f"row {row} of {part.name}")) for row in places.tolist()]
        repeats = [(row, first) for row, first in firsts if first != f"row {row} of {part.name}"]
        if repeats:
            row, first = repeats[0]
            what = f"{counted(len(repeats), 'row')} with the id of an earlier one: row {row} has that of {first}"
            yield Problem(part.url, what, "delete both parts, and run the job again to compute their shards anew")


def _in_order(
    check: Callable[[list[dict[str, Any]]], list[Checked]], groups: Iterable[list[dict[str, Any]]]
) -> Iterator[tuple[list[dict[str, Any]], list[Checked]]]:
    """Check groups of shards in threads, few of them ahead of what was taken, and give the results in order."""
    waiting: deque[tuple[list[dict[str, Any]], Future[list[Checked]]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for group in groups:
            waiting.append((group, pool.submit(check, group)))
            if len(waiting) > _THREADS:
                first, future = waiting.popleft()
                yield first, future.result()
        for group, future in waiting:
            yield group, future.result()
