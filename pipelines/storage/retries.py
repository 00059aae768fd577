"""Which errors are retried, how often and after which waits; what users can do about the others."""

from __future__ import annotations

import errno
import random
import re
import threading
import time
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import pyarrow as pa

from pipelines.errors import FatalError, NoAnswerError, NoSpaceError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

ValueT = TypeVar("ValueT")

# Two levels: a store's client retries each request for some seconds or minutes. When it gives up, the whole operation
# is retried after these waits.
S3_ATTEMPTS = 5
GCS_RETRY_TIME_LIMIT = timedelta(minutes=3)
_RETRY_AFTER_S = (1.0, 5.0, 20.0, 60.0)

# Most clients wait without limit for a server that accepts a connection and never answers. This is enough to read a row
# group of 1 GB at 1.2 MB/s, and to list several million files.
_ANSWERS_WITHIN_S = 900.0

_DENIED = re.compile(
    "ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|ExpiredToken|"  # AWS
    "Forbidden|Unauthorized|AuthenticationFailed|AuthorizationFailure|UNAUTHENTICATED|PERMISSION_DENIED|"
    r"(?i:http (?:status|error):? ?40[0135])"  # responses to HEAD have no body, so an expired token is a plain 400
)
_OTHER_REGION = re.compile("HTTP status 301|PermanentRedirect")
_NO_BUCKET = re.compile("NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound|Bucket '[^']*' not found")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EROFS, errno.EACCES, errno.EPERM)
_TEMPORARY_STATUS = (408, 429)  # of the 4xx: time-out, and too many requests

_NOT_RETRIED = (NoSpaceError, NoAnswerError)


def with_retries(act: Callable[[], ValueT], retried: tuple[type[Exception], ...] = (RetryableError,)) -> ValueT:
    """Call a function, and retry it up to four times, after increasing waits.

    Args:
        act: the function.
        retried: the classes of errors after which it is retried, apart from those in `_NOT_RETRIED`.

    Raises:
        Exception: the last error.
    """
    for wait_s in (*_RETRY_AFTER_S, None):
        try:
            return act()
        except Exception as error:
            if wait_s is None or not isinstance(error, retried) or isinstance(error, _NOT_RETRIED):
                raise
        time.sleep(wait_s * random.uniform(0.5, 1.5))  # so that workers that failed together do not retry together
    raise AssertionError


def access_with_retries(url: str, act: Callable[[], ValueT], *, is_local: bool = False) -> ValueT:
    """Call a function that accesses a store, with retries.

    Raises:
        FatalError, RetryableError, FileNotFoundError: see `classify_error`.
    """

    def attempt() -> ValueT:
        try:
            return act() if is_local else _with_limit(url, act)
        except Exception as error:
            raise classify_error(url, error, is_local=is_local) from None

    # Data that seem damaged may be the result of a dropped connection.
    return with_retries(attempt, (RetryableError,) if is_local else (RetryableError, pa.ArrowException))


def _with_limit(url: str, act: Callable[[], ValueT]) -> ValueT:
    """Call a function in another thread, which is abandoned if it does not return in time.

    Raises:
        NoAnswerError: it does not.
    """
    result = Future[ValueT]()

    def call() -> None:
        try:
            result.set_result(act())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=call, daemon=True).start()  # the process can end without the thread
    try:
        return result.result(_ANSWERS_WITHIN_S)
    except TimeoutError:
        if result.done():  # the client's own limit
            raise
        raise NoAnswerError(f"{url}: the store has not answered for {_ANSWERS_WITHIN_S / 60:g} min") from None


def classify_error(url: str, error: Exception, *, is_local: bool = False) -> Exception:
    """Convert an error of a store's client to the class that determines what happens next.

    Args:
        url: the file or directory that was accessed.
        error: the client's error. Each client has its own classes.
        is_local: whether the file is on a local file system, whose errors are not temporary.

    Returns:
        FatalError for errors that the user must correct, NoSpaceError for a full disk, which is not retried, and
        RetryableError for errors that may be temporary. Unchanged are FileNotFoundError, our own errors, Arrow's errors
        about damaged data, and other errors of local files.
    """
    if isinstance(error, (FileNotFoundError, FatalError, RetryableError)):
        return error
    number = error.errno if isinstance(error, OSError) else None
    if number in _DISK_FULL:
        return NoSpaceError(f"{url}: no space left ({describe_error(error)}); free some")
    if is_local:
        if number in _NO_PERMISSION:
            return FatalError(
                f"{url}: access is denied ({describe_error(error)}); correct its permissions, or use another directory"
            )
        return error
    if isinstance(error, PermissionError) or _DENIED.search(str(error)):
        return FatalError(
            f"{url}: access is denied ({describe_error(error)}); check the credentials in the environment"
        )
    if _NO_BUCKET.search(str(error)):
        return FatalError(f"{url}: no such bucket or container ({describe_error(error)}); correct the URL")
    if _OTHER_REGION.search(str(error)):
        return FatalError(
            f"{url}: the bucket is in another region ({describe_error(error)}); set its region in `storage`"
        )
    # Damaged data raise a subclass of ArrowException.
    if isinstance(error, pa.ArrowException) and type(error) is not pa.ArrowException:
        return error
    return RetryableError(f"{url}: the store failed ({describe_error(error)})")


def is_disk_error(error: BaseException) -> TypeGuard[OSError]:
    """Whether a local disk is full or not writable."""
    return isinstance(error, OSError) and error.errno in (*_DISK_FULL, *_NO_PERMISSION)


def is_permanent_status(http_status: int) -> bool:
    """Whether a request with this HTTP status would fail again."""
    return 400 <= http_status < 500 and http_status not in _TEMPORARY_STATUS


def describe_error(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if it has none.

    The messages of stores contain names of files, but never their content.
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__
