"""Ray's client of the Jobs API, with timeouts, and with errors as one line each.

It overrides methods that are not part of Ray's public interface: there, requests have no timeout, and the status of a
response is only found in the text of an exception.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from pathlib import Path
from typing import Any, NoReturn

import requests
import urllib3
from packaging.requirements import Requirement
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from pipelines.environment import environment
from pipelines.errors import ClusterError, FatalError
from pipelines.formatting import excerpt

_TIMEOUT_S = (10.0, 120.0)  # to connect, and between bytes of a response
_TOKEN = "RAY_AUTH_TOKEN to the token of the cluster, or RAY_AUTH_TOKEN_PATH to a file with it"
_MAX_CHARS = 200


class UnknownJobError(FatalError):
    """The head has no job of this id."""


class JobExistsError(FatalError):
    """The head has a job of this id already."""


class HeadError(ClusterError):
    """The head, or a proxy in front of it, answers with an error."""


class JobClient(JobSubmissionClient):
    """A client of the Jobs API of one head.

    All methods raise FatalError for errors that the user must correct, and ClusterError if the head does not answer.

    Attributes:
        address: the URL of the head's dashboard.
    """

    def __init__(self, address: str, headers: dict[str, str]):
        self.address = address
        for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            with environment(RAY_API_SERVER_ADDRESS=address):  # which Ray prefers to an argument
                super().__init__(address, headers=headers)
        except (AuthenticationError, UnicodeDecodeError):  # as it reads the token, before the first request
            raise FatalError(f"RAY_AUTH_MODE is token, but no token is set; set {_TOKEN}") from None
        self._check_ray(str(self._server_ray_version))

    @property
    def is_on_this_machine(self) -> bool:
        """Whether a node of the cluster is on this machine: its processes have the name of the session as argument."""
        name = str(self._session).encode()
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # the process has ended
                if name in file.read_bytes():
                    return True
        return False

    def _check_connection_and_version(self, *_: Any, **__: Any) -> None:
        try:
            version = self._do_request("GET", "/api/version")
            if version.status_code >= 500:  # a proxy whose head has not started
                self._raise_error(version)
        except ClusterError as error:
            raise ClusterError(f"{error}; start the Ray head, or correct --address") from None
        try:
            answer = version.json()
            self._server_ray_version, self._session = answer["ray_version"], answer["session_name"]
        except (ValueError, KeyError, TypeError):
            raise FatalError(
                f"{self.address}: not the dashboard of a Ray head (status {version.status_code}); pass the URL of its "
                "dashboard, such as http://HOST:8265"
            ) from None

    def _check_ray(self, version: str) -> None:
        requirements = map(Requirement, importlib.metadata.requires("xlm-batch") or [])
        expected = next(found.specifier for found in requirements if found.name == "ray")
        if not expected.contains(version, prereleases=True):
            raise FatalError(
                f"{self.address}: the cluster runs Ray {version}, expected {expected}; use the image of infra/docker"
            )

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        try:
            response = super()._do_request(method, endpoint, timeout=_TIMEOUT_S, allow_redirects=False, **options)
        except AuthenticationError as error:
            needs = "requires a token" if "required" in str(error) else "refused the token"
            raise FatalError(f"{self.address}: the cluster {needs}; set RAY_AUTH_MODE=token, and {_TOKEN}") from None
        except (UnicodeEncodeError, requests.exceptions.InvalidHeader):
            raise FatalError(f"the token has characters that a header cannot have; set {_TOKEN}") from None
        except (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError):
            raise FatalError(f"{self.address}: not a URL, expected one such as http://HOST:8265") from None
        except requests.RequestException as error:
            raise ClusterError(f"{self.address}: no answer ({_reason(error)})") from None
        if response.is_redirect:
            raise FatalError(
                f"{self.address}: redirects to {excerpt(response.headers['Location'], _MAX_CHARS)}; pass the URL that "
                "answers without a redirect as --address, and headers for a login in RAY_JOB_HEADERS"
            )
        if endpoint.startswith("/api/jobs") and response.ok:
            self._check_json(response)
        return response

    def _check_json(self, response: requests.Response) -> None:
        """Check an answer, which Ray's client parses without handling errors. Proxies may answer with a page."""
        try:
            response.json()
        except ValueError:
            raise HeadError(f"{self.address}: status {response.status_code}, but no answer of Ray") from None

    def _raise_error(self, r: requests.Response) -> NoReturn:
        lines = r.text.rstrip(".\n").splitlines() or [r.reason]  # of a traceback, to which Ray may append a dot
        if r.status_code == requests.codes.not_found and "does not exist" in r.text:
            raise UnknownJobError(f"{self.address}: {excerpt(lines[-1], _MAX_CHARS)}")
        if "already exists" in r.text:
            raise JobExistsError(f"{self.address}: {excerpt(lines[-1], _MAX_CHARS)}")
        if r.status_code == requests.codes.request_entity_too_large:
            raise FatalError(
                f"{self.address}: a proxy in front of the head refuses the code, about 1 MB (status 413); raise its "
                "limit on the size of requests, or connect to the head directly"
            )
        raise HeadError(f"{self.address}: status {r.status_code}, {excerpt(lines[-1], _MAX_CHARS)}")


def _reason(error: BaseException) -> str:
    """Describe why a request failed: the innermost exception has the reason."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return (error.strerror if isinstance(error, OSError) else None) or excerpt(str(error), _MAX_CHARS)
