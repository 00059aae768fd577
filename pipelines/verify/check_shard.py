"""What must hold of one shard: its record, its part and its rejected rows agree, and together they are its rows."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.formatting import counted
from pipelines.output.ledger import part_name
from pipelines.rows.schemas import ROW, decode_texts, whole
from pipelines.stages.write import REJECTED_FILE, digest_ids, id_keys, part_bytes, sha256
from pipelines.verify.check_results import check_results, quoted_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.job.job import Job
    from pipelines.output.directory import Output
    from pipelines.storage import Location

VERSION = "xlm:version"  # of what wrote a part: parts of one output may differ in it
_ANEW = "delete the part, and run the job again to compute its shard anew"


class Problem(NamedTuple):
    """Something that is not as it was promised.

    Attributes:
        where: the file.
        what: what is wrong with it, and what was expected.
        advice: what to do.
    """

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.advice}"


@dataclass(frozen=True)
class Promise:
    """What `job.json` says of every part."""

    job: Job
    columns: dict[str, str]
    metadata: dict[str, str]


@dataclass
class Checked:
    """What was found of one shard.

    Attributes:
        shard: its id.
        problems: what is wrong.
        schema: of its part, as it was declared; None if that cannot be read.
        ids: a hash of each row's id, int64 [N], equal within this process for equal ids; none without an id column.
        counts: `rows_out`, `rows_rejected`, `bytes`, `vectors` and `spans` that were looked at.
        proved: whether the input's own rows were at hand.
        rewritten: whether a file is whole, but not the one that was recorded.
    """

    shard: str
    problems: list[Problem] = field(default_factory=list[Problem])
    schema: pa.Schema | None = None
    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    counts: Counter[str] = field(default_factory=Counter[str])
    proved: bool = False
    rewritten: bool = False

    def tell(self, place: Location, what: str, advice: str = _ANEW) -> None:
        """Take note of a problem."""
        self.problems.append(Problem(place.url, what, advice))


def check_shard(
    output: Output, promise: Promise, shard: dict[str, Any], record: dict[str, Any], source: pa.Table | None
) -> Checked:
    """Check one shard.

    Args:
        output: where its files are.
        promise: what holds for all shards.
        shard: its row of the plan; the id is the one that follows from the others.
        record: its record in the ledger.
        source: its rows of the input that the filter lets through, with their numbers; None if they are out of reach.

    Raises:
        FatalError, RetryableError: the output's storage cannot be read.
    """
    found, name = Checked(shard["shard"], proved=source is not None), part_name(shard["shard"])
    part, rejected_file = output.location / name, output.rejected / name
    _check_record(found, part, shard, record)
    rejected: list[dict[str, Any]] | None = []
    if record["rows_rejected"]:
        file = _read(found, rejected_file, record["rejected_bytes"], record["rejected_digest"])
        rejected = None if file is None else _check_rejected(found, rejected_file, file, shard, record)
    file = _read(found, part, record["bytes"], record["digest"])
    if file is None or not _check_schema(found, part, file.declared, promise):
        return found
    rows = file.rows
    found.schema, found.counts["rows_out"] = file.declared, len(rows)
    if len(rows) != record["rows_out"]:
        found.tell(part, f"has {counted(len(rows), 'row')}, but {record['rows_out']:,} in the ledger")
    id_column = promise.job.input.id
    ids = rows[id_column or "row"].combine_chunks()
    if digest_ids(ids) != record["ids_digest"]:
        found.tell(part, "its rows, or their order, are not those that the ledger's digest of their ids is of")
    keys = id_keys(ids)
    if id_column is not None:
        found.ids = np.fromiter((hash(key) for key in keys), np.int64, len(keys))
    elif any(file != shard["file"] for file in rows["file"].to_pylist()):
        found.tell(part, f"has rows of another file than {shard['file']}")
    texts = None
    if source is not None and rejected is not None:
        if len(source) != record["rows_in"]:
            rows_in = counted(len(source), "row")
            found.tell(part, f"{shard['file']} has {rows_in} for it, but {record['rows_in']:,} in the ledger")
        kept = _less_rejected(found, rejected_file, source, rejected)
        if difference := _difference(id_keys(kept[id_column or ROW].combine_chunks()), keys):
            found.tell(part, f"its rows are not those of {shard['file']}: {difference}")
        else:
            texts = {column: _texts(kept[column]) for column in quoted_columns(promise.job)}
    results = check_results(promise.job, rows, texts)
    found.counts |= {"vectors": results.vectors, "spans": results.spans}
    for wrong in results.wrong:
        found.tell(part, wrong)
    return found


def _check_record(found: Checked, part: Location, shard: dict[str, Any], record: dict[str, Any]) -> None:
    if record["rows_in"] != record["rows_out"] + record["rows_rejected"]:
        out, gone = record["rows_out"], record["rows_rejected"]
        found.tell(part, f"its record has {record['rows_in']:,} rows in, but {out:,} out and {gone:,} rejected")
    for name, planned in (("file", shard["file"]), ("rows_read", shard["num_rows"])):
        if record[name] != planned:
            found.tell(part, f"its record has {name} {record[name]}, but the plan {planned}")


class _File(NamedTuple):
    """A file of the write stage: its rows, as Parquet brings them back, and the schema that they were given."""

    rows: pa.Table
    declared: pa.Schema


def _read(found: Checked, place: Location, size: int | None, digest: str | None) -> _File | None:
    """Read a file that the ledger knows, and hold it against its record; None if there is nothing to read."""
    try:
        data = place.read_bytes()
    except FileNotFoundError:
        found.tell(place, "gone, though the ledger has it")
        return None
    found.counts["bytes"] += len(data)
    try:
        file = _parse(data)
    except (OSError, LookupError, ValueError, pa.ArrowException):  # what Arrow says of bytes that are no Parquet
        file = None
    if sha256(data) == digest and file is not None:
        return file
    if file is not None and _is_as_written(file, data):
        found.rewritten = True
        return file
    what = "damaged: it cannot be read, and is" if file is None else "changed: it is"
    got = f"{counted(len(data), 'byte')} with SHA-256 {sha256(data)[:12]}…"
    found.tell(place, f"{what} {got}, expected {size or 0:,} with {digest and digest[:12]}…")
    return file


def _parse(data: bytes) -> _File:
    parquet = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    stored = base64.b64decode(parquet.metadata.metadata[b"ARROW:schema"])
    declared = pa.ipc.read_schema(pa.BufferReader(stored))
    rows = parquet.read()
    if not rows.schema.equals(pq.read_schema(pa.BufferReader(part_bytes(declared.empty_table())))):
        raise ValueError("what the file holds is not what it declares")
    return _File(rows, declared)


def _is_as_written(file: _File, data: bytes) -> bool:
    """Whether the write stage gives these very bytes for these rows, so that nothing happened to them since.

    Checksums would not tell: they cover pages, and neither what lies between these nor the footer.
    """
    try:
        return part_bytes(file.rows.cast(file.declared)).equals(pa.py_buffer(data))
    except pa.ArrowNotImplementedError:  # a column was kept in a form that Parquet does not bring back
        return False


def _check_rejected(
    found: Checked, place: Location, file: _File, shard: dict[str, Any], record: dict[str, Any]
) -> list[dict[str, Any]] | None:
    if not file.declared.equals(REJECTED_FILE):
        found.tell(place, f"has columns {', '.join(file.declared.names)}, expected {', '.join(REJECTED_FILE.names)}")
        return None
    rejected = file.rows.to_pylist()
    found.counts["rows_rejected"] = len(rejected)
    reasons = Counter(row["reason"] for row in rejected)
    if reasons != (expected := dict(record["reasons"])) or len(rejected) != record["rows_rejected"]:
        found.tell(place, f"has {_reasons(reasons)} rows, but the ledger {_reasons(expected)}")
    if not all(reasons):
        found.tell(place, "has rows without a reason")
    first, last = shard["file_row"], shard["file_row"] + shard["num_rows"] - 1
    strange = sum(row["file"] != shard["file"] or not first <= row["row"] <= last for row in rejected)
    if strange:
        found.tell(place, f"has {counted(strange, 'row')} outside of its shard, {shard['file']} rows {first} to {last}")
    repeated = len(rejected) - len({row["row"] for row in rejected})
    if repeated:
        found.tell(place, f"has {counted(repeated, 'row')} more than once")
    return rejected


def _check_schema(found: Checked, part: Location, schema: pa.Schema, promise: Promise) -> bool:
    columns = {column.name: str(column.type) for column in schema}
    if list(columns.items()) != list(promise.columns.items()) or len(columns) != len(schema):
        found.tell(part, f"has columns {_differences(columns, promise.columns)}, unlike job.json")
        return False
    told = {
        key.decode(errors="replace"): value.decode(errors="replace") for key, value in (schema.metadata or {}).items()
    }
    if told | {VERSION: ""} != promise.metadata | {VERSION: ""}:
        found.tell(part, f"has metadata {_differences(told, promise.metadata)}, unlike job.json")
    return True


def _less_rejected(found: Checked, place: Location, source: pa.Table, rejected: list[dict[str, Any]]) -> pa.Table:
    """Take rejected rows out of those of the input: what is left must be in the part."""
    numbers: NDArray[np.int64] = source[ROW].to_numpy()
    gone = np.array([row["row"] for row in rejected], np.int64)
    unread = np.setdiff1d(gone, numbers)
    if len(unread):
        found.tell(place, f"has {counted(len(unread), 'row')} that input.filter leaves out, such as row {unread[0]}")
    return source.filter(pa.array(~np.isin(numbers, gone)))


def _difference(expected: Sequence[bytes], got: Sequence[bytes]) -> str:
    """Say how rows differ from those that were expected, by place and number alone; nothing if they do not."""
    if expected == got:
        return ""
    lacking, surplus = Counter(expected), Counter(got)
    both = lacking & surplus
    lacking, surplus = (lacking - both).total(), (surplus - both).total()
    ends = min(len(expected), len(got))
    place = next((i for i in range(ends) if expected[i] != got[i]), ends)
    if not lacking and not surplus:
        return f"their order is another from row {place} of the part on"
    return f"{counted(lacking, 'row')} lacking, {surplus:,} too many, from row {place} of the part on"


def _texts(column: pa.ChunkedArray) -> list[str]:
    texts = [text for chunk in column.chunks for text in decode_texts(chunk)[0]]
    return [whole(text or "") for text in texts]


def _differences(got: dict[str, str], expected: dict[str, str]) -> str:
    """Name what two mappings differ in, with both values."""
    names = [
        name for name in dict.fromkeys([*expected, *got]) if got.get(name) != expected.get(name) and name != VERSION
    ]
    shown = [f"{name} {got.get(name, 'missing')} (expected {expected.get(name, 'none')})" for name in names[:3]]
    return ", ".join([*shown, *(["…"] if names[3:] else [])]) or f"in the order {', '.join(got)}"


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items())) or "no"
