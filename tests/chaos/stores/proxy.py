"""A proxy before an object store: it passes requests on, and misbehaves where a test's plan says so."""

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

from tests.chaos.stores.request_faults import OF_RESPONSE, Fault, Faults, Request

_CHUNK = 1 << 16
_BODY_WITHIN_S = 5.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: close sends RST, not FIN


@dataclass
class _Hook:
    number: int
    when: str
    path: str
    action: Callable[[], object]


@dataclass
class Proxy:
    """A running proxy: where it listens, its plan, and what came through it so far."""

    url: str
    faults: Faults
    requests: list[Request] = field(default_factory=list)
    _hooks: list[_Hook] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def mutations(self) -> list[Request]:
        """The requests that change something in the store, in the order in which they came."""
        return [request for request in list(self.requests) if request.mutates]

    def at(self, number: int, when: str, action: Callable[[], object], path: str = "") -> None:
        """Do something at the `number`-th mutating request from now on (the first is 1), "before" or "after" it.

        Only those count in whose path the regular expression `path` is found. An action before a request is done in
        its place: it never reaches the store. After it, the store has done it, and its answer is lost.
        """
        assert when in ("before", "after")
        with self._mutex:
            self._hooks.append(_Hook(number, when, path, action))

    def forget(self) -> None:
        """Begin anew: no requests seen, no hooks, no faults to come."""
        with self._mutex:
            self.requests.clear()
            self._hooks.clear()
            self.faults = Faults()

    def note(self, request: Request) -> _Hook | None:
        """Take a request down, and give the hook whose turn it is."""
        with self._mutex:
            self.requests.append(request)
            for hook in [hook for hook in self._hooks if request.mutates and re.search(hook.path, request.path)]:
                hook.number -= 1
                if hook.number == 0:
                    self._hooks.remove(hook)
                    return hook
        return None


@contextmanager
def proxy(upstream: str, faults: Faults | None = None) -> Iterator[Proxy]:
    """Run a proxy on loopback before the server at `upstream`, an http:// URL of host and port."""
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
        self.close_request(request)  # without the FIN that would come before a reset

    def handle_error(self, request, client_address):
        pass  # a client that went away, as a killed one does


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: ClassVar[Proxy]
    server_address: ClassVar[tuple[str, int]]

    def log_message(self, format, *args):
        pass

    def handle_expect_100(self):
        # Azure's client takes the answer for a part of the go-ahead if both come at once, as where no body is to come
        return not self._has_body or super().handle_expect_100()

    def _handle(self) -> None:
        proxy, faults = self.proxy, self.proxy.faults
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, time.monotonic())
        hook, fault = proxy.note(request), faults.draw(request)
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
            faults.put_off(fault)
        elif fault in faults.replies:
            faults.count(fault)
            return self._refuse(*faults.replies[fault])
        with self._forward(cut=fault is Fault.RESET_IN_REQUEST and self._has_body) as response:
            if response is None:
                faults.count(Fault.RESET_IN_REQUEST)
                return self._reset()
            if hook:
                response.read()
                hook.action()
                return self._reset()
            if fault is Fault.LOST_ACK:
                faults.count(fault)
                response.read()
                return self._reset()
            return self._answer(response, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = _handle  # noqa: N815

    @contextmanager
    def _forward(self, *, cut: bool) -> Iterator[HTTPResponse | None]:
        """Pass the request on; where its body is to be cut, half of it, and there is no response."""
        connection = HTTPConnection(*self.server_address, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders()
            for piece in self._half_body() if cut else self._body():
                connection.send(piece)
            yield None if cut else connection.getresponse()
        finally:
            connection.close()

    @property
    def _is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    @property
    def _has_body(self) -> bool:
        return self._is_chunked or int(self.headers.get("Content-Length", 0)) > 0

    def _body(self) -> Iterator[bytes]:
        """Read the request's body as it stands on the wire.

        Azure's client, when a connection breaks within an upload, sends the rest of it as if it were the whole, and
        waits: it is given up on, as a store would.
        """
        self.connection.settimeout(_BODY_WITHIN_S)
        left = 0 if self._is_chunked else int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, _CHUNK))
            if not piece:
                raise ConnectionError("the client went away within a body")
            left -= len(piece)
            yield piece
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

    def _answer(self, response: HTTPResponse, fault: Fault | None) -> None:
        length = response.headers.get("Content-Length")
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        body = b"" if bodiless else response.read()
        cut = len(body) // 2 if fault in OF_RESPONSE and len(body) > 1 and response.status < 400 else None
        if cut is not None:
            self.proxy.faults.count(fault)
        elif fault in OF_RESPONSE:
            self.proxy.faults.put_off(fault)
        if not bodiless:
            length = str(cut if fault is Fault.CUT_UNSEEN and cut is not None else len(body))
        self.send_response_only(response.status, response.reason)
        for name, value in response.headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None and fault is Fault.RESET_IN_RESPONSE:
            time.sleep(0.05)  # a reset overtakes what the client's kernel holds: let the client read its half first
            self._reset()
        elif cut is not None and fault is Fault.CUT:
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
