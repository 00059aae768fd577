"""Watch the changes that a run makes to its output, and kill the process or raise an error at any of them.

The product has no hooks for this. Within `watch_changes`, the calls of this process that change files are wrapped. A
fault point is before or after such a change or, for a write, when half of the bytes are in the file. Its name says what
is changed and how, such as "ledger: rename, after". A handler is called at each fault point.
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

Handler = Callable[[str, Path], None]  # receives the fault point and the path that is changed

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def describe_path(path: Path, out: Path) -> str:
    """Return what a file or directory of the output is. A temporary file is described as the file it becomes."""
    relative = path.relative_to(out)
    name = final_name(path.name) or path.name
    if relative.parts[:2] == ("_xlm", "ledger"):
        return "ledger" if len(relative.parts) > 2 else "ledger folder"
    if relative.parts[:2] == ("_xlm", "rejected"):
        return "rejected" if len(relative.parts) > 2 else "rejected folder"
    if relative.parts[:2] == ("_xlm", "reports"):
        return "old report" if len(relative.parts) > 2 else "reports folder"
    if name.startswith("part-"):
        return "part"
    return {".": "output folder", "_xlm": "inner folder", "data": "part folder"}.get(str(relative), name)


def ignore_points() -> Handler:
    """Return a handler that does nothing."""
    return lambda point, path: None


def record_points(points: list[str]) -> Handler:
    """Return a handler that appends each fault point to a list."""
    return lambda point, _: points.append(point)


def kill_at(number: int) -> Handler:
    """Return a handler that kills this process at the fault point with a number, counted from 0."""
    numbers = count()

    def handle(point: str, path: Path) -> None:
        if next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return handle


def kill_at_nth(wanted: str, number: int) -> Handler:
    """Return a handler that kills this process when a fault point is reached for the n-th time, counted from 1."""
    numbers = count(1)

    def handle(point: str, path: Path) -> None:
        if point == wanted and next(numbers) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return handle


def fail_write_at(number: int, *, repeat: bool = False, code: int = errno.EIO) -> Handler:
    """Return a handler that raises an error in the middle of the write with a number, counted from 0.

    Args:
        number: the write that fails.
        repeat: whether all later writes fail as well.
        code: the error number of the `OSError`.
    """
    writes = count()

    def handle(point: str, path: Path) -> None:
        if point.endswith("half") and ((found := next(writes)) == number or (repeat and found > number)):
            raise OSError(code, os.strerror(code), str(path))

    return handle


def call_once_at(wanted: str, function: Callable[[], object]) -> Handler:
    """Return a handler that calls a function when a fault point is reached for the first time."""
    pending = [function]

    def handle(point: str, path: Path) -> None:
        if point == wanted and pending:
            pending.pop()()

    return handle


def exit_if_change_is_missed(out: Path) -> Handler:
    """Return a handler that exits this process with an error if a file changed between two fault points."""
    last: list[dict[str, tuple[int, int, int]]] = []

    def handle(point: str, path: Path) -> None:
        found = {
            str(p): (s.st_ino, s.st_size, s.st_mtime_ns) for p in out.rglob("*") if (s := p.stat()) and p.is_file()
        }
        if point.endswith(("before", "end")) and last and found != last[-1]:
            print(f"changed before {point}: {sorted(set(found.items()) ^ set(last[-1].items()))}", file=sys.stderr)
            os._exit(1)
        last[:] = [found]

    return handle


@contextmanager
def watch_changes(out: Path, handle: Handler) -> Iterator[None]:
    """Call a handler at each fault point of a local output, for the length of a `with` block."""

    def find_path(path: Any) -> Path | None:
        """Return the path if it belongs to the output."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        found = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  (resolving links would access the disk)
        return found if found == out or out in found.parents else None

    def wrap(action: str, call: Callable[..., Any], changes: Callable[[Path], bool]) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **options: Any) -> Any:
            found = find_path(path)
            if found is None or not changes(found):
                return call(path, *args, **options)
            name = describe_path(Path(os.fsdecode(args[0])) if action == "rename" else found, out)
            handle(f"{name}: {action}, before", found)
            result = call(path, *args, **options)
            handle(f"{name}: {action}, after", found)
            return result

        return wrapped

    def open_file(path: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        found = None if isinstance(path, int) else find_path(path)
        if found is None or not set(mode) & set("wax+"):
            return original_open(path, mode, *args, **options)
        name = describe_path(found, out)
        handle(f"{name}: create, before", found)
        file = original_open(path, mode, *args, **options)
        handle(f"{name}: create, after", found)
        return _File(file, name, found, handle)

    def open_descriptor(path: Any, flags: int, *args: Any, **options: Any) -> int:
        call = wrap("create", original_os_open, always) if flags & _WRITE_FLAGS else original_os_open
        return call(path, flags, *args, **options)

    def delete(location: Location) -> None:
        # pyarrow deletes in C++, so no call of Python can be wrapped
        wrap("delete", lambda _: original_delete(location), os.path.lexists)(location.path)

    def always(_: Path) -> bool:
        return True

    def is_new(path: Path) -> bool:
        return not os.path.lexists(path)

    original_open, original_os_open, original_delete = io.open, os.open, Location.delete
    with pytest.MonkeyPatch.context() as patch:
        for action, changes, names in (
            ("make", is_new, ["mkdir"]),
            ("fsync", always, ["fsync", "fdatasync"]),
            ("write", always, ["write"]),
            ("truncate", always, ["truncate", "ftruncate"]),
            ("rename", always, ["rename", "replace", "link"]),
            ("delete", os.path.lexists, ["unlink", "remove", "rmdir"]),
        ):
            for name in names:
                patch.setattr(os, name, wrap(action, getattr(os, name), changes))
        patch.setattr(os, "open", open_descriptor)
        patch.setattr(io, "open", open_file)
        patch.setattr(builtins, "open", open_file)
        patch.setattr(Location, "delete", delete)
        yield
        handle("the run: end", out)


class _File:
    """A file opened for writing. Each write reaches the disk in two halves."""

    def __init__(self, file: IO[Any], name: str, path: Path, handle: Handler):
        self._file, self._name, self._path, self._handle = file, name, path, handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        middle = len(data) // 2
        self._handle(f"{self._name}: write, before", self._path)
        for half, moment in ((data[:middle], "half"), (data[middle:], "after")):
            self._file.write(half)
            self._file.flush()
            self._handle(f"{self._name}: write, {moment}", self._path)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        self._handle(f"{self._name}: truncate, before", self._path)
        result = self._file.truncate(size)
        self._handle(f"{self._name}: truncate, after", self._path)
        return result
