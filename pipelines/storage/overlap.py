"""Find out whether an output directory and the files of an input contain each other, through links and globs too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipelines.storage.local_files import linked_directories
from pipelines.storage.patterns import read_pattern
from pipelines.storage.store_settings import find_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.storage.location import Location
    from pipelines.storage.store_settings import StoreSettings


def find_overlap(pattern: str, output: Location, output_file: str, stores: Sequence[StoreSettings]) -> str | None:
    """Describe how a path, directory or glob and an output directory contain each other; None if they do not.

    Args:
        pattern: the path, directory or glob.
        output: the output directory, which may not exist yet.
        output_file: path of a file that will be written below it.
        stores: settings of the stores of the pattern.
    """
    read = read_pattern(pattern, stores)
    if not _is_same_store(read.base, output):
        return None
    inner = _real_path(output)
    below = _path_below(_real_path(read.base), inner)
    if below is not None:
        return f"contains input.path {pattern}" if below or read.glob else f"is input.path {pattern}"
    for name, folder in _directories(read.base):
        path = _path_below(inner, folder)
        if path is not None and read.matches("/".join(filter(None, (name, path, output_file)))):
            return f"is inside input.path {pattern}" + (f", through the link {read.base.url}/{name}" if name else "")
    return None


def find_files_below(files: Iterable[str], folder: Location) -> Iterator[str]:
    """Yield the local files that are in a directory, possibly through a link, of those with these paths."""
    real_folder, real_parents = _real_path(folder), dict[str, str]()
    for file in files:
        parent, _, name = file.rpartition("/")
        if parent not in real_parents:
            real_parents[parent] = os.path.realpath(parent)
        real = os.path.realpath(file) if os.path.islink(file) else f"{real_parents[parent]}/{name}"  # noqa: PTH114
        if _path_below(real, real_folder) is not None:
            yield file


def _directories(base: Location) -> Iterator[tuple[str, str]]:
    """Yield a directory and, on a local file system, those to which links below it point: path below it, real path."""
    yield "", _real_path(base)
    if base.is_local:
        yield from linked_directories(base.path)


def _real_path(location: Location) -> str:
    return os.path.realpath(location.path) if location.is_local else location.path.rstrip("/")


def _path_below(path: str, folder: str) -> str | None:
    """Return the path of a file or directory below another one, empty if they are the same; None if it is elsewhere."""
    if f"{path}/".startswith(f"{folder.rstrip('/')}/"):
        return path[len(folder) :].strip("/")
    return None


def _is_same_store(a: Location, b: Location) -> bool:
    """Return whether equal paths are equal files. The same store may be accessed with different credentials."""
    if a.fs == b.fs:
        return True
    endpoints = [settings and settings.endpoint for settings in (find_settings(x.url, x.stores) for x in (a, b))]
    return a.fs.type_name == b.fs.type_name in ("s3", "gcs") and endpoints[0] == endpoints[1]
