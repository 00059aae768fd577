"""A catalog that keeps Iceberg tables in a folder. Those of `pyiceberg` need a database."""

import uuid
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO, _pyarrow_to_schema_without_ids  # pyright: ignore[reportPrivateUsage]
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import update_table_metadata
from pyiceberg.transforms import IdentityTransform


class FolderCatalog(NoopCatalog):
    """Writes the metadata files of tables."""

    def __init__(self, properties: dict[str, str] | None = None):
        super().__init__("folder")
        self.files = PyArrowFileIO(properties or {})
        self.num_versions = 0

    def create(self, location: str, schema: pa.Schema, partition_by: str | None = None) -> Table:
        """Create a table."""
        fields = assign_fresh_schema_ids(_pyarrow_to_schema_without_ids(schema))
        parts: list[PartitionField] = []
        if partition_by:
            source = fields.find_field(partition_by).field_id
            parts.append(PartitionField(source, 1000, IdentityTransform(), partition_by))
        metadata = new_table_metadata(fields, PartitionSpec(*parts), UNSORTED_SORT_ORDER, location)
        return Table(("table",), metadata, self._write(metadata), self.files, self)

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        metadata = update_table_metadata(table.metadata, updates)
        return CommitTableResponse.model_validate({"metadata": metadata, "metadata-location": self._write(metadata)})

    def _write(self, metadata: Any) -> str:
        file = f"{metadata.location}/metadata/{self.num_versions:05d}-{uuid.uuid4()}.metadata.json"
        self.num_versions += 1
        ToOutputFile.table_metadata(metadata, self.files.new_output(file))
        return file


class _DeleteManifest(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES


def add_position_deletes(table: Table) -> None:
    """Add a file of deleted positions to the current snapshot, as engines that merge on read write it."""
    snapshot, files = table.current_snapshot(), table.io
    assert snapshot is not None
    folder = f"{table.location()}/metadata"
    data_file = next(iter(table.scan().plan_files())).file
    delete_file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=f"{table.location()}/data/deletes.parquet",
        file_format=FileFormat.PARQUET,
        partition=data_file.partition,
        record_count=1,
        file_size_in_bytes=100,
    )
    entry = ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot.snapshot_id,
        sequence_number=99,
        file_sequence_number=99,
        data_file=delete_file,
    )
    output = files.new_output(f"{folder}/deletes.avro")
    with _DeleteManifest(table.spec(), table.schema(), output, snapshot.snapshot_id, "null") as writer:
        writer.add_entry(entry)
    manifests = [*snapshot.manifests(files), writer.to_manifest_file()]
    output = files.new_output(f"{folder}/snap-with-deletes.avro")
    with write_manifest_list(2, output, snapshot.snapshot_id, None, 99, "null") as lists:
        lists.add_manifests(manifests)
    text = files.new_input(table.metadata_location).open().read().decode()
    changed = text.replace(snapshot.manifest_list, f"{folder}/snap-with-deletes.avro")
    with files.new_output(table.metadata_location).create(overwrite=True) as stream:
        stream.write(changed.encode())
