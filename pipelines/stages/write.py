"""Write: one shard becomes one part of the output, whole, and a record of what it holds."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import FatalError, ShardError
from pipelines.output.directory import Output
from pipelines.output.ledger import LANG_COUNTS, RECORD, part_name
from pipelines.rows.schemas import ROW
from pipelines.rows.shard import REJECTED, Shard, describe
from pipelines.storage import parquet_bytes

if TYPE_CHECKING:
    from pipelines.storage import Location

# Readers keep a column of a row group in one array, and count its numbers in 31 bits.
_MAX_NUMBERS_PER_ROW_GROUP = 2**28


@dataclass(frozen=True)
class Writer:
    """Writes parts and rejected rows below the output.

    Attributes:
        output: the output's directory.
        schema: of the parts, with the metadata that every part carries.
        id_column: the column that identifies a row, if the job names one.
    """

    output: Location
    schema: pa.Schema
    id_column: str | None

    def __call__(self, table: pa.Table) -> pa.Table:
        """Write one shard, as Ray hands it over, and give its record, or its error."""
        shard = Shard.from_table(table)
        began = time.perf_counter()
        record: dict[str, Any] = {"shard": shard.id, "error": shard.error, "fatal": shard.fatal}
        if shard.error is None:
            try:
                record |= self.write(shard)
                record["write_s"] = time.perf_counter() - began
            except Exception as error:
                record |= {"error": describe(error), "fatal": isinstance(error, FatalError)}
        return pa.Table.from_pylist([record], RESULT)

    def write(self, shard: Shard) -> dict[str, Any]:
        """Write the part, and the rejected rows beside it, and give the fields of the shard's record.

        Raises:
            ShardError: rows are unaccounted for.
        """
        stats, rows, rejected = shard.stats, shard.rows, shard.rejected
        if stats["rows_in"] != len(rows) + len(rejected):
            raise ShardError(
                f"shard {shard.id}: {stats['rows_in']} rows in, {len(rows)} out, {len(rejected)} rejected; "
                "this is a defect, please report it"
            )
        file, name = stats["file"], part_name(shard.id)
        ids_digest = digest_ids(rows.column(self.id_column or ROW))
        rejected_part = Output(self.output).rejected / name
        rejected_bytes = rejected_digest = None
        if len(rejected):
            data = part_bytes(_with_file(rejected, file, REJECTED_FILE))
            rejected_part.put(data)
            rejected_bytes, rejected_digest = data.size, sha256(data)
        else:
            rejected_part.delete()  # of an earlier time, when the shard's rows were judged otherwise
        data = part_bytes(_with_file(rows, file, self.schema))
        (self.output / name).put(data)
        return {
            "part": name,
            "file": file,
            "rows_read": stats["rows_read"],
            "rows_in": stats["rows_in"],
            "rows_out": len(rows),
            "rows_rejected": len(rejected),
            "reasons": list(Counter(rejected.column("reason").to_pylist()).items()),
            "rows_truncated": stats.get("rows_truncated", 0),
            "tokens": stats.get("tokens", 0),
            "oom_halvings": stats.get("oom_halvings", 0),
            "langs": [
                {"lang": lang, **dict(zip(LANG_COUNTS, counts, strict=True))}
                for lang, counts in stats.get("langs", {}).items()
            ],
            "bytes": data.size,
            "digest": sha256(data),
            "rejected_bytes": rejected_bytes,
            "rejected_digest": rejected_digest,
            "ids_digest": ids_digest,
            "precision": stats["precision"],
            "read_s": stats["read_s"],
            "tokenize_s": stats["tokenize_s"],
            "infer_s": stats["infer_s"],
        }


RESULT = pa.schema([*RECORD, pa.field("error", pa.string()), pa.field("fatal", pa.bool_())])
REJECTED_FILE = pa.schema([pa.field("file", pa.string(), nullable=False), *REJECTED])


def sha256(data: bytes | pa.Buffer) -> str:
    """Digest a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def id_keys(ids: pa.Array) -> list[bytes]:
    """Give what identifies each row as bytes: text as it is stored, whatever its layout, and numbers as digits."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    values = (ids if pa.types.is_integer(ids.type) else ids.cast(pa.large_binary())).to_pylist()
    return [value if isinstance(value, bytes) else str(value).encode() for value in values]


def digest_ids(ids: pa.Array) -> str:
    """Digest what identifies the rows, in order: with their number, the ledger's proof of a part."""
    return hashlib.sha256(b"".join(key + b"\0" for key in id_keys(ids))).hexdigest()[:32]


def _with_file(rows: pa.RecordBatch, file: str, schema: pa.Schema) -> pa.Table:
    """Give rows as they are written; `file` and `row`, where the schema has them, are the input file and its row."""
    number = rows.column(ROW) if ROW in rows.schema.names else rows.column("row")
    made = {"file": pa.array([file] * len(rows), pa.string()), "row": number}
    columns = [rows.column(name) if name in rows.schema.names else made[name] for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)


def part_bytes(table: pa.Table) -> pa.Buffer:
    """Write rows as a file of the output; each of its pages has a checksum. The same rows give the same bytes."""
    most = max((_count_numbers(column) for column in table.columns), default=0) // max(len(table), 1) + 1
    rows = max(1, _MAX_NUMBERS_PER_ROW_GROUP // most)
    return parquet_bytes(table, row_group_size=rows, write_page_index=True, write_page_checksum=True)


def _count_numbers(column: pa.ChunkedArray) -> int:
    """Count the numbers of a column of vectors, or of lists of vectors."""
    if pa.types.is_list(column.type) and pa.types.is_fixed_size_list(column.type.value_type):
        return sum(len(chunk.flatten()) for chunk in column.chunks) * column.type.value_type.list_size
    return len(column) * column.type.list_size if pa.types.is_fixed_size_list(column.type) else 0
