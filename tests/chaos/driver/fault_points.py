"""The steps by which a run changes its output, each by its name, and what a test can do before and after one.

The product has no hooks for this. Within `watched`, the calls of this process that change files are wrapped, and a
`Visit` is told of each moment before and after a change below the output. It may let the run pass, kill the process,
or raise an error as the file system would.
"""

import builtins
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest

from pipelines.storage import Location, final_name

# A moment is before a step, after it, or, of a write, when half of its bytes are in the file.
Visit = Callable[[str, Path], None]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def subject(path: Path, out: Path) -> str:
    """Name what a file or directory of the output is; a temporary file is named as what it is to become."""
    inner = path.relative_to(out)
    name = final_name(path.name) or path.name
    if inner.parts[:2] == ("_xlm", "ledger"):
        return "ledger" if len(inner.parts) > 2 else "ledger folder"
    if inner.parts[:2] == ("_xlm", "rejected"):
        return "rejected" if len(inner.parts) > 2 else "rejected folder"
    if name.startswith("part-"):
        return "part"
    return {".": "output folder", "_xlm": "inner folder"}.get(str(inner), name)


def record_points(points: list[str]) -> Visit:
    """Let the run pass, and note each moment by its name."""
    return lambda point, _: points.append(point)


def kill_at(number: int) -> Visit:
    """End this process as SIGKILL does, at the moment with this number, from 0."""
    moments = count()

    def visit(point: str, path: Path) -> None:
        if next(moments) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return visit


def kill_at_nth(wanted: str, number: int) -> Visit:
    """End this process when a moment of this name comes for the n-th time, from 1."""
    moments = count(1)

    def visit(point: str, path: Path) -> None:
        if point == wanted and next(moments) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return visit


def fail_at(number: int, *, again: bool = False, code: int = errno.EIO) -> Visit:
    """Let the write with this number fail when half of it is in the file; with `again`, every later one too."""
    writes = count()

    def visit(point: str, path: Path) -> None:
        if point.endswith("half") and ((found := next(writes)) == number or (again and found > number)):
            raise OSError(code, os.strerror(code), str(path))

    return visit


def once_at(wanted: str, act: Callable[[], object]) -> Visit:
    """Do something the first time that a moment with this name comes."""
    waiting = [act]

    def visit(point: str, path: Path) -> None:
        if point == wanted and waiting:
            waiting.pop()()

    return visit


def nothing_between(out: Path) -> Visit:
    """End this process with a message if files change between a step and the next: then a step has no name."""
    last: list[dict[str, tuple[int, int, int]]] = []

    def visit(point: str, path: Path) -> None:
        found = {
            str(p): (s.st_ino, s.st_size, s.st_mtime_ns) for p in out.rglob("*") if (s := p.stat()) and p.is_file()
        }
        if point.endswith(("before", "end")) and last and found != last[-1]:
            print(f"changed before {point}: {sorted(set(found.items()) ^ set(last[-1].items()))}", file=sys.stderr)
            os._exit(1)
        last[:] = [found]

    return visit


@contextmanager
def watched(out: Path, visit: Visit) -> Iterator[None]:
    """Tell `visit` of every change that this process makes below a local output, for the length of a `with` block."""

    def known(path: Any) -> Path | None:
        """Give the path if it is one of the output."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        found = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  (resolving links would touch the disk)
        return found if found == out or out in found.parents else None

    def around(act: str, call: Callable[..., Any], changes: Callable[[Path], bool]) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **options: Any) -> Any:
            found = known(path)
            if found is None or not changes(found):
                return call(path, *args, **options)
            name = subject(Path(os.fsdecode(args[0])) if act == "rename" else found, out)
            visit(f"{name}: {act}, before", found)
            result = call(path, *args, **options)
            visit(f"{name}: {act}, after", found)
            return result

        return wrapped

    def open_file(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        found = None if isinstance(path, int) else known(path)
        if found is None or not set(mode) & set("wax+"):
            return plain_open(path, mode, *args, **options)
        name = subject(found, out)
        visit(f"{name}: create, before", found)
        file = plain_open(path, mode, *args, **options)
        visit(f"{name}: create, after", found)
        return _File(file, name, found, visit)

    def open_handle(path: Any, flags: int, *args: Any, **options: Any) -> int:
        call = around("create", plain_os_open, always) if flags & _WRITING else plain_os_open
        return call(path, flags, *args, **options)

    def delete(location: Location) -> None:
        # pyarrow deletes in C++, where no call of Python's is seen
        around("delete", lambda _: plain_delete(location), os.path.lexists)(location.path)

    def always(_: Path) -> bool:
        return True

    def is_new(path: Path) -> bool:
        return not os.path.lexists(path)

    plain_open, plain_os_open, plain_delete = io.open, os.open, Location.delete
    with pytest.MonkeyPatch.context() as patch:
        for act, changes, names in (
            ("make", is_new, ["mkdir"]),
            ("fsync", always, ["fsync", "fdatasync"]),
            ("write", always, ["write"]),
            ("truncate", always, ["truncate", "ftruncate"]),
            ("rename", always, ["rename", "replace", "link"]),
            ("delete", os.path.lexists, ["unlink", "remove", "rmdir"]),
        ):
            for name in names:
                patch.setattr(os, name, around(act, getattr(os, name), changes))
        patch.setattr(os, "open", open_handle)
        patch.setattr(io, "open", open_file)
        patch.setattr(builtins, "open", open_file)
        patch.setattr(Location, "delete", delete)
        yield
        visit("the run: end", out)


class _File:
    """A file open for writing, each of whose writes reaches the disk in two halves."""

    def __init__(self, file: IO[Any], name: str, path: Path, visit: Visit):
        self._file, self._name, self._path, self._visit = file, name, path, visit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        middle = len(data) // 2
        self._visit(f"{self._name}: write, before", self._path)
        for piece, moment in ((data[:middle], "half"), (data[middle:], "after")):
            self._file.write(piece)
            self._file.flush()
            self._visit(f"{self._name}: write, {moment}", self._path)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        self._visit(f"{self._name}: truncate, before", self._path)
        result = self._file.truncate(size)
        self._visit(f"{self._name}: truncate, after", self._path)
        return result
