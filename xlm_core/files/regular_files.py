"""Check that a path is a regular file before it is opened."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def check_regular_file(path: Path) -> None:
    """Check that a path is a regular file. Reading a FIFO may block forever, and reading a device may never end.

    Raises:
        OSError: the path does not exist or is something else.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a file, but a FIFO, a socket or a device")
