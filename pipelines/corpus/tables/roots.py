"""Find out whether a path names a table of a lake format, or files of one.

The directory of such a table also contains the files of its earlier versions, so reading all files in it would repeat
rows and bring back deleted ones.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import FatalError, RetryableError
from pipelines.storage import locate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.storage import Listing, Location

# The files by which the root of a table is recognized, as paths below it. A table may have metadata of several formats,
# for example if Delta's are converted to Iceberg; the first one here counts.
_MARKERS = {
    "Delta": re.compile(r"_delta_log/\d{20}\.(?:json|checkpoint\..*parquet)"),
    "Iceberg": re.compile(r"metadata/v?\d[^/]*\.metadata\.json"),
    "Hudi": re.compile(r"\.hoodie/hoodie\.properties"),
}
_METADATA_FOLDERS = ("_delta_log", "metadata", ".hoodie")
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
    if not listing.is_glob and (table := _named_table(listing)):
        return table
    roots, text = _roots_below(listing), listing.pattern.text
    for url in _parents(listing.base, with_itself=listing.is_glob):
        if found := _root_at(url):
            raise FatalError(
                f"{text}: is within the {found.format} table {found.url}, whose directory also has files of "
                "earlier versions; name the table in input.path, and select its rows with input.filter"
            )
    tables = sorted({root for root in roots for file in listing.files if file.url.startswith(f"{root.url}/")})
    if tables:
        names = ", ".join(table.url for table in tables[:_MAX_SHOWN])
        more = f" and {len(tables) - _MAX_SHOWN} more" if len(tables) > _MAX_SHOWN else ""
        raise FatalError(
            f"{text}: contains {tables[0].format} tables ({names}{more}), whose directories also have files "
            "of earlier versions; list the tables themselves in input.path"
        )
    return None


def _named_table(listing: Listing) -> TableRoot | None:
    if listing.base.url.endswith(".metadata.json"):
        return TableRoot(listing.base.url, "Iceberg")
    formats = {root.format for root in _roots_below(listing) if root.url == listing.base.url.rstrip("/")}
    return next((TableRoot(listing.base.url.rstrip("/"), name) for name in _MARKERS if name in formats), None)


def _roots_below(listing: Listing) -> set[TableRoot]:
    """Find the roots of all tables in or below the base of a listing."""
    base = listing.base.url.rstrip("/")
    found: set[TableRoot] = set()
    for file in (*listing.files, *listing.hidden, *listing.others):
        path = listing.path_below_base(file)
        for name, marker in _MARKERS.items():
            if match := re.fullmatch(rf"(?:(.*)/)?{marker.pattern}", path):
                found.add(TableRoot(f"{base}/{match[1]}" if match[1] else base, name))
    return found


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
    for name, directory in zip(_MARKERS, _METADATA_FOLDERS, strict=True):
        # a user who may read only a part of the store cannot list what is above it
        with suppress(FatalError, RetryableError, OSError, ValueError):
            if any(_MARKERS[name].fullmatch(f"{directory}/{file.name}") for file in (folder / directory).list()):
                return TableRoot(folder.url.rstrip("/"), name)
    return None
