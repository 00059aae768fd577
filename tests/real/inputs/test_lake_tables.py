"""Delta and Iceberg tables: only the rows of the current version are read."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.types import LongType

from jobs.cli import main
from pipelines.errors import FatalError
from pipelines.storage import StoreSettings, locate
from pipelines.storage.stores import open_client
from tests.chaos.bad_input.trial_job import TrialJob
from tests.chaos.stores.servers import Server, s3_server
from tests.flow.in_process import read_output, without_ray
from tests.iceberg_catalog import FolderCatalog
from tests.real.inputs.lake_tables import MORE, ROWS, ids_of, plan_of, rows_of


@pytest.fixture(params=["delta", "iceberg"])
def table(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_only_rows_of_the_current_version_are_read(table):
    plan = plan_of(table, keep=["day"])
    expected = pa.concat_tables([ROWS, MORE]).sort_by("id").slice(1)
    rows = rows_of(plan)
    for name in ("id", "lang", "day"):
        assert rows[name].to_pylist() == expected[name].to_pylist(), name
    assert plan.schema.field("day").type == pa.date32()
    (note,) = plan.corpus.notes
    assert note.startswith(f"{table.name.capitalize()} table {table}")
    assert note.endswith(f": version {next(iter(plan.corpus.tables.values()))}")


def test_whole_job_over_a_table(table, demo, tmp_path, monkeypatch):
    """The version is recorded. A new version does not prevent resuming: only its new files are computed."""
    without_ray(monkeypatch)
    job = TrialJob(tmp_path / "job", demo)
    job.set("input", {"path": str(table), "id": "id", "text": "text", "lang": "lang", "keep": ["day"]})
    job.set("policy", {"max_rejected": 1.0})
    job.job_file.write_text(job.to_yaml())
    assert main(["run", str(job.job_file)]) == 0
    assert main(["verify", str(job.out)]) == 0
    recorded = json.loads((job.out / "_xlm/job.json").read_bytes())["tables"]
    assert read_output(str(job.out)).sort_by("id")["id"].to_pylist() == ["b", "d", "e"]  # "d/e %" is no language
    if table.name == "delta":
        parts = {file: file.stat().st_mtime_ns for file in (job.out / "data").iterdir()}
        write_deltalake(table, ROWS.set_column(0, "id", pa.array(["g", "h", "i"])), mode="append")
        assert main(["run", str(job.job_file)]) == 0
        assert read_output(str(job.out)).sort_by("id")["id"].to_pylist() == ["b", "d", "e", "g", "h"]
        assert {file: file.stat().st_mtime_ns for file in parts} == parts
        again = json.loads((job.out / "_xlm/job.json").read_bytes())["tables"]
        assert (list(recorded.values()), list(again.values())) == ([2], [3])
        assert main(["verify", str(job.out)]) == 0


def test_version_can_be_pinned(delta, iceberg):
    assert ids_of(plan_of(delta, version=0)) == ["a", "b", "c"]
    assert ids_of(plan_of(delta, version=1)) == list("abcdef")
    metadata = sorted((iceberg / "metadata").glob("*.metadata.json"))
    assert ids_of(plan_of(metadata[1])) == ["a", "b", "c"]
    snapshots = [snapshot["snapshot-id"] for snapshot in json.loads(metadata[-1].read_bytes())["snapshots"]]
    assert ids_of(plan_of(iceberg, version=snapshots[1])) == list("abcdef")
    with pytest.raises(FatalError, match=r"has no version 9; the newest is 2; correct input\.version"):
        plan_of(delta, version=9)
    with pytest.raises(FatalError, match=f"has no snapshot 9; its latest are {snapshots[0]}"):
        plan_of(iceberg, version=9)
    with pytest.raises(FatalError, match=r"input.version: 1 needs one Delta or Iceberg table"):
        plan_of([str(delta), str(iceberg)], version=1)


def test_checkpoints_of_the_log(delta):
    DeltaTable(delta).create_checkpoint()
    for version in (0, 1):
        (delta / f"_delta_log/{version:020d}.json").unlink()
    assert ids_of(plan_of(delta)) == list("bcdef")


def test_several_tables_and_folders(delta, iceberg, tmp_path):
    pq.write_table(ROWS.set_column(0, "id", pa.array(["x", "y", "z"])), tmp_path / "plain.parquet")
    plan = plan_of([f"{tmp_path}/plain.parquet", str(delta), f"{iceberg}/"])
    assert plan.num_rows == 13
    assert len(plan.corpus.tables) == 2


def test_partitions_of_a_delta_table_are_pruned(delta):
    for file in delta.glob("lang=de/*/*.parquet"):
        file.write_bytes(b"not Parquet" * 100)
    plan = plan_of(delta, filter='lang == "en" or day >= date("2021-01-01")')
    assert ids_of(plan) == ["b", "c", "e", "f"]
    assert "not read: 1 file whose partition does not match input.filter" in plan.corpus.notes


def test_partitions_of_an_iceberg_table_are_pruned(iceberg):
    for file in iceberg.glob("data/lang=de/*.parquet"):
        file.write_bytes(b"not Parquet" * 100)
    plan = plan_of(iceberg, filter='lang != "de" and (id == "b" or lang == "en")')
    assert ids_of(plan) == ["b", "e"]
    assert "not read: 1 file whose partition does not match input.filter" in plan.corpus.notes


def test_files_from_before_a_table_was_partitioned_are_not_pruned(tmp_path):
    table = FolderCatalog().create(f"{tmp_path}/evolved", ROWS.schema)
    table.append(ROWS)
    with table.update_spec() as update:
        update.add_identity("lang")
    table.append(MORE)
    assert ids_of(plan_of(tmp_path / "evolved", filter='lang == "de"')) == ["a", "b", "c", "d"]


def test_partitions_and_tables_are_pruned_together(delta, iceberg, tmp_path):
    """Each kind has its own values of the partition; a file without the partition may contain any."""
    folder = tmp_path / "lake/hive"
    for lang, number in (("de", "x"), ("en", "y")):
        (folder / f"lang={lang}").mkdir(parents=True)
        pq.write_table(pa.table({"id": [number], "text": ["text"]}), folder / f"lang={lang}/a.parquet")
    paths = [str(folder), str(delta), str(iceberg)]
    plan = plan_of(paths, filter='lang == "en"')
    assert rows_of(plan)["id"].to_pylist() == ["b", "b", "e", "e", "y"]
    assert set(rows_of(plan)["lang"].to_pylist()) == {"en"}
    pq.write_table(ROWS, tmp_path / "plain.parquet")
    assert ids_of(plan_of([*paths, f"{tmp_path}/plain.parquet"], filter='lang == "en"')).count("b") == 3


def test_columns_that_were_added_later_are_null_in_older_files(delta, iceberg):
    more = MORE.set_column(0, "id", pa.array(["g", "h", "i"])).append_column("extra", pa.array([1, 2, 3]))
    write_deltalake(delta, more, mode="append", schema_mode="merge")
    assert rows_of(plan_of(delta, keep=["extra"]))["extra"].to_pylist() == [None] * 5 + [1, 2, 3]
    catalog = FolderCatalog()
    table = catalog.create(f"{iceberg.parent}/added", ROWS.schema)
    table.append(ROWS)
    with table.update_schema() as update:
        update.add_column("extra", LongType())
    table.append(more)
    assert rows_of(plan_of(iceberg.parent / "added", keep=["extra"]))["extra"].to_pylist() == [None] * 3 + [1, 2, 3]
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.rename_column("text", "body")
        update.delete_column("lang")
    with pytest.raises(FatalError, match="column body was renamed, replaced or changed after this file was written"):
        plan_of(iceberg.parent / "added", text="body", lang={"fixed": "de"})
    with pytest.raises(FatalError, match="no column lang"):
        plan_of(iceberg.parent / "added", text="id")


def test_newest_metadata_file(iceberg):
    """That of `version-hint.text`, or the one with the highest number; two of that number are not clear."""
    newest = max((iceberg / "metadata").glob("*.metadata.json"))
    (iceberg / "metadata/00000-aaaa.metadata.json").write_bytes(b"older")
    assert f"({newest.name})" in next(iter(plan_of(iceberg).corpus.tables))
    other = newest.with_name(f"{newest.name[:5]}-orphan.metadata.json")
    other.write_bytes(b"not committed")
    with pytest.raises(FatalError, match=r"the newest metadata file of the Iceberg table is not clear .*; name"):
        plan_of(iceberg)
    (iceberg / "metadata/version-hint.text").write_text(newest.name.removesuffix(".metadata.json"))
    assert ids_of(plan_of(iceberg)) == list("bcdef")
    (iceberg / "metadata/version-hint.text").write_text("1")
    newest.rename(newest.with_name("v2.metadata.json"))  # written by a Hadoop catalog, before it changed the hint
    assert ids_of(plan_of(iceberg)) == list("bcdef")


def test_missing_file_of_a_table(delta):
    next(delta.glob("lang=en/*/*.parquet")).unlink()
    with pytest.raises(FatalError, match=r"version 2 has the file .*lang=en.*, which does not exist; read a version"):
        plan_of(delta)


@pytest.mark.long
def test_tables_in_an_object_store(monkeypatch):
    with s3_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        open_client.cache_clear()
        check_tables_in(server)


def check_tables_in(server: Server) -> None:
    server.make_bucket("lake")
    stores = [StoreSettings.model_validate(options) for options in server.options()]
    options = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ALLOW_HTTP": "true"}
    for rows in (ROWS, MORE):
        write_deltalake("s3://lake/a/delta", rows, mode="append", partition_by=["lang"], storage_options=options)
    DeltaTable("s3://lake/a/delta", storage_options=options).delete("id = 'a'")
    table = FolderCatalog({"s3.endpoint": server.endpoint}).create("s3://lake/a/iceberg", ROWS.schema, "lang")
    table.append(ROWS)
    table.append(MORE)
    table.delete("id = 'a'")
    for name in ("delta", "iceberg"):
        assert ids_of(plan_of(f"s3://lake/a/{name}", stores), stores) == list("bcdef")
        with pytest.raises(FatalError, match=f"is within the {name.capitalize()} table s3://lake/a/{name}, whose"):
            plan_of(f"s3://lake/a/{name}/**/*.parquet", stores)
    files = [f"{scheme}://lake/a/plain/" for scheme in ("s3", "s3a", "s3n")]
    with locate(f"{files[0]}a.parquet", stores).fs.open_output_stream("lake/a/plain/a.parquet") as file:
        pq.write_table(ROWS, file)
    for settings in (stores, [stores[0].model_copy(update={"url": "s3a://lake/"})]):  # each file is one file
        assert ids_of(plan_of([*files, "s3a://lake/a/plain/*"], settings), settings) == ["a", "b", "c"]
