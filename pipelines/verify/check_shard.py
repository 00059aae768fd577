"""Check one shard: its record, its part and its rejected rows agree, and together contain the input's rows once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus import hash_ids
from pipelines.formatting import format_count
from pipelines.output import REJECTED_FILE, decode_schema, digest_ids, id_keys, is_as_written, part_bytes, sha256
from pipelines.verify.check_results import check_results
from pipelines.verify.findings import RUN_AGAIN, ShardFindings
from pipelines.verify.source_rows import describe_files, describe_rows, find_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus import PlannedShard
    from pipelines.output import Output, ShardRecord
    from pipelines.storage import Location
    from pipelines.verify.job_description import JobDescription
    from pipelines.verify.source_rows import SourceRows

_VERSION = "xlm:version"  # of the program that wrote a part; the parts of one output may differ in it


def check_shard(
    output: Output,
    job: JobDescription,
    shard: PlannedShard,
    record: ShardRecord,
    source: SourceRows | None,
    read_footer: Callable[[], str],
) -> ShardFindings:
    """Check one shard.

    Args:
        output: contains its files.
        job: the description of the job.
        shard: its row of the plan, with the right id.
        record: its record in the ledger, without counts by language.
        source: its rows in the input after the filter; None if they cannot be read.
        read_footer: returns the whole record as it should be in the footer of the part.

    Raises:
        FatalError, RetryableError: the output's storage cannot be read.
    """
    found = ShardFindings(shard.id, compared_with_input=source is not None)
    part, rejected_file = output.parts / record.part, output.rejected / record.part
    _check_record(found, part, shard, record, job.segmenters)
    rejected: NDArray[np.int64] | None = np.empty(0, np.int64)
    if record.rows_rejected:
        file = _read(found, rejected_file, record.rejected_bytes, record.rejected_digest)
        rejected = None if file is None else _check_rejected(found, rejected_file, file, shard, record)
    file = _read(found, part, record.bytes, record.digest, read_footer)
    if file is None or not _check_schema(found, part, file.declared, job):
        return found
    rows = file.rows
    found.schema, found.counts["rows_out"] = file.declared, len(rows)
    if len(rows) != record.rows_out:
        found.add_problem(part, f"has {format_count(len(rows), 'row')}, expected {record.rows_out:,} as in the ledger")
    id_column = job.input.id
    ids = rows[id_column or "row"].combine_chunks()
    if digest_ids(ids) != record.ids_digest:
        found.add_problem(part, "its rows, or their order, do not match the digest of row ids in the ledger")
    files = describe_files(shard)
    if id_column is not None:
        keys = id_keys(ids)
        found.id_hashes = hash_ids(ids)[0]
    else:
        positions = find_positions(shard, rows["file"].to_pylist(), ids.to_pylist())
        keys = id_keys(pa.array(positions))
        if (positions < 0).any():
            found.add_problem(part, f"has rows outside of its shard, {describe_rows(shard)}")
    texts = None
    if source is not None and rejected is not None:
        if len(source.keys) != record.rows_in:
            rows_in = format_count(len(source.keys), "row")
            found.add_problem(part, f"{files} has {rows_in} of this shard, but the ledger has {record.rows_in:,}")
        expected = _remove_rejected(found, rejected_file, source, rejected)
        if difference := _describe_difference(expected.keys, keys):
            found.add_problem(part, f"its rows are not those of {files}: {difference}")
        else:
            texts = expected.texts
    results = check_results(job.tasks, job.input, rows, texts)
    found.counts |= {"vectors": results.num_vectors, "spans": results.num_spans}
    for wrong in results.faults:
        found.add_problem(part, wrong)
    return found


def _check_record(
    found: ShardFindings, part: Location, shard: PlannedShard, record: ShardRecord, segmenters: Mapping[str, str]
) -> None:
    if record.rows_in != record.rows_out + record.rows_rejected:
        rows_in = format_count(record.rows_in, "row")
        rows = f"{rows_in} in, but {record.rows_out:,} out and {record.rows_rejected:,} rejected"
        found.add_problem(part, f"its record has {rows}")
    for name, got, expected in (
        ("file", record.file, shard.members[0].file),
        ("rows_read", record.rows_read, shard.num_rows),
    ):
        if got != expected:
            found.add_problem(part, f"its record has {name} {got}, expected {expected} as in the plan")
    if record.segmenters.items() - segmenters.items():
        got = _name_differences(record.segmenters, {name: segmenters.get(name, "none") for name in record.segmenters})
        found.add_problem(part, f"its record has other segmenters than job.json: {got}")


class _File(NamedTuple):
    """A file of the write stage: its rows as Parquet returns them, and the declared schema."""

    rows: pa.Table
    declared: pa.Schema


def _read(
    found: ShardFindings,
    location: Location,
    size_bytes: int | None,
    digest: str | None,
    read_footer: Callable[[], str | None] = lambda: None,
) -> _File | None:
    """Read a recorded file and compare it with its record; None if it is missing or cannot be read."""
    try:
        data = location.read_bytes()
    except FileNotFoundError:
        found.add_problem(location, "missing, although the ledger has it", RUN_AGAIN)
        return None
    found.counts["bytes"] += len(data)
    try:
        file = _parse(data)
    except (OSError, LookupError, ValueError, pa.ArrowException):  # Arrow's errors for invalid Parquet
        file = None
    if sha256(data) == digest and file is not None:
        return file
    if file is not None and is_as_written(data, file.rows, file.declared, read_footer()):
        found.rewritten = True
        return file
    state = "damaged, and cannot be read" if file is None else "changed"
    got = f"{format_count(len(data), 'byte')} with SHA-256 {sha256(data)[:12]}…"
    found.add_problem(location, f"{state}; got {got}, expected {size_bytes or 0:,} with {digest and digest[:12]}…")
    return file


def _parse(data: bytes) -> _File:
    parquet = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    declared = decode_schema(parquet.metadata.metadata[b"ARROW:schema"])
    rows = parquet.read()
    if not rows.schema.equals(pq.read_schema(pa.BufferReader(part_bytes(pa.Table.from_batches([], declared))))):
        raise ValueError("the columns are not those of the declared schema")
    return _File(rows, declared)


def _check_rejected(
    found: ShardFindings, location: Location, file: _File, shard: PlannedShard, record: ShardRecord
) -> NDArray[np.int64] | None:
    """Check a file of rejected rows, and return their positions in the shard; None if it has other columns."""
    if not file.declared.equals(REJECTED_FILE):
        got, expected = ", ".join(file.declared.names), ", ".join(REJECTED_FILE.names)
        found.add_problem(location, f"has columns {got}, expected {expected}")
        return None
    rejected = file.rows.to_pylist()
    found.counts["rows_rejected"] = len(rejected)
    reasons = Counter(row["reason"] for row in rejected)
    if reasons != record.reasons or len(rejected) != record.rows_rejected:
        got, expected = _describe_reasons(reasons), _describe_reasons(record.reasons)
        found.add_problem(location, f"has {got}, expected {expected} as in the ledger")
    if not all(reasons):
        found.add_problem(location, "has rows without a reason")
    positions = find_positions(shard, [row["file"] for row in rejected], [row["row"] for row in rejected])
    if num_outside := int((positions < 0).sum()):
        rows = f"{format_count(num_outside, 'row')} outside of its shard, {describe_rows(shard)}"
        found.add_problem(location, f"has {rows}")
    num_repeated = len(rejected) - len({(row["file"], row["row"]) for row in rejected})
    if num_repeated:
        found.add_problem(location, f"has {format_count(num_repeated, 'row')} more than once")
    return positions


def _check_schema(found: ShardFindings, part: Location, schema: pa.Schema, job: JobDescription) -> bool:
    if not schema.equals(job.schema):
        got, expected = ({field.name: str(field.type) for field in fields} for fields in (schema, job.schema))
        found.add_problem(part, f"its columns differ from job.json: {_name_differences(got, expected)}")
        return False
    metadata = {
        key.decode(errors="replace"): value.decode(errors="replace") for key, value in (schema.metadata or {}).items()
    }
    if metadata | {_VERSION: ""} != job.metadata | {_VERSION: ""}:
        found.add_problem(part, f"its metadata differs from job.json: {_name_differences(metadata, job.metadata)}")
    return True


def _remove_rejected(
    found: ShardFindings, rejected_file: Location, source: SourceRows, rejected: NDArray[np.int64]
) -> SourceRows:
    """Remove rejected rows from the rows of the input; the part must contain all others."""
    if num_dropped := len(np.setdiff1d(rejected[rejected >= 0], source.positions)):
        found.add_problem(rejected_file, f"has {format_count(num_dropped, 'row')} that input.filter drops")
    return source.without(rejected)


def _describe_difference(expected: Sequence[bytes], got: Sequence[bytes]) -> str:
    """Describe how rows differ from the expected ones, by position and count only; empty if they do not differ."""
    if expected == got:
        return ""
    num_missing, num_surplus = Counter(expected), Counter(got)
    common = num_missing & num_surplus
    num_missing, num_surplus = (num_missing - common).total(), (num_surplus - common).total()
    end = min(len(expected), len(got))
    first = next((i for i in range(end) if expected[i] != got[i]), end)
    if not num_missing and not num_surplus:
        return f"their order differs, from row {first} of the part on"
    return f"{format_count(num_missing, 'row')} missing, {num_surplus:,} surplus, from row {first} of the part on"


def _name_differences(got: dict[str, str], expected: dict[str, str]) -> str:
    """Name the keys in which two mappings differ, with both values."""
    names = [
        name for name in dict.fromkeys([*expected, *got]) if got.get(name) != expected.get(name) and name != _VERSION
    ]
    shown = [f"{name} {got.get(name, 'missing')} (expected {expected.get(name, 'none')})" for name in names[:3]]
    return ", ".join([*shown, *(["…"] if names[3:] else [])]) or f"in the order {', '.join(got)}"


def _describe_reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items())) or "no rows"
