"""Run a command with its log, and turn errors into messages and an exit status."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from jobs.console import print_error
from jobs.exit_status import ExitStatus
from jobs.log_file import log_file
from pipelines.errors import RESUME_HINT, FatalError, LockedError, RejectionLimitError, RetryableError
from pipelines.log import format_traceback, logger
from pipelines.storage import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable

_RESUMABLE = ("run", "train", "demo")


def run_with_log(call: Callable[[], Any], command: str, *, log_name: str, path: str | None, debug: bool) -> Any:
    """Run a command. Errors are printed as lines to stderr, and logged with their tracebacks.

    Args:
        call: the command.
        command: its name.
        log_name: the beginning of the log file's name.
        path: the log file; None for the default.
        debug: whether the log is also printed to stderr.

    Returns:
        What the command returns, or the `ExitStatus` of an error.
    """
    with log_file(log_name, path, debug=debug):
        try:
            return call()
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as raised:
            error = _unprintable(raised) or raised
            print_error(*_explain(error, f"; {RESUME_HINT}" if command in _RESUMABLE else ""))
            # The default file is for errors that their message does not explain.
            level = logging.WARNING if isinstance(error, (FatalError, RetryableError)) else logging.ERROR
            logger.log(level, "xlm %s: %s\n%s", command, _message(error), format_traceback(error))
            return _exit_status(error)


def _unprintable(error: Exception) -> FatalError | None:
    """Return an error that explains a character which stdout cannot encode, if this is the error."""
    encoding = sys.stdout.encoding
    if not isinstance(error, UnicodeEncodeError) or encoding.lower().replace("-", "") == "utf8":
        return None
    return FatalError(
        f"stdout has the encoding {encoding}, which does not have {error.object[error.start]!a}; set "
        "PYTHONIOENCODING=utf-8"
    )


def _exit_status(error: Exception) -> ExitStatus:
    match error:
        case LockedError():
            return ExitStatus.LOCKED
        case RejectionLimitError():
            return ExitStatus.INCOMPLETE
        case FatalError():
            return ExitStatus.INVALID
        case _:
            return ExitStatus.FAILED


def _explain(error: Exception, resume: str) -> list[str]:
    match error:
        case FatalError():
            return str(error).splitlines()
        case RetryableError():
            return [f"{error}{resume}"]
        case OSError():
            return [f"{describe_error(error)}{resume and f'{resume} once this is fixed'}"]
        case _:
            return [
                f"unexpected: {type(error).__name__}: {describe_error(error)}; this is a bug, please report it with "
                f"its traceback, which --debug prints{resume}"
            ]


def _message(error: Exception) -> str:
    """Return the message of an error for the log; messages of other libraries may quote the text of a row."""
    if isinstance(error, (FatalError, RetryableError)):
        return str(error)
    return describe_error(error) if isinstance(error, OSError) else f"unexpected {type(error).__name__}"
