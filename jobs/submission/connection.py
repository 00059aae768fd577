"""Connect to the Jobs API of a cluster, with the headers that the environment gives."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import TYPE_CHECKING

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from jobs.submission.job_client import JobClient


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

    return JobClient(address if "://" in address else f"http://{address}", _headers())


def _headers() -> dict[str, str] | None:
    """Return the headers of all requests: RAY_JOB_HEADERS, which `ray job` reads too."""
    text = os.environ.get("RAY_JOB_HEADERS")
    try:
        headers = json.loads(text) if text else None
    except ValueError:
        headers = text
    if headers is not None and not isinstance(headers, dict):
        raise FatalError('RAY_JOB_HEADERS: expected JSON such as {"X-Name": "value"}')
    return headers
