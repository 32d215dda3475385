"""Servers that hold a download for ever, fill the memory, or join two files: each ends in one line, soon."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from flaky_server import Behaviour, File, Request, Server, redirect, running_server, status

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint
from SAMMed2DLib.registry.download import DownloadError, DownloadPolicy, download

POLICY = DownloadPolicy(
    connect_timeout_s=5,
    answer_timeout_s=0.4,
    stall_timeout_s=0.4,
    backoff_s=0.01,
    max_backoff_s=0.02,
    attempts=2,
    reserve_bytes=0,
)
PATIENT = replace(POLICY, answer_timeout_s=10, stall_timeout_s=10, attempts=4)
MOST_SECONDS = 30  # these servers never end; two attempts take one second, on a busy computer more
MOST_BYTES = 16 << 20  # what an operating system may take before anyone reads it, and more
ENDLESS = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"


def weights_of(fill: int, legacy: bool = False, bytes_each: int = 50_000) -> bytes:
    """Weights of the same names and sizes, and other values."""
    buffer = io.BytesIO()
    state = {f"a.{i}": torch.full((bytes_each,), fill, dtype=torch.uint8) for i in range(6)}
    torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


OLD, NEW = weights_of(1), weights_of(2)
assert len(OLD) == len(NEW)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    shared_server.behaviours.clear()
    shared_server.seen.clear()
    return shared_server


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


# Content that changes between two answers


def continued(body: bytes, **headers: str) -> Behaviour:
    """Send the rest of a file whatever version was asked for."""

    def answer(request: Request) -> None:
        start = request.wanted_from()
        if not start:
            request.answer(200, body, **headers)
            return
        said = f"bytes {start}-{len(body) - 1}/{len(body)}"
        request.answer(206, body[start:], Content_Range=said, **headers)

    return answer


DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"tag": None}, {}),
        ({"tag": 'W/"v1"'}, {"ETag": 'W/"v1"'}),
        ({"tag": '"v1"'}, {"ETag": '"v1"'}),
        ({"tag": '"v1"'}, {"ETag": '"v2"'}),
        ({"tag": '"v1"'}, {}),
        ({"tag": None, "dated": DATE}, {"Last-Modified": DATE}),
    ],
    ids=["no mark", "weak", "same", "another", "mark withdrawn", "date"],
)
def test_halves_of_two_files_are_never_joined(server, target, first, then):
    headers = {name.replace("-", "_"): value for name, value in then.items()}
    url = server.serve("/w.pth", File(OLD, drop_after=150_000, **first), continued(NEW, **headers))
    download(url, target, policy=PATIENT)
    assert target.read_bytes() == NEW


def test_halves_of_two_files_are_not_joined_between_two_calls(server, target):
    url = server.serve("/w.pth", File(OLD, drop_after=150_000), status(404))
    with pytest.raises(DownloadError):
        download(url, target, policy=PATIENT)
    server.serve("/w.pth", continued(NEW, ETag='"v1"'))
    download(url, target, policy=PATIENT)
    assert target.read_bytes() == NEW


def test_with_a_known_checksum_a_wrong_continuation_is_found_and_the_file_begun_anew(server, target):
    known = hashlib.sha256(NEW).hexdigest()
    url = server.serve("/w.pth", File(OLD, tag=None, drop_after=150_000), continued(NEW))
    download(url, target, sha256=known, policy=PATIENT)
    assert target.read_bytes() == NEW
    assert [headers.get("Range") for _, headers in server.seen] == [None, "bytes=150000-", None]


def test_only_a_strong_mark_is_resumed_from(server, target):
    url = server.serve("/w.pth", File(OLD, tag='W/"v1"', drop_after=150_000), File(OLD))
    download(url, target, policy=PATIENT)
    assert [headers.get("Range") for _, headers in server.seen] == [None, None]
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("legacy", [False, True])
def test_what_does_not_open_as_a_checkpoint_is_never_called_good(server, target, legacy):
    whole = weights_of(3, legacy)
    holds_none = io.BytesIO()
    torch.save({"a.w": [1, 2, 3]}, holds_none, _use_new_zipfile_serialization=not legacy)
    for body in (whole[:200_000], whole[:-1] if legacy else whole[:-30], holds_none.getvalue(), b"PK\3\4" * 999):
        url = server.serve("/w.pth", File(body))
        with pytest.raises(DownloadError, match=r"what the server sent (is|holds|cannot)"):
            download(url, target, policy=PATIENT)
        assert list(target.parent.iterdir()) == []
    download(server.serve("/w.pth", File(whole)), target, policy=PATIENT)
    assert read_checkpoint(target).state["a.0"][0] == 3


# Servers that never end


class Endless:
    """Sends a beginning and then the same bytes again and again, counting them.

    Attributes:
        sent: bytes that left so far.
    """

    def __init__(self, beginning: str, again: bytes, pause_s: float = 0.0) -> None:
        self.beginning = beginning.encode("latin-1")
        self.again = again
        self.pause_s = pause_s
        self.sent = 0

    def __call__(self, request: Request) -> None:
        """Answer until the other side hangs up."""
        request.wfile.write(self.beginning)
        while True:
            request.wfile.write(self.again)
            request.wfile.flush()
            self.sent += len(self.again)
            time.sleep(self.pause_s)


def body_of(code: str, **headers: str) -> str:
    """The head of an answer whose body has no end."""
    lines = [f"HTTP/1.1 {code}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines) + "\r\n\r\n"


BLOCK = b"x" * 65_536
WEIGHTS_HEAD = "PK\3\4" + "x" * 12
CHUNKED = body_of("200 OK", Transfer_Encoding="chunked")
SERVERS: dict[str, Callable[[], Endless]] = {
    "a status line, letter by letter": lambda: Endless("HTTP/1.1 200 O", b"O", 0.02),
    "a header, letter by letter": lambda: Endless("HTTP/1.1 200 OK\r\nX-A: ", b"a", 0.02),
    "headers, one by one": lambda: Endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.02),
    "one header without end": lambda: Endless("HTTP/1.1 200 OK\r\nX-A: ", BLOCK),
    "headers without end": lambda: Endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 9000),
    "100 without end": lambda: Endless("", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "100 again and again": lambda: Endless("", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "no HTTP at all": lambda: Endless("", BLOCK),
    "silence": lambda: Endless("", b"", 0.05),
    "a body, byte by byte": lambda: Endless(body_of("200 OK", Content_Length="999999") + WEIGHTS_HEAD, b"x", 0.02),
    "a body without a length, byte by byte": lambda: Endless(body_of("200 OK") + WEIGHTS_HEAD, b"x", 0.02),
    "the size of a chunk, digit by digit": lambda: Endless(CHUNKED, b"0", 0.02),
    "trailers without end": lambda: Endless(CHUNKED + "4\r\nPK\3\4\r\n0\r\n", b"X: y\r\n" * 1000),
    "trailers, one by one": lambda: Endless(CHUNKED + "4\r\nPK\3\4\r\n0\r\n", b"X: y\r\n", 0.02),
    "a page, byte by byte": lambda: Endless(body_of("200 OK", Content_Type="text/html"), b"<", 0.02),
    "a page without end": lambda: Endless(body_of("200 OK", Content_Type="text/html"), b"<title" * 9000),
    "an error without end": lambda: Endless(body_of("404 Not Found"), BLOCK),
    "a failure without end": lambda: Endless(body_of("503 Busy"), BLOCK),
    "a redirect to itself without end": lambda: Endless(body_of("302 Found", Location="/w.pth"), BLOCK),
    "a redirect without end to a file that is none": lambda: Endless(body_of("302 Found", Location="/x"), BLOCK),
    "a file without end": lambda: Endless(body_of("200 OK") + "PK\3\4", BLOCK),
    "a chunked file without end": lambda: Endless(CHUNKED, b"10000\r\nPK\3\4" + BLOCK[4:] + b"\r\n"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_without_end_is_left(server, target, name):
    endless = SERVERS[name]()
    server.serve("/x", status(404))
    started = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        download(server.serve("/w.pth", endless), target, size_bytes=1 << 20, policy=POLICY)
    assert time.monotonic() - started < MOST_SECONDS
    assert endless.sent < MOST_BYTES
    assert_one_line(caught.value)
    assert not target.exists()


def assert_one_line(error: DownloadError) -> None:
    """A message for people: one line, with nothing of Python's."""
    words = str(error)
    assert words.isprintable() and len(words) < 400, words
    assert not any(word in words for word in ("Error", "Exception", "HTTPConnection", "object at", "timeout=")), words


def test_redirects_to_ever_new_places_end(server, target):
    count = 0

    def lead_on(request: Request) -> None:
        nonlocal count
        count += 1
        server.serve(f"/{count}", lead_on)
        redirect(f"/{count}")(request)

    with pytest.raises(DownloadError, match="redirects more than 10 times"):
        download(server.serve("/w.pth", lead_on), target, policy=PATIENT)
    assert count == 11


def test_slow_redirects_share_one_time(server, target):
    def slow(request: Request) -> None:
        time.sleep(0.15)
        redirect("/w.pth")(request)

    started = time.monotonic()
    with pytest.raises(DownloadError, match="took too long to answer"):
        download(server.serve("/w.pth", slow), target, policy=POLICY)
    assert time.monotonic() - started < MOST_SECONDS


def test_a_file_that_is_sent_again_and_again_ends(server, target):
    """Each answer brings more than what counts as progress, and none brings the end."""
    fast = replace(PATIENT, progress_bytes=10_000)
    answers = [File(OLD, tag=None, drop_after=count) for count in (20_000, 200_000) * 50]
    with pytest.raises(DownloadError, match="comes to no end"):
        download(server.serve("/w.pth", *answers), target, policy=fast)
    assert len(server.seen) < 40


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: " + "9" * 5000 + "\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Linked-Size: \xb2\xb3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nETag: \"" + "e" * 60_000 + "\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>\x1b[2J\x07evil</title>",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-1/" + "9" * 5000 + "\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://" + "a" * 70 + ".invalid:99999/\r\n\r\n",
        "HTTP/1.1 302 Found\r\n\r\n",
        "HTTP/1.1 404 \x1b[2J" + "no" * 9000 + "\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "\x00\x01\x02\r\n\r\n",
        "",
    ],
)  # fmt: skip
def test_answers_that_make_no_sense_end_in_one_line(server, target, answer):
    def send(request: Request) -> None:
        request.wfile.write(answer.encode("latin-1"))

    with pytest.raises(DownloadError) as caught:
        download(server.serve("/w.pth", send), target, policy=replace(POLICY, answer_timeout_s=3))
    assert_one_line(caught.value)
    assert not target.exists()
