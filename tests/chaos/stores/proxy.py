"""A proxy in front of an object store. It forwards requests, and injects the faults of a test."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from tests.chaos.stores.request_faults import RESPONSE_FAULTS, Fault, Faults, Request

_CHUNK = 1 << 16
_BODY_TIMEOUT_S = 5.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with zero seconds: closing sends RST instead of FIN


@dataclass
class _Hook:
    number: int
    when: str
    path: str
    action: Callable[[], object]


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        url: its address.
        faults: the faults that it injects.
        requests: the requests so far.
    """

    url: str
    faults: Faults
    requests: list[Request] = field(default_factory=list)
    _hooks: list[_Hook] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def mutations(self) -> list[Request]:
        """The requests that change the store, in their order of arrival."""
        return [request for request in list(self.requests) if request.mutates]

    def at(self, number: int, when: str, action: Callable[[], object], path: str = "") -> None:
        """Call a function once, at a coming request that changes the store.

        Args:
            number: the number of the request, counted from 1.
            when: "before" calls the function instead of forwarding the request; "after" calls it when the store has
                executed the request, and its response is lost.
            action: the function to call.
            path: count only requests whose path matches this regular expression somewhere.
        """
        assert when in ("before", "after")
        with self._mutex:
            self._hooks.append(_Hook(number, when, path, action))

    def reset(self) -> None:
        """Remove all requests, hooks and faults."""
        with self._mutex:
            self.requests.clear()
            self._hooks.clear()
            self.faults = Faults()

    def record(self, request: Request) -> _Hook | None:
        """Record a request, and return the hook to call for it, if any."""
        with self._mutex:
            self.requests.append(request)
            for hook in [hook for hook in self._hooks if request.mutates and re.search(hook.path, request.path)]:
                hook.number -= 1
                if hook.number == 0:
                    self._hooks.remove(hook)
                    return hook
        return None


@contextmanager
def run_proxy(upstream: str, faults: Faults | None = None) -> Iterator[Proxy]:
    """Run a proxy on loopback in front of the server at `upstream`, an http:// URL of host and port."""
    address = urlsplit(upstream)

    class Handler(_Handler):
        server_address = address.hostname or "", address.port or 80

    with _Server(("127.0.0.1", 0), Handler) as server:
        Handler.proxy = Proxy(f"http://127.0.0.1:{server.server_port}", faults or Faults())
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield Handler.proxy
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def shutdown_request(self, request):
        self.close_request(request)  # shutdown would send FIN before the reset

    def handle_error(self, request, client_address):
        pass  # the client has closed the connection, for example because it was killed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: ClassVar[Proxy]
    server_address: ClassVar[tuple[str, int]]

    def log_message(self, format, *args):
        pass

    def handle_expect_100(self):
        # If no body follows, the response comes at once, and Azure's client would take it for a part of this one
        return not self._has_body or super().handle_expect_100()

    def _handle(self) -> None:
        proxy, faults = self.proxy, self.proxy.faults
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, time.monotonic())
        hook, fault = proxy.record(request), faults.draw(request)
        if hook and hook.when == "before":
            self._read_body()
            hook.action()
            return self._reset()
        if fault is Fault.DELAY:
            faults.count(fault)
            time.sleep(faults.delay_s)
        elif fault is Fault.RESET:
            faults.count(fault)
            self._read_body()
            return self._reset()
        elif fault is Fault.RESET_IN_REQUEST and not self._has_body:
            faults.postpone(fault)
        elif fault in faults.replies:
            faults.count(fault)
            return self._refuse(*faults.replies[fault])
        with self._forward(truncate=fault is Fault.RESET_IN_REQUEST and self._has_body) as response:
            if response is None:
                faults.count(Fault.RESET_IN_REQUEST)
                return self._reset()
            if hook:
                response.read()
                hook.action()
                return self._reset()
            if fault is Fault.LOST_RESPONSE:
                faults.count(fault)
                response.read()
                return self._reset()
            return self._respond(response, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = _handle  # noqa: N815

    @contextmanager
    def _forward(self, *, truncate: bool) -> Iterator[HTTPResponse | None]:
        """Forward the request, and yield the response. With `truncate`, forward half of the body, and yield None."""
        connection = HTTPConnection(*self.server_address, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders()
            for data in self._half_body() if truncate else self._body():
                connection.send(data)
            yield None if truncate else connection.getresponse()
        finally:
            connection.close()

    @property
    def _is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    @property
    def _has_body(self) -> bool:
        return self._is_chunked or int(self.headers.get("Content-Length", 0)) > 0

    def _body(self) -> Iterator[bytes]:
        """Read the request's body as it was sent, with chunk headers.

        If a connection breaks in an upload, Azure's client sends only the rest as the whole body, and waits. A timeout
        ends that, as in a real store.
        """
        self.connection.settimeout(_BODY_TIMEOUT_S)
        left = 0 if self._is_chunked else int(self.headers.get("Content-Length", 0))
        while left:
            data = self.rfile.read(min(left, _CHUNK))
            if not data:
                raise ConnectionError("the client closed the connection in the middle of a body")
            left -= len(data)
            yield data
        more = self._is_chunked
        while more:
            line = self.rfile.readline()
            more = int(line.partition(b";")[0], 16)
            yield line + self.rfile.read(more) + self.rfile.readline()
        self.connection.settimeout(None)

    def _read_body(self) -> None:
        for _ in self._body():
            pass

    def _half_body(self) -> Iterator[bytes]:
        """Read the first half of a body, or of its first chunk."""
        line = self.rfile.readline() if self._is_chunked else b""
        size = int(line.partition(b";")[0], 16) if line else int(self.headers["Content-Length"])
        yield line + self.rfile.read(size // 2)

    def _respond(self, response: HTTPResponse, fault: Fault | None) -> None:
        length = response.headers.get("Content-Length")
        has_no_body = self.command == "HEAD" or response.status in (204, 304)
        body = b"" if has_no_body else response.read()
        truncated = len(body) // 2 if fault in RESPONSE_FAULTS and len(body) > 1 and response.status < 400 else None
        if truncated is not None:
            self.proxy.faults.count(fault)
        elif fault in RESPONSE_FAULTS:
            self.proxy.faults.postpone(fault)
        if not has_no_body:
            length = str(truncated if fault is Fault.TRUNCATED_UNNOTICED and truncated is not None else len(body))
        self.send_response_only(response.status, response.reason)
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body if truncated is None else body[:truncated])
        if truncated is not None and fault is Fault.RESET_IN_RESPONSE:
            time.sleep(0.05)  # a reset discards data that the client has not read yet
            self._reset()
        elif truncated is not None and fault is Fault.TRUNCATED:
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self._read_body()
        document = (
            f"<?xml version='1.0' encoding='UTF-8'?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        )
        body = b"" if self.command == "HEAD" else document.encode()
        self.send_response_only(status)
        self.send_header("x-ms-error-code", code)
        if body:
            self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True
