"""Tables that are refused: some of their files, other formats, features that change which rows count."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from pipelines.errors import FatalError
from tests.iceberg_catalog import FolderCatalog, add_position_deletes
from tests.real.inputs.lake_tables import ROWS, ids_of, plan_of


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("delta/*/*/*.parquet", "is within the Delta table .*lake/delta, whose directory also has files that are not"),
        ("delta/lang=de", "is within the Delta table .*lake/delta"),
        ("delta/lang=de/**/*.parquet", "is within the Delta table .*lake/delta"),
        ("iceberg/data", "is within the Iceberg table .*lake/iceberg, .*; name the table in input.path"),
        ("", r"contains Delta tables \(.*lake/delta, .*lake/iceberg\).*; list the tables themselves in input.path"),
        ("*/", r"contains Delta tables"),
        ("**/*.parquet", r"contains Delta tables"),
    ],
)
def test_files_of_a_table_are_not_read_without_its_log(delta, iceberg, path, message):
    with pytest.raises(FatalError, match=message):
        plan_of(delta.parent / path if "*" not in path else f"{delta.parent}/{path}")


def test_file_of_a_table_is_refused(delta):
    file = next(delta.glob("*/*/*.parquet"))
    with pytest.raises(FatalError, match="is within the Delta table"):
        plan_of(file)


@pytest.mark.parametrize(
    ("kind", "marker", "file", "part"),
    [
        ("Hudi", ".hoodie/hoodie.properties", "a.parquet", "a.parquet"),
        # Only the files that Spark's log names count; it leaves those of failed attempts, which have the same rows.
        ("Spark streaming", "_spark_metadata/0", "day=2024-01-31/a.parquet", "day=2024-01-31"),
    ],
)
def test_tables_of_other_formats_are_refused(tmp_path, kind, marker, file, part):
    for path in (tmp_path / "table" / marker, tmp_path / "table" / file):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pq.write_table(ROWS, tmp_path / "table" / file)
    with pytest.raises(FatalError, match=f"table: is a {kind} table, which is not supported; export its current rows"):
        plan_of(tmp_path / "table")
    with pytest.raises(FatalError, match=f"is within the {kind} table .*; export its current rows as Parquet files"):
        plan_of(tmp_path / "table" / part)


@pytest.mark.parametrize("name", ["delta", "iceberg"])
def test_missing_package(request, monkeypatch, name):
    table = request.getfixturevalue(name)
    for module in [module for module in sys.modules if module.split(".")[0] in ("deltalake", "pyiceberg")]:
        monkeypatch.delitem(sys.modules, module)
    for package in ("deltalake", "pyiceberg"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FatalError, match=rf"is a {name.capitalize()} table, .*; pip install 'xlm-batch\[{name}\]'"):
        plan_of(table)


def test_features_that_change_which_rows_are_read_are_refused(delta):
    log = delta / "_delta_log/00000000000000000003.json"
    first = (delta / "_delta_log/00000000000000000001.json").read_text().splitlines()
    add = json.loads(first[1])
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7} | features}
    log.write_text(json.dumps(protocol) + "\n")
    assert ids_of(plan_of(delta)) == list("bcdef")  # none of its files has a vector
    vector = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4, "sizeInBytes": 40}
    add["add"]["deletionVector"] = vector | {"cardinality": 1}
    log.write_text(json.dumps(protocol) + "\n" + json.dumps(add) + "\n")
    with pytest.raises(FatalError, match="has deletion vectors; rewrite its files first, in Spark with REORG TABLE"):
        plan_of(delta)


def test_delta_table_with_a_partition_of_bytes_is_refused(tmp_path):
    keys = pa.array([b"\xc8", b"a", b""])
    write_deltalake(tmp_path / "bytes", ROWS.append_column("key", keys), partition_by=["key"])
    with pytest.raises(FatalError, match="the Delta table has a partition of bytes, which is not supported"):
        plan_of(tmp_path / "bytes")


def test_delete_files_of_an_iceberg_table_are_refused(tmp_path):
    table = FolderCatalog().create(f"{tmp_path}/deletes", ROWS.schema)
    table.append(ROWS)
    assert ids_of(plan_of(tmp_path / "deletes")) == ["a", "b", "c"]
    add_position_deletes(table)
    message = "has delete files for 1 of its 1 data files, which are not supported; rewrite its files first, in Spark"
    with pytest.raises(FatalError, match=message):
        plan_of(tmp_path / "deletes")
