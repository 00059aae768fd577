"""Files that are intact, but that Arrow cannot read, or not completely: each is refused for what it is, before the run.

A column that the job does not name never matters.
"""

import base64
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from pipelines.corpus.member_reader import _read
from pipelines.errors import FatalError
from pipelines.job.job import Job
from pipelines.run.prepare import prepare_job
from tests.flow.in_process import read_output, run_to_records

ROWS = {"id": ["a", "b"], "text": ["One sentence.", "Another one."], "lang": ["en", "en"], "other": ["x", "y"]}
SNAPPY, LZO, UNKNOWN = b"\x02", b"\x06", b"\x5e"  # as stored in a footer

MakeJob = Callable[..., Job]


class Keys(pe.KmsClient):
    """A key management service that wraps nothing."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def write_encrypted(path: Path, column: str, *, encrypt_footer: bool) -> None:
    factory = pe.CryptoFactory(lambda _: Keys())
    settings = pe.EncryptionConfiguration("footer", column_keys={"key": [column]}, plaintext_footer=not encrypt_footer)
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
    table = pa.table(ROWS)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)


def write_with_codec(path: Path, column: str, codec: bytes, row_group: int = 0, rows: Any = ROWS) -> None:
    """Write a file, and change the codec that its footer names for a column of a row group. The data stay the same."""
    pq.write_table(pa.table(rows), path, row_group_size=1, compression="snappy")
    data, field = path.read_bytes(), column.encode() + b"\x15" + SNAPPY
    position = -1
    for _ in range(row_group + 1):
        position = data.index(field, position + 1)
    end = position + len(field)
    path.write_bytes(data[: end - 1] + codec + data[end:])


def input_of(path: Path, **settings: Any) -> dict[str, Any]:
    return {"path": str(path), "id": "id", "text": "text", "lang": "lang", **settings}


def refusal(make_job: MakeJob, path: Path, **settings: Any) -> str:
    with pytest.raises(FatalError) as error:
        prepare_job(make_job(input=input_of(path, **settings), tasks=["feature-extraction"]))
    message = str(error.value)
    assert "\n" not in message
    assert "damaged" not in message
    return message.removeprefix(f"{path}: ")


def ids_of(make_job: MakeJob, path: Path, **settings: Any) -> list[str]:
    job = make_job(input=input_of(path, **settings), tasks=["feature-extraction"])
    run_to_records(job)
    return sorted(read_output(job.output.path)["id"].to_pylist())


def test_encrypted_file(make_job, tmp_path):
    write_encrypted(path := tmp_path / "in.parquet", "other", encrypt_footer=True)
    expected = "is encrypted, and encrypted Parquet files are not supported; write a decrypted copy"
    assert refusal(make_job, path) == expected


def test_encrypted_column(make_job, tmp_path):
    write_encrypted(path := tmp_path / "in.parquet", "other", encrypt_footer=False)
    assert ids_of(make_job, path) == ["a", "b"]
    assert refusal(make_job, path, keep=["other"]).startswith("column other is encrypted, and encrypted")


@pytest.mark.parametrize("codec", [LZO, UNKNOWN])
def test_codec_that_arrow_does_not_have(make_job, tmp_path, codec):
    write_with_codec(path := tmp_path / "in.parquet", "other", codec)
    assert ids_of(make_job, path) == ["a", "b"]
    expected = "column other is compressed with a codec that Arrow does not support; write it again with another"
    assert refusal(make_job, path, keep=["other"]).startswith(expected)


@pytest.mark.parametrize("codec", [LZO, UNKNOWN])
@pytest.mark.parametrize("name", ["text", "name.with.dots", "x" * 200, "nested"])
def test_codec_of_a_later_row_group(make_job, tmp_path, codec, name):
    columns = {"id": ["a", "b"], "text": ["One sentence.", "Another one."], "lang": ["en", "en"], name: ["x", "y"]}
    if name == "nested":
        columns[name] = [[{"item": "x"}], [{"item": "y"}]]
    write_with_codec(path := tmp_path / "in.parquet", "item" if name == "nested" else name, codec, 1, columns)
    expected = f"column {name} is compressed with a codec that Arrow does not support; write it again with another"
    assert refusal(make_job, path, keep=[name]).startswith(expected)


def test_integers_of_128_bits(make_job, tmp_path):
    """Arrow refuses the schema that Polars stores. The types of the other columns are kept."""
    wide = pl.Series([2**100, None], dtype=pl.Int128)
    times = [datetime.timedelta(days=1), None]
    frame = pl.DataFrame(ROWS | {"wide": wide, "lists": pl.Series([[1], []], dtype=pl.List(pl.Int128)), "took": times})
    frame.write_parquet(path := tmp_path / "in.parquet")
    job = make_job(input=input_of(path, keep=["took"]), tasks=["feature-extraction"])
    run_to_records(job)
    rows = read_output(job.output.path)
    assert rows["took"].to_pylist() == times
    for name in ("wide", "lists"):
        expected = f"column {name} contains integers of 128 bits, which Arrow cannot read; write it again with another"
        assert refusal(make_job, path, keep=[name]).startswith(expected)


def test_interval(make_job, tmp_path):
    path = tmp_path / "in.parquet"
    rows = "unnest(['a', 'b']) id, 'One sentence.' text, 'en' lang, interval 3 days span"
    duckdb.sql(f"copy (select {rows}) to '{path}'")
    assert ids_of(make_job, path) == ["a", "b"]
    assert refusal(make_job, path, keep=["span"]).startswith("column span contains Parquet's type INTERVAL")


def test_arrow_schema_that_arrow_itself_cannot_read(make_job, tmp_path):
    keys = pa.nulls(2, pa.dictionary(pa.int32(), pa.uuid()))
    pq.write_table(pa.table({"key": keys}), path := tmp_path / "in.parquet")
    assert refusal(make_job, path).startswith("contains a type that Arrow can write but not read")


class LimitedFile:
    """A Parquet file with the limit of Arrow for nested columns: here a number of rows instead of 2 GiB."""

    def __init__(self, file: pq.ParquetFile, limit: int):
        self.file, self.limit, self.metadata = file, limit, file.metadata

    def read_row_group(self, number: int, **options: Any) -> pa.Table:
        self.check(self.metadata.row_group(number).num_rows)
        return self.file.read_row_group(number, **options)

    def iter_batches(self, batch_size: int, **options: Any) -> Any:
        self.check(batch_size)
        return self.file.iter_batches(batch_size, **options)

    def check(self, num_rows: int) -> None:
        if num_rows > self.limit:
            raise pa.ArrowNotImplementedError("Nested data conversions not implemented for chunked array outputs")


def test_nested_column_over_the_limit_is_read_in_batches(tmp_path):
    table = pa.table({"i": range(1000), "words": [[str(i)] for i in range(1000)]})
    pq.write_table(table, tmp_path / "in.parquet")
    file: Any = LimitedFile(pq.ParquetFile(tmp_path / "in.parquet"), 100)
    assert _read(file, 0, ["words", "i"]).select(["i", "words"]).to_pydict() == table.to_pydict()
    file.limit = 0
    with pytest.raises(pa.ArrowNotImplementedError):
        _read(file, 0, ["words"])


@pytest.mark.slow  # needs 6 GB of memory
def test_nested_column_of_over_2_gib_is_read(make_job, tmp_path):
    num_rows, word = 2300, "x" * 1_000_000
    words = pa.DictionaryArray.from_arrays(pa.array([0] * num_rows, pa.int32()), pa.array([word]))
    lists = pa.ListArray.from_arrays(pa.array(range(num_rows + 1), pa.int32()), words)
    columns = {"id": range(num_rows), "text": ["One."] * num_rows, "lang": ["en"] * num_rows, "words": lists}
    pq.write_table(pa.table(columns), path := tmp_path / "in.parquet", store_schema=False)
    job = make_job(input=input_of(path, keep=["words"]), tasks=["feature-extraction"], output__rows_per_shard=500)
    assert sum(record.rows_out for record in run_to_records(job)) == num_rows
