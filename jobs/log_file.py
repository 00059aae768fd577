"""The log of a command: a file with the tracebacks of errors, and with `--debug` all of it on stderr.

The log never fails a command: if the file cannot be written, one line names the reason.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.console import print_error
from pipelines.log import LineFormatter, logger

if TYPE_CHECKING:
    from collections.abc import Generator

_MAX_NAME_CHARS = 50


@contextmanager
def log_file(name: str, path: str | None, *, debug: bool) -> Generator[None]:
    """Write the log to a file for the duration of a `with` block, and name the file if errors were logged.

    Args:
        name: the beginning of the file's name.
        path: a file that receives the whole log; None for a new file in the user's state directory, which is created
            only if there is an error, and receives errors only.
        debug: whether the log is also printed to stderr.
    """
    file = _LogFile(_default_path(name) if path is None else Path(path).absolute())
    file.setLevel(logging.ERROR if path is None else logging.DEBUG)
    handlers = [file, _Stderr()] if debug else [file]
    level = logger.level
    logger.setLevel(logging.DEBUG)
    for handler in handlers:
        handler.setFormatter(LineFormatter())
        logger.addHandler(handler)
    version = importlib.metadata.version("xlm-batch")
    logger.debug("xlm-batch %s, Python %s, %s", version, platform.python_version(), platform.platform())
    try:
        yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            with suppress(OSError):
                handler.close()
        if file.has_errors:
            print_error(f"full tracebacks: {file.path}")


class _LogFile(logging.FileHandler):
    """Appends records to a file, which the first record creates, until a write fails.

    Attributes:
        path: the file.
        has_errors: whether it contains an error.
    """

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")
        self.path, self.has_errors, self._has_failed = path, False, False

    def emit(self, record: logging.LogRecord) -> None:
        if self._has_failed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            super().emit(record)
            self.has_errors |= record.levelno >= logging.ERROR
        except OSError as error:
            self._has_failed, self.has_errors = True, False
            print_error(
                f"the log cannot be written to {self.path} ({error.strerror}); --log-file names another file, and "
                "--debug prints the log"
            )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # the error of a write, which `emit` receives; otherwise logging prints it


class _Stderr(logging.Handler):
    """Prints records to the current `sys.stderr`, so that they do not disturb a progress line.

    Records of level INFO are what the console shows already.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno != logging.INFO:
            with suppress(OSError):
                print(self.format(record), file=sys.stderr)


def _default_path(name: str) -> Path:
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser().absolute()
    except RuntimeError:  # the user has no home directory
        state = Path(tempfile.gettempdir())
    return state / "xlm-batch" / f"{name[:_MAX_NAME_CHARS]}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
