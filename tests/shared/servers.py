"""A web server on this machine that can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import cl_bench.data.prepare.fetch as fetching


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        told, asked = self.server, self.headers.get("Range")
        told.requests.append((self.path, asked))
        content = told.files.get(self.path, b"")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and told.ranges else 0
        status = 404 if self.path not in told.files else 416 if start and start >= len(content) else 0
        if told.statuses.get(self.path):
            status = told.statuses[self.path].pop(0)
        if status:
            return self.send_error(status)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start - told.shift}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: (told.cuts.get(self.path) or [None]).pop(0)])
        return None

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) on 127.0.0.1 and keeps (path, Range header) of all `requests`.

    cuts: path -> after how many bytes to close the connection, for one request after the other; statuses: path -> what
    to answer instead of the file, likewise; ranges: whether it knows Range; shift: bytes by which it misses the range.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.cuts: dict[str, list[int]] = {}
        self.statuses: dict[str, list[int]] = {}
        self.ranges, self.shift = True, 0


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.0)
    with Server() as one:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        yield one
        one.shutdown()
