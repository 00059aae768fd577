"""Files on the local file system: write them atomically, and list directories."""

from __future__ import annotations

import os
import re
import secrets
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

_TEMPORARY_NAME = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")  # of `temporary_name`


def write_atomically(target: Path, data: bytes | pa.Buffer, temporary: Path) -> None:
    """Write a file, so that after a crash it has its old content or all of the new content.

    Args:
        target: the file.
        data: its new content.
        temporary: a path that no other writer uses, on the same file system.
    """
    for path in (target, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(memoryview(data))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(target.parent)


def fsync(path: Path) -> None:
    """Flush the content of a file, or the entries of a directory, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_name(name: str) -> str:
    """Return a unique name for a file while it is written. The readers that skip hidden files skip it."""
    return f".{name}.{secrets.token_hex(4)}.tmp"


def final_name(name: str) -> str | None:
    """Return the final name of a temporary file; None for other files."""
    found = _TEMPORARY_NAME.fullmatch(name)
    return found and found[1]


def walk(folder: str, *, recursive: bool, parents: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the paths in a directory that are not directories; none if there is no directory.

    Args:
        folder: the directory.
        recursive: also walk its subdirectories, except links to a directory that contains them.
        parents: resolved paths of the directories that contain this one.
    """
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    parents = (*parents, os.path.realpath(folder))
    with entries:
        for entry in entries:
            if not entry.is_dir():
                yield entry.path
            elif recursive and os.path.realpath(entry.path) not in parents:
                yield from walk(entry.path, recursive=True, parents=parents)


def scan(folder: str, *, recursive: bool) -> Iterator[tuple[str, int]]:
    """Yield the path and the size in bytes of each file in a directory, as `walk` finds them."""
    for path in walk(folder, recursive=recursive):
        try:
            found = os.stat(path)  # noqa: PTH116  (creating a million Path objects takes seconds)
        except FileNotFoundError:  # deleted meanwhile, or a broken link
            continue
        if stat.S_ISREG(found.st_mode):
            yield path, found.st_size


def linked_directories(folder: str, *, below: str = "", parents: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the links to directories that `walk` follows: their paths below a directory, and where they point."""
    parents = (*parents, os.path.realpath(folder))
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir() and (real := os.path.realpath(entry.path)) not in parents:
            path = f"{below}{entry.name}"
            if entry.is_symlink():
                yield path, real
            yield from linked_directories(entry.path, below=f"{path}/", parents=parents)
