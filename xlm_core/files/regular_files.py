"""What may be opened: a file, and nothing else that a file system can hold under a name."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def check_regular(path: Path) -> None:
    """Refuse what is no file before it is opened: of a FIFO nothing may ever come, and of a device no end.

    Raises:
        OSError: it is something else, or not there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a file, but a FIFO, a socket or a device")
