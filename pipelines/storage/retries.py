"""What an error of a store means for a run, and how often, and after what waits, something is tried again."""

from __future__ import annotations

import errno
import random
import re
import time
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from pipelines.errors import FatalError, RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

# The clients of stores try again by themselves, for some seconds; these waits are between such rounds.
_RETRY_AFTER_S = (1.0, 5.0, 20.0, 60.0)

_DENIED = re.compile(
    "ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE_DOES_NOT_MATCH|EXPIRED_TOKEN|ExpiredToken|"  # AWS
    "Forbidden|Unauthorized|AuthenticationFailed|AuthorizationFailure|UNAUTHENTICATED|PERMISSION_DENIED|"
    r"(?i:http (?:status|error):? ?40[0135])"  # a HEAD has no body that says more: an expired token is a plain 400
)
_OTHER_REGION = re.compile("HTTP status 301|PermanentRedirect")
_NO_BUCKET = re.compile("NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound|Bucket '[^']*' not found")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def reason(error: BaseException) -> str:
    """Give what a storage error says, in one line; it names files and never their content."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def judged(url: str, error: Exception, *, is_local: bool = False) -> Exception:
    """Sort an error of a store by what to do next.

    Args:
        url: what was being read or written.
        error: as the store's client raised it; each client has classes of its own.
        is_local: whether it is of this machine's file system, whose errors do not pass.

    Returns:
        FatalError for what a person must correct, RetryableError for what may pass; and as they are FileNotFoundError,
        our own errors, what Arrow says of damaged content, and other errors of the local file system.
    """
    if isinstance(error, (FileNotFoundError, FatalError, RetryableError)):
        return error
    number = error.errno if isinstance(error, OSError) else None
    if number in _DISK_FULL:
        return FatalError(
            f"{url}: no space is left for it ({reason(error)}); free some, and run the same command again"
        )
    if is_local:
        if number in _DISK_CLOSED:
            return FatalError(
                f"{url}: access is denied ({reason(error)}); correct its permissions, or name another place"
            )
        return error
    if isinstance(error, PermissionError) or _DENIED.search(str(error)):
        return FatalError(f"{url}: access is denied ({reason(error)}); check the environment's credentials")
    if _NO_BUCKET.search(str(error)):
        return FatalError(f"{url}: no such bucket or container ({reason(error)}); correct the address")
    if _OTHER_REGION.search(str(error)):
        return FatalError(f"{url}: lies in another region ({reason(error)}); name its region in `storage`")
    if isinstance(error, pa.ArrowException) and type(error) is not pa.ArrowException:  # else it is of no known kind
        return error
    return RetryableError(f"{url}: the store fails ({reason(error)})")


def persistently(url: str, act: Callable[[], Value], *, is_local: bool = False) -> Value:
    """Do something with a store, again after growing waits as long as its errors may pass, up to a limit.

    Raises:
        FatalError, RetryableError, FileNotFoundError: see `judged`.
    """
    for wait_s in (*_RETRY_AFTER_S, None):
        try:
            return act()
        except Exception as error:
            found = judged(url, error, is_local=is_local)
            # what seems damaged may be a connection that broke off
            may_pass = isinstance(found, RetryableError) or (isinstance(found, pa.ArrowException) and not is_local)
            if wait_s is None or not may_pass:
                raise found from None
        time.sleep(wait_s * random.uniform(0.5, 1.5))  # many workers that failed together do not come back together
    raise AssertionError
