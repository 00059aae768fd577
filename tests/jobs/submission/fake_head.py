"""A server that answers some requests as the head of a cluster does."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHead(ThreadingHTTPServer):
    """Answers as the dashboard of a head that is not suitable.

    Attributes:
        answers: status and body for each method and path; all others are answered with 404. The body of a redirect is
            its target.
        requests: the methods and paths that were requested.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[tuple[str, str], tuple[int, object]] = {
            ("GET", "/api/version"): (200, {"ray_version": "2.60.0", "session_name": "session_elsewhere"}),
            ("GET", "/api/jobs/"): (200, []),
        }
        self.requests: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: FakeHead

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = "/api/packages" if self.path.startswith("/api/packages") else self.path
        self.server.requests.append((self.command, path))
        status, body = self.server.answers.get((self.command, path), (404, "not found"))
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        if status // 100 == 3:
            self.send_header("Location", body)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass
