"""Find out whether a path names a table of a lake format, or files of one.

The directory of such a table also contains the files of its earlier versions, so reading all files in it would repeat
rows and bring back deleted ones.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import FatalError, RetryableError
from pipelines.storage import file_infos, locate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.storage import Listing, Location

# How the root of a table is recognized: a folder in it, and the names of files in that folder. A table may have
# metadata of several formats, for example if Delta's are converted to Iceberg; the first one here counts.
_MARKERS = {
    "Delta": ("_delta_log", re.compile(r"\d{20}\.(?:json|checkpoint\..*parquet)")),
    "Iceberg": ("metadata", re.compile(r"v?\d[^/]*\.metadata\.json")),
    "Hudi": (".hoodie", re.compile(r"hoodie\.properties")),
    # Spark's file sink lists the files of committed batches here; failed attempts leave others, with the same rows.
    "Spark streaming": ("_spark_metadata", re.compile(r"\d+(?:\.compact)?")),
}
_SUPPORTED = ("Delta", "Iceberg")
EXPORT = "export its current rows as Parquet files, or as a Delta or Iceberg table"  # of other formats
_MAX_SHOWN = 3


class TableRoot(NamedTuple):
    """The root directory of a table, and its format."""

    url: str
    format: str


def find_table(listing: Listing) -> TableRoot | None:
    """Return the table that a path names, with its root or, for Iceberg, with a metadata file; None if it names none.

    Raises:
        FatalError: the path names some files of a table, or a directory with several tables.
    """
    if listing.base.url.endswith(".metadata.json"):
        return TableRoot(listing.base.url, "Iceberg")
    roots, text, base_url = _roots_below(listing), listing.pattern.text, listing.base.url.rstrip("/")
    named = [TableRoot(base_url, name) for name in _MARKERS if TableRoot(base_url, name) in roots]
    if named and not listing.is_glob:
        return named[0]
    for url in _parents(listing.base, with_itself=listing.is_glob):
        if found := _root_at(url):
            advice = "name the table in input.path, and select its rows with input.filter"
            raise FatalError(
                f"{text}: is within the {found.format} table {found.url}, whose directory also has files that are not "
                f"in its current version; {advice if found.format in _SUPPORTED else EXPORT}"
            )
    urls = listing.files["url"].to_pylist() if roots else []
    tables = [root for root in sorted(roots) if _has_prefix(urls, f"{root.url}/")]
    if tables:
        names = ", ".join(table.url for table in tables[:_MAX_SHOWN])
        more = f" and {len(tables) - _MAX_SHOWN} more" if len(tables) > _MAX_SHOWN else ""
        raise FatalError(
            f"{text}: contains {tables[0].format} tables ({names}{more}), whose directories also have files that are "
            "not in their current version; list the tables themselves in input.path"
        )
    return None


def _roots_below(listing: Listing) -> set[TableRoot]:
    """Find the roots of all tables in or below the base of a listing."""
    found: set[TableRoot] = set()
    for file in chain.from_iterable(map(file_infos, (listing.files, listing.hidden, listing.others))):
        folder, _, name = file.url.rpartition("/")
        for table_format, (metadata_folder, marker) in _MARKERS.items():
            if folder.endswith(f"/{metadata_folder}") and marker.fullmatch(name):
                found.add(TableRoot(folder.removesuffix(f"/{metadata_folder}"), table_format))
    return found


def _has_prefix(urls: list[str], prefix: str) -> bool:
    """Return whether one of some sorted URLs begins with a prefix."""
    i = bisect_left(urls, prefix)
    return i < len(urls) and urls[i].startswith(prefix)


def _parents(base: Location, *, with_itself: bool) -> Iterable[Location]:
    """Yield the directories that contain a file or directory, from the innermost one."""
    if "::" in base.url:  # chained file systems of fsspec
        return
    scheme, separator, path = base.url.rstrip("/").rpartition("://")
    names = path.split("/")
    for length in range(len(names) - (not with_itself), 0, -1):
        if any(names[:length]):
            yield locate(f"{scheme}{separator}{'/'.join(names[:length])}", base.stores)


def _root_at(folder: Location) -> TableRoot | None:
    """Return the table whose root is this directory."""
    for table_format, (metadata_folder, marker) in _MARKERS.items():
        # a user who may read only a part of the store cannot list what is above it
        with suppress(FatalError, RetryableError, OSError, ValueError):
            if any(marker.fullmatch(file.name) for file in (folder / metadata_folder).list()):
                return TableRoot(folder.url.rstrip("/"), table_format)
    return None
