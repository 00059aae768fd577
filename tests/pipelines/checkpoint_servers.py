"""Two small servers on loopback, an object store and a model hub: as much of either as their real clients ask for."""

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


class Shelf:
    """What a server holds, what it was asked for, and how it misbehaves."""

    def __init__(self, files: dict[str, bytes]):
        self.files = dict(files)
        self.modified = dict.fromkeys(files, 0)  # seconds into 2026
        self.bodies: Counter[str] = Counter()  # GETs, by name
        self.listings = 0
        self.denied = False
        self.portal = False  # every request gets the page of a network that wants a login first
        self.broken: dict[str, int] = {}  # of how many GETs of a file the connection breaks off half-way
        self.stalled: str | None = None  # this file stops half-way, until `go_on`
        self.half_sent, self.go_on = threading.Event(), threading.Event()

    def replace(self, name: str, data: bytes) -> None:
        self.files[name] = data
        self.modified[name] = self.modified.get(name, 0) + 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shelf: ClassVar[Shelf]

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
        shelf, data = self.shelf, self.shelf.files[name]
        if self.command == "HEAD":
            self.reply(200, b"", Content_Length=str(len(data)), **headers)
            return
        shelf.bodies[name] += 1
        status = 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            headers["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
            status, data = 206, data[first : last + 1]
        half = len(data) // 2
        self.reply(status, data[:half], Content_Length=str(len(data)), **headers)
        if shelf.broken.get(name, 0):
            shelf.broken[name] -= 1
            self.close_connection = True
            return
        if shelf.stalled == name:
            shelf.half_sent.set()
            shelf.go_on.wait(60)
        self.wfile.write(data[half:])


class _ObjectStore(_Handler):
    """`GET /bucket?list-type=2&prefix=`, `HEAD` and `GET /bucket/key`; the bucket is called `bucket`."""

    def do_GET(self):
        shelf, asked = self.shelf, urlsplit(self.path)
        if shelf.denied:
            code = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.reply(403, code.encode() if self.command == "GET" else b"", Content_Type="application/xml")
            return
        query = parse_qs(asked.query)
        if "list-type" in query:
            shelf.listings += 1
            listing = self._listing(query.get("prefix", [""])[0], query.get("delimiter", [None])[0])
            self.reply(200, listing, Content_Type="application/xml")
            return
        name = unquote(asked.path).removeprefix("/bucket/")
        if name not in shelf.files:
            self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>" if self.command == "GET" else b"")
            return
        self.send_file(name, ETag=f'"{hash(shelf.files[name])}"', Last_Modified=self._http_date(name))

    def do_HEAD(self):
        self.do_GET()

    def _listing(self, prefix: str, delimiter: str | None) -> bytes:
        found, folders = [], set()
        for name in sorted(self.shelf.files):
            inner = name.removeprefix(prefix)
            if name.startswith(prefix) and delimiter and delimiter in inner:
                folders.add(prefix + inner.partition(delimiter)[0] + delimiter)
            elif name.startswith(prefix):
                time = f"2026-01-01T00:00:{self.shelf.modified[name]:02d}.000Z"
                size = len(self.shelf.files[name])
                found.append(f"<Key>{escape(name)}</Key><Size>{size}</Size><LastModified>{time}</LastModified>")
        head = f"<Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        contents = "".join(f"<Contents>{entry}</Contents>" for entry in found)
        below = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders))
        return f'<?xml version="1.0"?><ListBucketResult>{head}{contents}{below}</ListBucketResult>'.encode()

    def _http_date(self, name: str) -> str:
        return f"Thu, 01 Jan 2026 00:00:{self.shelf.modified[name]:02d} GMT"


class _ModelHub(_Handler):
    """`/org/name/resolve/REVISION/FILE` and `/api/models/org/name/tree/REVISION`; `main` is the shelf's own hash."""

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        resolve = re.fullmatch(r"/org/name/resolve/([^/]+)/(.+)", path)
        tree = re.fullmatch(r"/api/models/org/name/tree/([^/]+)/?", path)
        if self.shelf.portal:
            self.reply(200, b"<html>", Content_Type="text/html")
            return
        if self.shelf.denied or not (resolve or tree):
            self.reply(401, X_Error_Code="RepoNotFound", X_Error_Message="no such repository")
            return
        commit = commit_of(self.shelf)
        if (resolve or tree)[1] not in ("main", commit):
            self.reply(404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
        elif tree:
            self.shelf.listings += 1
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.shelf.files.items()
            ]
            self.reply(200, json.dumps(entries).encode(), Content_Type="application/json")
        elif resolve[2] not in self.shelf.files:
            self.reply(404, X_Error_Code="EntryNotFound", X_Error_Message="no such file", X_Repo_Commit=commit)
        else:
            etag = hashlib.sha1(self.shelf.files[resolve[2]]).hexdigest()
            self.send_file(resolve[2], ETag=f'"{etag}"', X_Repo_Commit=commit)

    def do_HEAD(self):
        self.do_GET()


def commit_of(shelf: Shelf) -> str:
    """A commit follows from the content, as git has it."""
    return hashlib.sha1(repr(sorted(shelf.files.items())).encode()).hexdigest()


@contextmanager
def _serving(handler: type[_Handler], shelf: Shelf) -> Iterator[str]:
    kind = type(handler.__name__, (handler,), {"shelf": shelf})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        shelf.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def object_store(shelf: Shelf):
    """Serve a shelf as `s3://bucket`; gives what AWS_ENDPOINT_URL is to be."""
    return _serving(_ObjectStore, shelf)


def model_hub(shelf: Shelf):
    """Serve a shelf as `hf://org/name`; gives what HF_ENDPOINT is to be."""
    return _serving(_ModelHub, shelf)
