"""Read which files belong to a version of a Delta table, through the package `deltalake`."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from pipelines.corpus.files.tables.snapshot import TableSnapshot
from pipelines.errors import FatalError
from pipelines.storage import describe_error
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import DeltaTable

    from pipelines.storage import Location

_LOG = "_delta_log"
_THREADS = 16  # the files of a log are small, so reading them is mostly waiting


def read_delta(root: Location, paths: Sequence[str], version: int | None) -> TableSnapshot:
    """Read a version of a Delta table.

    Only the log is read. It is copied to a temporary directory first, so that it is accessed with the settings of the
    job's stores, as all other files are.

    Args:
        root: the table's root.
        paths: all files below it.
        version: the version; by default the newest.

    Raises:
        FatalError: the table cannot be read, or has features that are not supported.
        ImportError: the package deltalake is not installed.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    written = [int(number[1]) for path in paths if (number := re.match(rf"{_LOG}/(\d{{20}})\.", path))]
    if version is not None and version > max(written, default=version):
        raise FatalError(f"{root.url}: has no version {version}; the newest is {max(written)}; correct input.version")
    with tempfile.TemporaryDirectory() as copy:
        _copy_log(root, paths, version, Path(copy))
        try:
            table = DeltaTable(copy, version=version)
            schema = pa.schema(table.schema().to_arrow())
            _check_features(root, table, schema)
            actions = pa.table(table.get_add_actions())
        except DeltaError as error:
            reason = describe_error(error).replace(copy, root.url)
            raise FatalError(f"{root.url}: the Delta table cannot be read ({reason})") from None
        found = table.version()
    partitions = actions["partition"].combine_chunks() if "partition" in actions.column_names else None
    names: list[str] = [] if partitions is None else partitions.type.names
    files = {
        _file_url(root, path): {} if partitions is None else {name: partitions[i][name] for name in names}
        for i, path in enumerate(actions["path"].to_pylist())
    }
    return TableSnapshot(f"Delta table {root.url}", found, files, schema)


def _file_url(root: Location, path: str) -> str:
    """Return the URL of a data file. Paths in the log are percent-encoded, and mostly relative to the root."""
    path = unquote(path)
    return path if re.match(r"[a-z0-9]+:/|/", path) else f"{root.url.rstrip('/')}/{path}"


def _copy_log(root: Location, paths: Sequence[str], version: int | None, copy: Path) -> None:
    """Copy the files of the log that are needed: those from the last checkpoint on."""
    log = [path for path in paths if path.startswith(f"{_LOG}/")]
    first = 0
    if f"{_LOG}/_last_checkpoint" in log:
        checkpoint = json.loads((root / _LOG / "_last_checkpoint").read_bytes())["version"]
        is_there = any(path.startswith(f"{_LOG}/{checkpoint:020d}.checkpoint.") for path in log)
        first = checkpoint if is_there and (version is None or checkpoint <= version) else 0

    def is_needed(path: str) -> bool:
        number = re.match(rf"{_LOG}/(\d{{20}})\.", path)
        return number is None or int(number[1]) >= first

    def copy_file(path: str) -> None:
        target = copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((root / path).read_bytes())

    for _ in map_in_threads(copy_file, filter(is_needed, log), _THREADS):
        pass


def _check_features(root: Location, table: DeltaTable, schema: pa.Schema) -> None:
    """Refuse tables whose rows are not simply the rows of their files.

    `deltalake` itself refuses tables with features that it does not know.
    """
    configuration: dict[str, Any] = table.metadata().configuration
    mode = configuration.get("delta.columnMapping.mode") or "none"
    problem = None
    if mode != "none":
        problem = f"column mapping (mode {mode})"
    elif "deletionVectors" in (table.protocol().reader_features or []) and _has_deletion_vectors(table):
        problem = "deletion vectors; rewrite its files first, in Spark with REORG TABLE … APPLY (PURGE)"
    elif any(pa.types.is_binary(schema.field(name).type) for name in table.metadata().partition_columns):
        problem = "a partition of bytes"  # deltalake returns the escapes in the log, as text
    if problem:
        raise FatalError(f"{root.url}: the Delta table has {problem}, which is not supported")


def _has_deletion_vectors(table: DeltaTable) -> bool:
    from deltalake.exceptions import DeltaError

    try:
        return any(batch.num_rows for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()))
    except DeltaError:  # a vector in a file of its own, which is not in the copy of the log
        return True
