"""Local servers for tests: an object store and a model hub, with the requests that their clients send."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class ServedFiles:
    """The files of a server, the requests that it received, and its faults."""

    def __init__(self, files: dict[str, bytes]):
        self.files = dict(files)
        self.modified = dict.fromkeys(files, 0)  # seconds into 2026
        self.downloads: Counter[str] = Counter()  # number of GETs by name
        self.listings = 0
        self.denies_access = False
        self.needs_login = False  # whether every response is the login page of a network
        self.num_broken: dict[str, int] = {}  # number of GETs of a file that break off in the middle
        self.stalled_file: str | None = None  # a file that is sent only half, until `resume` is set
        self.half_is_sent, self.resume = threading.Event(), threading.Event()

    def replace(self, name: str, data: bytes) -> None:
        self.files[name] = data
        self.modified[name] = self.modified.get(name, 0) + 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[ServedFiles]

    def log_message(self, format, *args):
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, name: str, **headers: str) -> None:
        served, data = self.served, self.served.files[name]
        if self.command == "HEAD":
            self.reply(200, b"", Content_Length=str(len(data)), **headers)
            return
        served.downloads[name] += 1
        status = 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
            status, data = 206, data[first : last + 1]
        half = len(data) // 2
        self.reply(status, data[:half], Content_Length=str(len(data)), **headers)
        if served.num_broken.get(name, 0):
            served.num_broken[name] -= 1
            self.close_connection = True
            return
        if served.stalled_file == name:
            served.half_is_sent.set()
            served.resume.wait(240)
        self.wfile.write(data[half:])


class _ObjectStore(_Handler):
    """`GET /bucket?list-type=2&prefix=`, `HEAD` and `GET /bucket/key`; the bucket is called `bucket`."""

    def do_GET(self):
        served, url = self.served, urlsplit(self.path)
        if served.denies_access:
            code = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.reply(403, code.encode() if self.command == "GET" else b"", Content_Type="application/xml")
            return
        query = parse_qs(url.query)
        if "list-type" in query:
            served.listings += 1
            listing = self._listing(query.get("prefix", [""])[0], query.get("delimiter", [None])[0])
            self.reply(200, listing, Content_Type="application/xml")
            return
        name = unquote(url.path).removeprefix("/bucket/")
        if name not in served.files:
            self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>" if self.command == "GET" else b"")
            return
        self.send_file(name, ETag=f'"{hash(served.files[name])}"', Last_Modified=self._http_date(name))

    def do_HEAD(self):
        self.do_GET()

    def _listing(self, prefix: str, delimiter: str | None) -> bytes:
        found, folders = [], set()
        for name in sorted(self.served.files):
            inner = name.removeprefix(prefix)
            if name.startswith(prefix) and delimiter and delimiter in inner:
                folders.add(prefix + inner.partition(delimiter)[0] + delimiter)
            elif name.startswith(prefix):
                time = f"2026-01-01T00:00:{self.served.modified[name]:02d}.000Z"
                size = len(self.served.files[name])
                found.append(f"<Key>{escape(name)}</Key><Size>{size}</Size><LastModified>{time}</LastModified>")
        head = f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        contents = "".join(f"<Contents>{entry}</Contents>" for entry in found)
        below = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders))
        return f'<?xml version="1.0"?><ListBucketResult>{head}{contents}{below}</ListBucketResult>'.encode()

    def _http_date(self, name: str) -> str:
        return f"Thu, 01 Jan 2026 00:00:{self.served.modified[name]:02d} GMT"


class _ModelHub(_Handler):
    """`/org/name/resolve/REVISION/FILE` and `/api/models/org/name/tree/REVISION`; `main` is the commit of the files."""

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        resolve = re.fullmatch(r"/org/name/resolve/([^/]+)/(.+)", path)
        tree = re.fullmatch(r"/api/models/org/name/tree/([^/]+)/?", path)
        if self.served.needs_login:
            self.reply(200, b"<html>", Content_Type="text/html")
            return
        if self.served.denies_access or not (resolve or tree):
            self.reply(401, X_Error_Code="RepoNotFound", X_Error_Message="no such repository")
            return
        commit = commit_of(self.served)
        if (resolve or tree)[1] not in ("main", commit):
            self.reply(404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
        elif tree:
            self.served.listings += 1
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.served.files.items()
            ]
            self.reply(200, json.dumps(entries).encode(), Content_Type="application/json")
        elif resolve[2] not in self.served.files:
            self.reply(404, X_Error_Code="EntryNotFound", X_Error_Message="no such file", X_Repo_Commit=commit)
        else:
            etag = hashlib.sha1(self.served.files[resolve[2]]).hexdigest()
            self.send_file(resolve[2], ETag=f'"{etag}"', X_Repo_Commit=commit)

    def do_HEAD(self):
        self.do_GET()


def commit_of(served: ServedFiles) -> str:
    """Return a commit that depends on the content, as in git."""
    return hashlib.sha1(repr(sorted(served.files.items())).encode()).hexdigest()


@contextmanager
def _serve(handler: type[_Handler], served: ServedFiles) -> Iterator[str]:
    kind = type(handler.__name__, (handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        served.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()


def object_store(served: ServedFiles):
    """Serve files as `s3://bucket`; the context manager yields the value for AWS_ENDPOINT_URL."""
    return _serve(_ObjectStore, served)


def model_hub(served: ServedFiles):
    """Serve files as `hf://org/name`; the context manager yields the value for HF_ENDPOINT."""
    return _serve(_ModelHub, served)
