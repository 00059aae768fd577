"""Connect to the Jobs API of a cluster, at the address and with the headers that the user gives."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.formatting import excerpt

if TYPE_CHECKING:
    from jobs.submission.job_client import JobClient

# With the query and the fragment that browsers show, which are not used.
_URL = re.compile(
    r"(?:(?P<scheme>\w+)://)?(?P<host>(?:[\w.-]+|\[[\w:.]+\]))(?P<port>:\d{1,5})?(?P<path>/[^?#]*)?(?:[?#].*)?"
)
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+: (?:[!-~][ -~]*)?", re.ASCII)


def connect(address: str) -> JobClient:
    """Connect to a cluster, and check its version of Ray.

    Args:
        address: the URL of the head's dashboard; without a scheme, http.

    Raises:
        FatalError: it is not the address of a Ray head, the head refuses the token, or it runs another version of Ray.
        ClusterError: the head does not answer.
    """
    if importlib.util.find_spec("aiohttp") is None:
        raise FatalError("xlm submit needs the client of Ray's Jobs API; pip install 'xlm-batch[cluster]'")
    from jobs.submission.job_client import JobClient

    return JobClient(parse_address(address), parse_headers(os.environ.get("RAY_JOB_HEADERS", "")))


def parse_address(address: str) -> str:
    """Return the URL of a dashboard, as the beginning of the URLs of requests.

    Raises:
        FatalError: it is not such a URL. The message does not contain passwords.
    """
    if "@" in address:
        raise FatalError(
            "--address: got a user name or password, expected a URL without them, such as http://HOST:8265; set "
            'RAY_JOB_HEADERS to {"Authorization": "Basic BASE64"}, with the output of printf USER:PASSWORD | base64'
        )
    url = _URL.fullmatch(address)
    if url is None or url["scheme"] not in (None, "http", "https"):
        host = url["host"] if url else "HOST"
        raise FatalError(
            f"--address {excerpt(address)!r}: not the URL of a dashboard, expected one such as http://{host}:8265"
        )
    return f"{url['scheme'] or 'http'}://{url['host']}{url['port'] or ''}{(url['path'] or '').rstrip('/')}"


def parse_headers(text: str) -> dict[str, str]:
    """Return the headers of all requests from RAY_JOB_HEADERS, which `ray job` reads, too.

    Raises:
        FatalError: they are not headers. The message does not contain them, because they may be secrets.
    """
    try:
        headers = json.loads(text or "{}")
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(map(_is_header, headers, headers.values())):
        raise FatalError(
            'RAY_JOB_HEADERS: not the headers of requests, expected JSON such as {"X-Name": "value"}, with ASCII '
            "characters only"
        )
    return headers


def _is_header(name: object, value: object) -> bool:
    return isinstance(value, str) and _HEADER.fullmatch(f"{name}: {value}") is not None
