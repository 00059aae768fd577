"""Read the current version of a table, or the one that the job names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.corpus.files.tables.delta import read_delta
from pipelines.corpus.files.tables.iceberg import find_metadata, read_iceberg
from pipelines.corpus.files.tables.roots import EXPORT
from pipelines.errors import FatalError
from pipelines.storage import Listing, file_infos, locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.corpus.files.tables.roots import TableRoot
    from pipelines.corpus.files.tables.snapshot import TableSnapshot
    from pipelines.storage import StoreSettings


def read_table(
    table: TableRoot, listing: Listing, stores: Sequence[StoreSettings], version: int | None
) -> TableSnapshot:
    """Read the files and columns of a table.

    Args:
        table: the table.
        listing: all files below its root, or an Iceberg table's metadata file.
        stores: settings of the stores that contain the table.
        version: the version or snapshot to read; by default the current one.

    Raises:
        FatalError: the table cannot be read, its format is not supported, or its package is not installed.
    """
    urls = (file.url for files in (listing.files, listing.hidden) for file in file_infos(files))
    paths = [listing.pattern.path_below_base(url) for url in urls]
    root = locate(table.url, stores)
    try:
        match table.format:
            case "Delta":
                return read_delta(root, paths, version)
            case "Iceberg" if table.url.endswith(".metadata.json"):
                return read_iceberg(table.url.rpartition("/metadata/")[0], root, stores, version)
            case "Iceberg":
                return read_iceberg(table.url, find_metadata(root, paths), stores, version)
            case _:
                raise FatalError(f"{table.url}: is a {table.format} table, which is not supported; {EXPORT}")
    except ImportError:
        extra = table.format.lower()
        raise FatalError(
            f"{table.url}: is a {table.format} table, and the package to read it is not installed; "
            f"pip install 'xlm-batch[{extra}]'"
        ) from None
