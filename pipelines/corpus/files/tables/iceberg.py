"""Read which files belong to a snapshot of an Iceberg table, through the package `pyiceberg`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.corpus.files.tables.snapshot import TableSnapshot
from pipelines.errors import FatalError
from pipelines.storage import describe_error, locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import StaticTable

    from pipelines.storage import Location, StoreSettings

_METADATA_NAME = re.compile(r"v?(\d+)(?:-.*)?\.metadata\.json")
_HINT = "metadata/version-hint.text"


def find_metadata(root: Location, paths: Sequence[str]) -> Location:
    """Find the newest metadata file of a table: that of `version-hint.text`, or the one with the highest number.

    Args:
        root: the table's root.
        paths: all files below it.

    Raises:
        FatalError: it is not clear which file is the newest.
    """
    names = [path.removeprefix("metadata/") for path in paths if re.fullmatch(r"metadata/[^/]*\.metadata\.json", path)]
    if _HINT in paths:
        hint = (root / _HINT).read_bytes().decode(errors="replace").strip()
        # A catalog in files may have written the next versions before it changed the hint.
        names = [name for name in names if re.match(r"v\d", name)] if hint.isdecimal() else [f"{hint}.metadata.json"]
    numbers = {name: int(number[1]) for name in names if (number := _METADATA_NAME.fullmatch(name))}
    newest = [name for name in names if numbers.get(name, -1) == max(numbers.values(), default=-1)]
    if len(newest) != 1:
        found = ", ".join(sorted(newest)[:3]) or "none"
        raise FatalError(
            f"{root.url}: the newest metadata file of the Iceberg table is not clear ({found}); name the one of your "
            f"catalog in input.path, as {root.url}/metadata/….metadata.json"
        )
    return root / "metadata" / newest[0]


def read_iceberg(
    root_url: str, metadata_file: Location, stores: Sequence[StoreSettings], version: int | None
) -> TableSnapshot:
    """Read a snapshot of an Iceberg table.

    Args:
        root_url: the table's root.
        metadata_file: its metadata file.
        stores: settings of the stores that contain the table.
        version: the id of the snapshot; by default the current one.

    Raises:
        FatalError: the table cannot be read, or has delete files or files that are not Parquet.
        ImportError: the package pyiceberg is not installed.
    """
    from pyiceberg.io.pyarrow import schema_to_pyarrow
    from pyiceberg.manifest import FileFormat

    try:
        table = metadata_file.with_retries(lambda: _open(metadata_file, stores))
        if version is not None and table.snapshot_by_id(version) is None:
            ids = ", ".join(str(snapshot.snapshot_id) for snapshot in table.snapshots()[-5:])
            raise FatalError(f"{root_url}: the Iceberg table has no snapshot {version}; its latest are {ids}")
        scan = table.scan(snapshot_id=version)
        schema, tasks = scan.projection(), list(scan.plan_files())
    except FileNotFoundError as error:
        raise FatalError(f"{root_url}: a file of the Iceberg table is missing ({describe_error(error)})") from None
    except (ValueError, KeyError, TypeError, NotImplementedError) as error:  # pydantic's errors are ValueErrors
        raise FatalError(f"{root_url}: the Iceberg table cannot be read ({describe_error(error)})") from None
    if num_deletes := sum(bool(task.delete_files) for task in tasks):
        raise FatalError(
            f"{root_url}: the Iceberg table has delete files for {num_deletes} of its {len(tasks)} data files, which "
            "are not supported; rewrite its files first, in Spark with rewrite_data_files and delete-file-threshold 1"
        )
    if other := next((task.file for task in tasks if task.file.file_format != FileFormat.PARQUET), None):
        raise FatalError(f"{other.file_path}: is {other.file_format.value}, but only Parquet is read")
    declared = _plain_strings(schema_to_pyarrow(schema))
    files = {task.file.file_path: _identity_partitions(table, task.file, schema, declared) for task in tasks}
    snapshot = version or (current.snapshot_id if (current := table.current_snapshot()) else 0)
    return TableSnapshot(f"Iceberg table {root_url} ({metadata_file.name})", snapshot, files, declared)


def _open(metadata_file: Location, stores: Sequence[StoreSettings]) -> StaticTable:
    """Open a table whose files are accessed through the job's stores."""
    from pyiceberg.catalog.noop import NoopCatalog
    from pyiceberg.io import FileIO, InputFile, OutputFile
    from pyiceberg.io.pyarrow import PyArrowFile
    from pyiceberg.serializers import FromInputFile
    from pyiceberg.table import StaticTable

    class StoreFiles(FileIO):
        def new_input(self, location: str) -> InputFile:
            file = locate(location, stores)
            return PyArrowFile(location, file.path, file.fs)

        def new_output(self, location: str) -> OutputFile:
            raise NotImplementedError

        def delete(self, location: Any) -> None:
            raise NotImplementedError

    files = StoreFiles()
    metadata = FromInputFile.table_metadata(files.new_input(metadata_file.url))
    return StaticTable((metadata_file.url,), metadata, metadata_file.url, files, NoopCatalog("static"))


def _plain_strings(schema: pa.Schema) -> pa.Schema:
    """Declare columns as `string` instead of `large_string`, as Parquet files without Arrow's schema are read."""
    return pa.schema([f.with_type(pa.string()) if pa.types.is_large_string(f.type) else f for f in schema])


def _identity_partitions(table: StaticTable, file: DataFile, schema: Schema, declared: pa.Schema) -> dict[str, Any]:
    """Return the values of columns by which the table is partitioned. Files of Hive tables do not contain them."""
    from pyiceberg.transforms import IdentityTransform

    values: dict[str, pa.Scalar] = {}
    for i, field in enumerate(table.specs()[file.spec_id].fields):
        name = schema.find_column_name(field.source_id)
        if name is not None and name in declared.names and isinstance(field.transform, IdentityTransform):
            values[name] = pa.scalar(file.partition[i], declared.field(name).type)
    return values
