"""Downloads from a local server that does what servers and lines do; no half file ever has the final name."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from flaky_server import Behaviour, File, Request, Server, page, redirect, running_server, status

from SAMMed2DLib.registry.download import (
    ChecksumError,
    DownloadCancelled,
    DownloadError,
    DownloadPolicy,
    NoConnectionError,
    download,
)
from SAMMed2DLib.registry.download.pages import confirmation_address
from SAMMed2DLib.registry.download.web_answers import RefusedError, refuse_downgrade

QUICK = DownloadPolicy(
    connect_timeout_s=10, stall_timeout_s=10, backoff_s=0.01, max_backoff_s=0.02, attempts=3, reserve_bytes=0
)
IMPATIENT = replace(
    QUICK, stall_timeout_s=0.2, attempts=20
)  # on a busy computer, a good server may be slow too


def weights_of(size: int, fill: int = 7, legacy: bool = False) -> bytes:
    """A file of torch with weights of so many bytes, all the same."""
    buffer = io.BytesIO()
    state = {"a.w": torch.full((size,), fill, dtype=torch.uint8)}
    torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


WEIGHTS = weights_of(300_000)
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


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
    return tmp_path / "models" / "weights.pth"


def beside(target: Path) -> list[str]:
    """Everything in the target's folder but the target."""
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def ranges(server: Server) -> list[str | None]:
    return [headers.get("Range") for _, headers in server.seen]


def test_a_good_server_gives_the_file_its_checksum_and_progress_up_to_the_end(server, target):
    url = server.serve("/w.pth", File(WEIGHTS))
    steps: list[tuple[int, int | None]] = []
    done = download(url, target, lambda *step: steps.append(step), policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert (done.path, done.sha256, done.size_bytes, done.url) == (target, SHA256, len(WEIGHTS), url)
    assert server.seen[0][1]["Accept-Encoding"] == "identity"
    assert steps[0] == (0, len(WEIGHTS))
    assert steps[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert [step[0] for step in steps] == sorted(step[0] for step in steps)
    assert beside(target) == []


def test_a_line_that_keeps_breaking_is_resumed_where_it_broke(server, target):
    faulty = File(WEIGHTS, drop_after=100_000)
    url = server.serve("/w.pth", faulty, faulty, File(WEIGHTS))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert [headers.get("If-Range") for _, headers in server.seen] == [None, '"v1"', '"v1"']


def test_failures_in_a_row_end_it_but_failures_after_progress_do_not(server, target):
    patient = replace(QUICK, attempts=2, progress_bytes=20_000)
    url = server.serve("/w.pth", File(WEIGHTS, drop_after=30_000))
    download(url, target, policy=patient)
    assert target.read_bytes() == WEIGHTS
    assert len(server.seen) == 11
    url = server.serve("/x.pth", File(WEIGHTS, drop_after=10_000))
    with pytest.raises(DownloadError, match=r"connection broke \(2 attempts, 20,000 bytes here\)"):
        download(url, target.with_name("x.pth"), policy=patient)


def test_a_broken_download_leaves_a_part_and_the_next_call_goes_on_from_it(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, drop_after=50_000), status(503))
    with pytest.raises(DownloadError, match="503"):
        download(url, target, policy=QUICK)
    assert not target.exists()
    assert [name.rsplit(".", 1)[1] for name in beside(target)] == ["part", "json"]
    server.serve("/w.pth", File(WEIGHTS))
    server.seen.clear()
    steps: list[tuple[int, int | None]] = []
    download(url, target, lambda *step: steps.append(step), policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert ranges(server) == ["bytes=50000-"]
    assert steps[0] == (50_000, len(WEIGHTS))
    assert beside(target) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"tag": '"v1"'}, {"tag": '"v2"'}),
        (
            {"tag": None, "dated": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"tag": None, "dated": "Tue, 02 Jan 2024 00:00:00 GMT"},
        ),
    ],
)
def test_a_file_that_changed_between_two_calls_is_begun_anew(server, target, first, second):
    url = server.serve("/w.pth", File(weights_of(300_000, fill=1), drop_after=50_000, **first), status(503))
    with pytest.raises(DownloadError):
        download(url, target, policy=QUICK)
    server.serve("/w.pth", File(WEIGHTS, **second))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS


def test_a_file_of_another_size_without_any_mark_is_begun_anew(server, target):
    url = server.serve("/w.pth", File(weights_of(200_000), tag=None, drop_after=50_000), status(503))
    with pytest.raises(DownloadError):
        download(url, target, policy=QUICK)
    server.serve("/w.pth", File(WEIGHTS, tag=None))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS


def test_a_file_that_shrank_below_the_part_is_begun_anew(server, target):
    small = weights_of(10_000)
    url = server.serve("/w.pth", File(WEIGHTS, tag=None, drop_after=50_000), status(503))
    with pytest.raises(DownloadError):
        download(url, target, policy=QUICK)
    server.serve("/w.pth", File(small, tag=None))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == small


def test_a_part_that_is_already_whole_is_accepted_at_416(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, drop_after=len(WEIGHTS) - 1), status(503))
    with pytest.raises(DownloadError):
        download(url, target, policy=QUICK)
    part = next(target.parent.glob("*.part"))
    part.write_bytes(WEIGHTS)
    server.serve("/w.pth", File(WEIGHTS))
    server.seen.clear()
    download(url, target, policy=QUICK)
    assert ranges(server) == [f"bytes={len(WEIGHTS)}-"]
    assert target.read_bytes() == WEIGHTS


def test_a_part_without_its_note_is_not_trusted(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, drop_after=50_000), status(503))
    with pytest.raises(DownloadError):
        download(url, target, policy=QUICK)
    next(target.parent.glob("*.json")).write_text("half a no")
    server.serve("/w.pth", File(WEIGHTS))
    server.seen.clear()
    download(url, target, policy=QUICK)
    assert ranges(server) == [None]


def test_a_server_without_ranges_starts_again_and_still_ends_right(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, drop_after=50_000, ranges=False), File(WEIGHTS, ranges=False))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS


def test_a_server_that_continues_at_another_place_is_not_believed(server, target):
    def shifted(request: Request) -> None:
        if start := request.wanted_from():
            rest = WEIGHTS[start - 5 : -5]
            said = f"bytes {start - 5}-{len(WEIGHTS) - 6}/{len(WEIGHTS)}"
            request.answer(206, rest, Content_Range=said, ETag='"v1"')
        else:
            File(WEIGHTS, drop_after=50_000)(request)

    url = server.serve("/w.pth", shifted, shifted, File(WEIGHTS))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS


def test_a_length_announced_too_long_never_becomes_a_file(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, announced=len(WEIGHTS) + 10, ranges=False))
    with pytest.raises(DownloadError, match=rf"connection broke \(3 attempts, {len(WEIGHTS):,} bytes here"):
        download(url, target, policy=QUICK)
    assert not target.exists()


def test_a_length_announced_too_short_never_becomes_a_file(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, announced=len(WEIGHTS) - 10))
    with pytest.raises(DownloadError, match="cut short"):
        download(url, target, policy=QUICK)
    assert not target.exists()
    assert beside(target) == []


def test_a_file_without_a_length_is_taken_when_it_is_whole(server, target):
    def without_length(cut: int) -> Behaviour:
        def behave(request: Request) -> None:
            request.answer(200, WEIGHTS[:cut], Content_Length=None)

        return behave

    url = server.serve("/w.pth", without_length(len(WEIGHTS)))
    totals = set()
    download(url, target, lambda _, total: totals.add(total), policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert totals == {None}
    url = server.serve("/x.pth", without_length(1000))
    with pytest.raises(DownloadError, match="cut short"):
        download(url, target.with_name("x.pth"), policy=QUICK)


def test_a_chunked_file_is_taken_and_a_broken_chunk_is_not_its_end(server, target):
    def chunked(pieces: int, end: bytes) -> Behaviour:
        def behave(request: Request) -> None:
            request.protocol_version = "HTTP/1.1"
            request.send_response(200)
            request.send_header("Transfer-Encoding", "chunked")
            request.send_header("Connection", "close")
            request.end_headers()
            for piece in range(pieces):
                data = WEIGHTS[piece * 50_000 : (piece + 1) * 50_000]
                request.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            request.wfile.write(end)
            request.close_connection = True

        return behave

    broken, whole = chunked(2, b""), chunked(7, b"0\r\n\r\n")
    url = server.serve("/w.pth", broken, whole)
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert len(server.seen) == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_an_answer_that_will_not_change_is_asked_for_once(server, target, code):
    url = server.serve("/w.pth", status(code))
    with pytest.raises(DownloadError, match=f"answers {code}.*browser"):
        download(url, target, policy=QUICK)
    assert len(server.seen) == 1
    assert beside(target) == []


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_an_answer_that_may_change_is_asked_for_again(server, target, code):
    url = server.serve("/w.pth", status(code), status(code, Retry_After="0"), File(WEIGHTS))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert len(server.seen) == 3


def test_a_servers_wish_to_wait_is_followed_up_to_a_limit(server, target):
    url = server.serve("/w.pth", status(429, Retry_After="86400"), File(WEIGHTS))
    started = time.monotonic()
    download(url, target, policy=replace(QUICK, max_backoff_s=0.2))
    assert 0.2 <= time.monotonic() - started < 30


def test_a_server_that_stalls_is_left_and_resumed(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, stall_after=40_000, stall_s=30), File(WEIGHTS))
    started = time.monotonic()
    download(url, target, policy=IMPATIENT)
    assert target.read_bytes() == WEIGHTS
    assert time.monotonic() - started < 20
    assert ranges(server)[:2] == [None, "bytes=40000-"]


def test_a_server_that_drips_is_a_server_that_stalls(server, target):
    def drip(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(WEIGHTS)))
        request.end_headers()
        for at in range(600):
            request.wfile.write(WEIGHTS[at : at + 1])
            request.wfile.flush()
            time.sleep(0.05)

    url = server.serve("/w.pth", drip, File(WEIGHTS))
    started = time.monotonic()
    download(url, target, policy=IMPATIENT)
    assert target.read_bytes() == WEIGHTS
    assert time.monotonic() - started < 20


def test_no_server_at_all_is_an_error_that_says_so_and_what_to_do(target):
    with pytest.raises(NoConnectionError) as told:
        download(["http://127.0.0.1:9/w.pth", "http://localhost:9/w.pth"], target, policy=QUICK)
    text = str(told.value)
    assert text.startswith("No connection to 127.0.0.1 or localhost: check the network")
    assert "browser" in text and len(text) < 200


def test_an_unreachable_source_is_not_asked_for_long(target):
    began = time.monotonic()
    with pytest.raises(NoConnectionError):
        policy = replace(QUICK, attempts=1000, backoff_s=0.05, unreachable_s=0.5)
        download("http://127.0.0.1:9/w.pth", target, policy=policy)
    assert 0.1 < time.monotonic() - began < 5


def test_further_attempts_are_told_with_their_number(server, target):
    told = []
    policy = replace(QUICK, on_retry=lambda number, count: told.append((number, count)))
    download(server.serve("/w.pth", status(503), status(503), File(WEIGHTS)), target, policy=policy)
    assert told == [(2, 3), (3, 3)]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/w.pth", "w.pth", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none_is_refused_at_once(target, url):
    with pytest.raises(DownloadError, match="request cannot be made"):
        download(url, target, policy=QUICK)


def test_no_source_is_the_callers_mistake(target):
    with pytest.raises(ValueError, match="no source"):
        download([], target, policy=QUICK)


# Wrong files


def test_a_web_page_is_refused_by_its_type_and_by_its_bytes(server, target):
    html = "<!DOCTYPE html><html><title>Sign  in &amp; pay</title></html>"
    url = server.serve("/w.pth", page(html))
    with pytest.raises(DownloadError, match=r"sent a web page \('Sign in & pay'\) instead of the file"):
        download(url, target, policy=QUICK)
    url = server.serve("/x.pth", File(html.encode() * 9))
    with pytest.raises(DownloadError, match="sent a web page instead of weights"):
        download(url, target, policy=QUICK)
    assert beside(target) == []
    assert not target.exists()


@pytest.mark.parametrize("body", [b"", b"PK", b"\x1f\x8b\x08 gzip, not weights", b"GIF89a" * 100])
def test_what_is_no_weights_file_is_refused_and_removed(server, target, body):
    url = server.serve("/w.pth", File(body))
    with pytest.raises(DownloadError, match="another kind of file instead of weights"):
        download(url, target, policy=QUICK)
    assert beside(target) == []
    download(url, target, weights=False, policy=QUICK)
    assert target.read_bytes() == body


def test_a_file_of_torchs_older_layout_is_weights_too(server, target):
    old = weights_of(1000, legacy=True)
    download(server.serve("/w.pth", File(old)), target, policy=QUICK)
    assert target.read_bytes() == old


def test_a_recompressed_answer_is_refused(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, extra={"Content-Encoding": "gzip"}))
    with pytest.raises(DownloadError, match="re-encoded"):
        download(url, target, policy=QUICK)


def test_a_wrong_checksum_removes_what_came_and_says_both(server, target):
    target.parent.mkdir()
    target.write_bytes(b"what was there before")
    url = server.serve("/w.pth", File(WEIGHTS))
    with pytest.raises(ChecksumError, match=f"{SHA256}.*{'0' * 64}"):
        download(url, target, sha256="0" * 64, policy=QUICK)
    assert target.read_bytes() == b"what was there before"
    assert beside(target) == []
    download(url, target, sha256=SHA256.upper(), policy=QUICK)
    assert target.read_bytes() == WEIGHTS


def test_the_checksum_that_a_host_announces_before_redirecting_is_held_to(server, target):
    storage = server.serve("/blob", File(WEIGHTS))
    size = str(len(WEIGHTS))
    good = server.serve("/good", redirect(storage, X_Linked_Etag=f'"{SHA256}"', X_Linked_Size=size))
    bad = server.serve("/bad", redirect(storage, X_Linked_Etag=f'"{"1" * 64}"', X_Linked_Size=size))
    short = server.serve("/short", redirect(storage, X_Linked_Size="17"))
    assert download(good, target, policy=QUICK).sha256 == SHA256
    with pytest.raises(ChecksumError, match="the server's one"):
        download(bad, target.with_name("x"), policy=QUICK)
    with pytest.raises(DownloadError, match="announces 17 bytes"):
        download(short, target.with_name("x"), policy=QUICK)
    assert beside(target) == []


# Ways to the file


def test_redirects_are_followed_and_resumed_and_circles_are_not(server, target):
    far = server.serve("/far", File(WEIGHTS, drop_after=50_000), File(WEIGHTS))
    url = server.serve("/w.pth", redirect("/middle"))
    server.serve("/middle", redirect(far))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    circle = server.serve("/circle", redirect("/circle"))
    with pytest.raises(DownloadError, match="redirects more than 10 times"):
        download(circle, target, policy=QUICK)


def test_the_next_source_is_tried_and_each_failure_is_told(server, target):
    missing = server.serve("/missing", status(404))
    sign_in = server.serve("/page", page("<html><title>Sign in</title></html>"))
    good = server.serve("/good", File(WEIGHTS))
    assert download([missing, sign_in, good], target, policy=QUICK).url == good
    assert beside(target) == []
    with pytest.raises(DownloadError) as caught:
        download([missing, sign_in], target.with_name("x"), policy=QUICK)
    for words in (missing, "404", sign_in, "Sign in"):
        assert words in str(caught.value)


def test_a_source_with_the_wrong_file_does_not_stop_the_next(server, target):
    wrong = server.serve("/wrong", File(weights_of(1000)))
    good = server.serve("/good", File(WEIGHTS))
    assert download([wrong, good], target, sha256=SHA256, policy=QUICK).url == good
    with pytest.raises(ChecksumError):
        download([wrong, wrong + "?again"], target, sha256=SHA256, policy=QUICK)


def test_what_one_source_left_is_not_continued_from_another(server, target):
    first = server.serve("/first", File(weights_of(300_000, fill=1), tag=None, drop_after=50_000), status(404))
    second = server.serve("/second", File(WEIGHTS, tag=None))
    download([first, second], target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert beside(target) == []


CONFIRMATION = """<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p>Too large to scan for viruses. Would you still like to download this file?</p>
<form id="download-form" action="{action}" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="abc"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1-2&amp;3">
</form></body></html>"""


def test_the_confirmation_page_of_google_drive_is_confirmed_also_when_resuming(server, target):
    url = (
        server.serve("/download", page(CONFIRMATION.format(action="/confirmed"))) + "?id=abc&export=download"
    )
    server.serve("/confirmed", File(WEIGHTS, drop_after=50_000), File(WEIGHTS))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert [path for path, _ in server.seen if path.startswith("/confirmed")] == [
        "/confirmed?id=abc&export=download&confirm=t&uuid=1-2%263"
    ] * 2


def test_a_confirmation_that_leads_to_another_page_is_refused(server, target):
    url = server.serve("/download", page(CONFIRMATION.format(action="/download")))
    with pytest.raises(DownloadError, match="Virus scan warning"):
        download(url, target, policy=QUICK)
    assert len(server.seen) == 2


def test_a_confirmation_leads_only_to_the_same_house():
    drive = "https://drive.usercontent.google.com/download"
    page_url = "https://drive.google.com/uc?id=abc"
    assert confirmation_address(CONFIRMATION.format(action=drive), page_url) == (
        f"{drive}?id=abc&export=download&confirm=t&uuid=1-2%263"
    )
    for action in (
        "https://evil.example/x",
        "https://evilgoogle.com/x",
        "https://google.com.evil.example/",
        "",
    ):
        assert confirmation_address(CONFIRMATION.format(action=action), page_url) is None
    assert confirmation_address("<html><form action='/x'></form></html>", page_url) is None


def test_the_daily_limit_of_google_drive_is_told_in_plain_words(server, target):
    url = server.serve("/w.pth", page("<html><title>Google Drive - Quota exceeded</title></html>"))
    with pytest.raises(DownloadError, match=r"daily limit.*24 hours"):
        download(url, target, policy=QUICK)


# The machine at this end


def test_cancelling_keeps_the_part_and_the_next_call_resumes(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, stall_after=60_000, stall_s=0.1))
    arrived = [0]

    def note(done: int, _: int | None) -> None:
        arrived[0] = done

    with pytest.raises(DownloadCancelled, match="goes on from here"):
        download(url, target, note, lambda: arrived[0] >= 60_000, policy=QUICK)
    assert not target.exists()
    kept = next(target.parent.glob("*.part")).stat().st_size
    assert kept >= 60_000
    server.serve("/w.pth", File(WEIGHTS))
    server.seen.clear()
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS
    assert ranges(server) == [f"bytes={kept}-"]


def test_cancelling_works_before_the_first_byte_and_while_waiting_to_retry(server, target):
    url = server.serve("/w.pth", status(503, Retry_After="60"))
    with pytest.raises(DownloadCancelled):
        download(url, target, should_cancel=lambda: True, policy=QUICK)
    assert server.seen == []
    asked = count()
    started = time.monotonic()
    slow = replace(QUICK, max_backoff_s=60)
    with pytest.raises(DownloadCancelled):
        download(url, target, should_cancel=lambda: next(asked) > 2, policy=slow)
    assert time.monotonic() - started < 30


def test_a_full_disk_is_told_before_the_first_byte(server, target, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    good = server.serve("/good", File(WEIGHTS))
    with pytest.raises(DownloadError, match=r"0.0 GB free.*Free some space"):
        download([good, good + "?other"], target, policy=QUICK)
    assert len(server.seen) == 1
    assert not list(target.parent.glob("*.part"))


def test_the_expected_size_serves_where_the_server_says_none(server, target):
    url = server.serve("/w.pth", lambda request: request.answer(200, WEIGHTS, Content_Length=None))
    with pytest.raises(DownloadError, match="Free some space"):
        download(url, target, size_bytes=1 << 60, policy=QUICK)


def test_a_folder_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("")
    url = server.serve("/w.pth", File(WEIGHTS))
    with pytest.raises(DownloadError, match="cannot be written"):
        download(url, tmp_path / "file" / "w.pth", policy=QUICK)


def test_an_error_of_the_disk_in_the_middle_is_told_and_is_no_retry(server, target):
    url = server.serve("/w.pth", File(WEIGHTS))

    def full(done: int, _: int | None) -> None:
        if done:
            raise OSError(28, "No space left on device")

    with pytest.raises(DownloadError, match=r"cannot be written \(No space left"):
        download(url, target, full, policy=QUICK)
    assert len(server.seen) == 1


def test_two_downloads_of_one_file_do_not_mix(server, target):
    url = server.serve("/w.pth", File(WEIGHTS, stall_after=50_000, stall_s=0.1))
    running = threading.Event()
    results: list[object] = []

    def first() -> None:
        results.append(download(url, target, lambda *_: running.set(), policy=QUICK))

    thread = threading.Thread(target=first)
    thread.start()
    assert running.wait(5)
    with pytest.raises(DownloadError, match=r"Another download of weights\.pth is running"):
        download(url, target, policy=QUICK)
    thread.join()
    assert target.read_bytes() == WEIGHTS
    assert len(results) == 1
    download(url, target, policy=QUICK)  # the lock is free again
    assert beside(target) == []


def test_many_downloads_at_once_leave_one_whole_file(server, target):
    url = server.serve("/w.pth", File(WEIGHTS))
    outcomes: list[str] = []

    def one() -> None:
        try:
            download(url, target, policy=QUICK)
            outcomes.append("done")
        except DownloadError as error:
            outcomes.append("busy" if "Another download" in str(error) else str(error))

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(outcomes) <= {"done", "busy"}
    assert "done" in outcomes
    assert target.read_bytes() == WEIGHTS
    assert beside(target) == []


def test_an_existing_file_stays_until_a_whole_one_replaces_it(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    url = server.serve("/w.pth", File(WEIGHTS, drop_after=1000, ranges=False))
    with pytest.raises(DownloadError):
        download(url, target, policy=QUICK)
    assert target.read_bytes() == b"old"
    server.serve("/w.pth", File(WEIGHTS))
    download(url, target, policy=QUICK)
    assert target.read_bytes() == WEIGHTS


def test_a_way_from_an_encrypted_to_an_open_address_is_refused():
    refuse_downgrade(["http://a/x", "http://a/x", "https://b/x", "https://c/x"])
    for way in (
        ["https://a/x", "http://b/x"],
        ["http://a/x", "https://b/x", "http://c/x", "https://d/x"],
        ["https://a/x", "http://a/confirmed"],  # the form of a confirmation page leads down
    ):
        with pytest.raises(RefusedError, match="unencrypted"):
            refuse_downgrade(way)
