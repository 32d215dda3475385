"""A local web server that serves one file as badly as a test asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request, with the ways to answer it."""

    server: Server

    def do_GET(self) -> None:
        """Answer as the test's next behaviour for this path says."""
        self.server.seen.append((self.path, dict(self.headers)))
        path = self.path.split("?")[0]
        behaviours = self.server.behaviours[path]
        behaviour = behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]
        behaviour(self)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def answer(self, status: int, body: bytes = b"", **headers: str | None) -> None:
        """Send a whole answer; a header given as None is left out, underscores are hyphens."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def wanted_from(self) -> int:
        """The first byte asked for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


class Server(ThreadingHTTPServer):
    """Behaviours by path; each answers one request, the last one all that follow."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behaviours: dict[str, list[Behaviour]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    def serve(self, path: str, *behaviours: Behaviour) -> str:
        """Set the behaviours of a path and return its address."""
        self.behaviours[path] = list(behaviours)
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


@contextmanager
def running_server() -> Iterator[Server]:
    """Serve in a thread until the end of the block."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


# Behaviours


@dataclass
class File:
    """Serves bytes properly, ranges included, or with one fault.

    Attributes:
        body: the file.
        tag: its ETag; None sends none.
        dated: its Last-Modified; None sends none.
        drop_after: close the connection after so many bytes of the answer.
        stall_after: stop sending after so many bytes, for `stall_s`.
        announced: Content-Length of a whole answer, if it is a lie.
        ranges: whether it honours Range.
        extra: further headers.
    """

    body: bytes
    tag: str | None = '"v1"'
    dated: str | None = None
    drop_after: int | None = None
    stall_after: int | None = None
    stall_s: float = 1.0
    announced: int | None = None
    ranges: bool = True
    extra: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: Request) -> None:
        """Answer one request."""
        start = request.wanted_from() if self.ranges else 0
        unchanged = request.headers.get("If-Range", self.tag or self.dated) == (self.tag or self.dated)
        if not unchanged:
            start = 0
        size = len(self.body)
        if start and start >= size:
            request.answer(416, Content_Range=f"bytes */{size}")
            return
        rest = self.body[start:]
        request.send_response(206 if start else 200)
        for name, value in {**self.headers(start, len(rest)), **self.extra}.items():
            request.send_header(name, value)
        request.end_headers()
        self.send(request, rest)

    def headers(self, start: int, count: int) -> dict[str, str]:
        """The headers of an answer from `start` on."""
        length = count if self.announced is None or start else self.announced
        headers = {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        if self.tag:
            headers["ETag"] = self.tag
        if self.dated:
            headers["Last-Modified"] = self.dated
        return headers

    def send(self, request: Request, rest: bytes) -> None:
        """Send the bytes, as far as the fault allows."""
        if self.stall_after is not None:
            request.wfile.write(rest[: self.stall_after])
            request.wfile.flush()
            time.sleep(self.stall_s)
            rest = rest[self.stall_after :]
        request.wfile.write(rest if self.drop_after is None else rest[: self.drop_after])


def status(code: int, **headers: str | None) -> Behaviour:
    """Answer with an error."""
    return lambda request: request.answer(code, b"<html>sorry</html>", Content_Type="text/html", **headers)


def page(text: str) -> Behaviour:
    """Answer with a web page."""
    return lambda request: request.answer(200, text.encode(), Content_Type="text/html; charset=utf-8")


def redirect(to: str, **headers: str | None) -> Behaviour:
    """Lead elsewhere."""
    return lambda request: request.answer(302, b"", Location=to, **headers)
