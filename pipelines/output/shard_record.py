"""Records of committed shards, and what the write stage returns for each shard."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from pipelines.output.layout import SHARD_ID, part_name
from pipelines.output.parts import sha256
from pipelines.rows import FAILURE_TYPE, LANG_COUNTS_TYPE, LangCounts, ShardFailure

SHARD_COUNTS = (
    "rows_read",
    "rows_in",
    "rows_out",
    "rows_rejected",
    "rows_truncated",
    "tokens",
    "bytes",
    "oom_halvings",
)

SECONDS = ("read_s", "identify_s", "tokenize_s", "infer_s", "write_s")

RECORD = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("part", pa.string()),
        pa.field("file", pa.string()),
        pa.field("num_files", pa.int64()),
        *(pa.field(name, pa.int64()) for name in SHARD_COUNTS),
        pa.field("digest", pa.string()),
        pa.field("rejected_bytes", pa.int64()),
        pa.field("rejected_digest", pa.string()),
        pa.field("reasons", pa.map_(pa.string(), pa.int64())),
        pa.field("rejected_langs", pa.map_(pa.string(), pa.int64())),
        pa.field("langs", pa.list_(LANG_COUNTS_TYPE)),
        pa.field("segmenters", pa.map_(pa.string(), pa.string())),
        pa.field("ids_digest", pa.string()),
        pa.field("precision", pa.string()),
        *(pa.field(name, pa.float64()) for name in SECONDS),
    ]
)

# A shard without rejected rows has no file of them.
MAY_BE_NULL = {"rejected_bytes", "rejected_digest"}


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """The ledger's record of a committed shard.

    Attributes:
        shard: the shard's id.
        file: URL of its input file; of the first one if it has several.
        num_files: number of its input files.
        rows_read: its rows in the input file.
        rows_in: rows that pass the filter; the sum of `rows_out` and `rows_rejected`.
        rows_out: rows in its part.
        rows_rejected: rows in its file of rejected rows.
        rows_truncated: written rows that were truncated.
        tokens: tokens fed to the model.
        bytes: size of its part.
        oom_halvings: how often the tokens per forward pass were halved because memory ran out.
        digest: SHA-256 of the part's bytes, in hexadecimal.
        rejected_bytes, rejected_digest: of its file of rejected rows; None if it has none.
        reasons: number of rejected rows by reason.
        rejected_langs: number of rejected rows by language, as far as it is known.
        langs: counts of written rows by language.
        segmenters: the libraries that its rows were segmented by, with versions: that of a language by its code, and
            for all rows that of "moses". Empty if no row was segmented.
        ids_digest: digest of the ids of the part's rows, or of their row numbers if the job has no id column, in order.
        precision: the data type of the trunk's weights.
        read_s, identify_s, tokenize_s, infer_s, write_s: seconds that each stage took.
    """

    shard: str
    file: str
    num_files: int
    rows_read: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    rows_truncated: int
    tokens: int
    bytes: int
    oom_halvings: int
    digest: str
    rejected_bytes: int | None
    rejected_digest: str | None
    reasons: dict[str, int]
    rejected_langs: dict[str, int]
    langs: tuple[LangCounts, ...]
    segmenters: dict[str, str]
    ids_digest: str
    precision: str
    read_s: float
    identify_s: float
    tokenize_s: float
    infer_s: float
    write_s: float

    @property
    def part(self) -> str:
        """The file name of its part, and of its file of rejected rows."""
        return part_name(self.shard)

    def to_row(self) -> dict[str, Any]:
        """Return the record as the Python value of a row of `RECORD`."""
        return asdict(self) | {"part": self.part}

    def to_footer(self) -> str:
        """Return the record as JSON for the part's footer, without what differs if the part is written again."""
        varying = dict.fromkeys(SECONDS, 0.0) | {"oom_halvings": 0}
        row = self.to_row() | varying | {"bytes": 0, "digest": ""}
        return json.dumps({"record": row, "sha256": _digest(row)}, sort_keys=True)

    @classmethod
    def from_footer(cls, text: bytes, data: bytes) -> ShardRecord:
        """Build the record of a part from the JSON in its footer and its bytes.

        Raises:
            ValueError, LookupError, TypeError: the JSON is not as `to_footer` returned it.
        """
        footer = json.loads(text)
        if footer["sha256"] != _digest(footer["record"]):
            raise ValueError("the record has changed")
        return cls.from_row(footer["record"] | {"bytes": len(data), "digest": sha256(data)})

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShardRecord:
        """Build a record from a row of `RECORD`, with the map of reasons as a dict.

        Raises:
            ValueError: the row is not valid, for example because its shard id would be unsafe in a file name.
        """
        if not _is_valid(row):
            raise ValueError("not a record of a committed shard")
        values: dict[str, Any] = {field.name: row[field.name] for field in fields(cls)}
        values["langs"] = tuple(LangCounts.from_row(lang) for lang in row["langs"])
        return cls(**values)


def _digest(row: dict[str, Any]) -> str:
    return sha256(json.dumps(row, sort_keys=True).encode())


def _is_valid(row: dict[str, Any]) -> bool:
    if any(value is None for name, value in row.items() if name not in MAY_BE_NULL):
        return False
    if not SHARD_ID.fullmatch(row["shard"]) or row["part"] != part_name(row["shard"]):
        return False
    return all(row[name] >= 0 for name in SHARD_COUNTS)


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What the write stage returns for a shard.

    Attributes:
        shard: the shard's id.
        record: its record, if its part is written.
        failure: why it was not finished, if it was not.
    """

    shard: str
    record: ShardRecord | None = None
    failure: ShardFailure | None = None

    def to_table(self) -> pa.Table:
        """Pack the result into a table of one row."""
        row = {
            "shard": self.shard,
            "record": None if self.record is None else self.record.to_row(),
            "failure": None if self.failure is None else self.failure.to_row(),
        }
        return pa.Table.from_pylist([row], RESULT)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShardResult:
        """Build a result from a row of `to_table`, with maps as dicts."""
        record = None if row["record"] is None else ShardRecord.from_row(row["record"])
        return cls(row["shard"], record, ShardFailure.from_row(row["failure"]))


RESULT = pa.schema([("shard", pa.string()), ("record", pa.struct(list(RECORD))), ("failure", FAILURE_TYPE)])
