"""Download a large file over connections that break: resumed, verified, and never half under its final name.

What has arrived is kept in a `.part` file beside the target, one for each source, with the server's mark of
the file's version; a later call goes on from there. Nothing is asked of anyone: progress and cancelling are
callbacks.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError, check_opens
from SAMMed2DLib.registry.download.metered import Meter, metered_session
from SAMMed2DLib.registry.download.part_file import PartFile
from SAMMed2DLib.registry.download.web_answers import Client, FileResponse, PassingError, RefusedError, UnreachableError
from SAMMed2DLib.system.locks import FileBusyError, lock_beside

Progress = Callable[[int, "int | None"], object]
"""Called with the bytes that have arrived, earlier ones included, and the file's size if it is known."""
_HEAD_BYTES = 16
_ZIP_MAGIC = b"PK\x03\x04"
_OLD_TORCH_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF"
_CHUNK_BYTES = 1 << 20
_LARGEST_BYTES = 16 << 30  # where nobody says how large the file is
_MAX_SURPLUS = 2  # times the expected size; what the caller expects is a rough number
_MAX_TIMES_SENT = 5
_DISK_STEP_BYTES = 64 << 20
_NAP_S = 0.1
_ADVICE = "Check the connection, or get the file with a browser and add it by its path."


class DownloadError(OSError):
    """The file could not be downloaded; the message says why, for each source, and what to do."""


class DownloadCancelled(DownloadError):
    """The caller cancelled. What has arrived is kept for the next call."""


class NoConnectionError(DownloadError):
    """No server could be reached."""

    def __init__(self, *hosts: str) -> None:
        """Name the servers, and say what to do."""
        super().__init__(
            f"No connection to {' or '.join(dict.fromkeys(hosts))}: check the network, and a proxy or firewall if "
            "there is one, and try again; or get the file with a browser and add it by its path."
        )
        self.hosts = hosts


class ChecksumError(DownloadError):
    """Every byte arrived, but they are not the expected file. What arrived was removed."""


@dataclass(frozen=True)
class DownloadPolicy:
    """How patient a download is.

    Attributes:
        connect_timeout_s: wait for a connection, with each address of a server.
        unreachable_s: give a source up that could not be reached for so long, unless something of it has arrived.
        answer_timeout_s: end an attempt where the file does not begin so long after it was asked for, on all its
            redirects together.
        stall_timeout_s: end an attempt after so long without a byte, or with fewer than `stall_bytes`.
        stall_bytes: what counts as moving.
        attempts: failures in a row, at one source, before it is given up. Failures after real progress
            (`progress_bytes`) start the count anew, so that a bad line still gets a large file through.
        progress_bytes: what counts as real progress.
        backoff_s: wait before the second attempt; it doubles up to `max_backoff_s`.
        max_backoff_s: longest wait, also where a server asks for more.
        reserve_bytes: disk space to leave free beyond the file itself.
        on_retry: called in the caller's thread before another attempt, with its number and how many there are.
    """

    connect_timeout_s: float = 4.0
    unreachable_s: float = 8.0
    answer_timeout_s: float = 30.0
    stall_timeout_s: float = 30.0
    stall_bytes: int = 32 << 10
    attempts: int = 5
    progress_bytes: int = 1 << 20
    backoff_s: float = 1.0
    max_backoff_s: float = 30.0
    reserve_bytes: int = 256 << 20
    on_retry: Callable[[int, int], object] | None = None


@dataclass(frozen=True)
class Downloaded:
    """A complete download.

    Attributes:
        path: the file.
        sha256: its checksum, computed from the disk.
        size_bytes: its size.
        url: the source it came from.
    """

    path: Path
    sha256: str
    size_bytes: int
    url: str


def download(
    sources: str | Sequence[str],
    target: str | Path,
    progress: Progress | None = None,
    should_cancel: Callable[[], bool] | None = None,
    *,
    sha256: str | None = None,
    size_bytes: int | None = None,
    weights: bool = True,
    policy: DownloadPolicy | None = None,
) -> Downloaded:
    """Download a file from the first source that gives it.

    Args:
        sources: one address or several, tried in order.
        target: the final name; its folder is made. An existing file is replaced only by a complete one.
        progress: see `Progress`. Called in the caller's thread.
        should_cancel: asked often; True ends the download. A silent connection is noticed only after
            `policy.stall_timeout_s`.
        sha256: the file's checksum, if it is known.
        size_bytes: about how large it is, for the check of the disk where a server does not say.
        weights: refuse what does not open as a checkpoint: web pages, other archives, files cut short.
        policy: how patient to be.

    Raises:
        DownloadCancelled: `should_cancel` said so; the next call resumes.
        ChecksumError: the file is not the one that `sha256` belongs to.
        NoConnectionError: no source could be reached.
        DownloadError: no source gave the file, the disk is too full, or another download of it is running.
        ValueError: there is no source.
    """
    sources = [sources] if isinstance(sources, str) else list(sources)
    if not sources:
        raise ValueError(
            "There is no source to download from. Get the file by other means and add it by its path."
        )
    target = Path(target)
    job = _Job(target, progress, should_cancel, sha256, size_bytes, weights, policy or DownloadPolicy())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(target):
            return _first_that_gives(sources, job)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written ({error.strerror or error}). Check the folder."
        ) from error


@contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Hold a file name against other downloads, of this process or another, until the end of the block.

    Raises:
        DownloadError: another one holds it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(lock_beside(target))
        except FileBusyError as error:
            raise DownloadError(f"Another download of {target.name} is running. Wait for it.") from error
        yield


def _first_that_gives(sources: Sequence[str], job: _Job) -> Downloaded:
    for source in sources:
        if done := job.try_source(source):
            for other in sources:
                PartFile.beside(job.target, other).discard()
            return done
    failures = list(job.failures.values())
    unreachable = [host for error in failures if isinstance(error, NoConnectionError) for host in error.hosts]
    if len(unreachable) == len(failures):
        raise NoConnectionError(*unreachable)
    if len(failures) == 1 or all(isinstance(error, ChecksumError) for error in failures):
        raise failures[0]
    told = "; ".join(f"{source}: {error}" for source, error in job.failures.items())
    raise DownloadError(f"No source gave {job.target.name}. {told}")


@dataclass
class _Job:
    """One call of `download`."""

    target: Path
    progress: Progress | None
    should_cancel: Callable[[], bool] | None
    sha256: str | None
    size_bytes: int | None
    weights: bool
    policy: DownloadPolicy
    failures: dict[str, DownloadError] = field(default_factory=dict)
    received: int = 0
    was_joined: bool = False

    def try_source(self, source: str) -> Downloaded | None:
        """Fetch, check and rename; None, with the reason noted, where the source does not give the file."""
        part = PartFile.beside(self.target, source)
        self.received = 0
        try:
            self.fetch(source, part)
            try:
                return self.accept(source, part)
            except (RefusedError, ChecksumError):
                if not self.was_joined:
                    raise
            self.fetch(source, part)  # what was joined was of two files: once more, from the beginning
            return self.accept(source, part)
        except RefusedError as error:
            self.failures[source] = DownloadError(
                f"{self.target.name} was not downloaded: {error}. {_ADVICE}"
            )
        except UnreachableError as error:
            self.failures[source] = NoConnectionError(error.host)
        except ChecksumError as error:
            self.failures[source] = error
        return None

    def fetch(self, source: str, part: PartFile) -> None:
        """Ask until the part is complete, waiting longer after each failure in a row."""
        failures, began = 0, time.monotonic()
        meter = Meter()
        with metered_session(meter) as session:
            client = Client(
                source,
                session,
                meter,
                self.policy.connect_timeout_s,
                self.policy.answer_timeout_s,
                has_checksum=self.sha256 is not None,
            )
            while True:
                before = part.size
                try:
                    self.request(client, part)
                    return
                except PassingError as error:
                    failures = 1 if part.size - before >= self.policy.progress_bytes else failures + 1
                    pause_s = error.after_s or self.policy.backoff_s * 2 ** (failures - 1)
                    waited_s = time.monotonic() - began + min(pause_s, self.policy.max_backoff_s)
                    is_over = waited_s > self.policy.unreachable_s
                    if isinstance(error, UnreachableError) and not self.received and is_over:
                        raise
                    if failures >= self.policy.attempts:
                        if isinstance(error, UnreachableError):
                            raise
                        raise RefusedError(
                            f"{error} ({failures} attempts, {part.size:,} bytes here)"
                        ) from error
                    if self.policy.on_retry is not None:
                        self.policy.on_retry(failures + 1, self.policy.attempts)
                    self.wait(pause_s)

    def request(self, client: Client, part: PartFile) -> None:
        """Send one request and take what it brings; return when the part is complete."""
        self.stop_if_cancelled()
        with client.judge(part) as response:
            self.check_disk(response, part)
            if not response.complete:
                self.receive(response, part)
        if response.total is not None and part.size < response.total:
            raise PassingError(f"the connection ended after {part.size:,} of {response.total:,} bytes")
        if response.total is not None and part.size > response.total:
            part.discard()
            raise PassingError("the server sent more than it had announced")

    def receive(self, response: FileResponse, part: PartFile) -> None:
        """Write what arrives, at the speed it arrives."""
        size = part.size
        is_checked = size >= _HEAD_BYTES
        self.show_progress(size, response.total)
        with part.open() as file:
            for chunk in response.chunks(self.policy.stall_timeout_s, self.policy.stall_bytes):
                file.write(chunk)
                size += len(chunk)
                if not is_checked and size >= _HEAD_BYTES:
                    file.flush()
                    self.check_head(part)
                    is_checked = True
                self.check_amount(len(chunk), size, response)
                self.show_progress(size, response.total)
                self.stop_if_cancelled()

    def check_amount(self, arrived: int, size: int, response: FileResponse) -> None:
        """Refuse a file without end, and one that is sent over and over."""
        self.received += arrived
        expected = response.total or self.size_bytes or _LARGEST_BYTES
        if size > _MAX_SURPLUS * expected or self.received > _MAX_TIMES_SENT * max(expected, size):
            raise RefusedError(f"the server has sent {self.received:,} bytes and comes to no end")
        steps, earlier = self.received // _DISK_STEP_BYTES, (self.received - arrived) // _DISK_STEP_BYTES
        if response.total is None and steps != earlier:
            self.check_space(0)

    def accept(self, source: str, part: PartFile) -> Downloaded:
        """Check the whole file and give it its name; what is wrong is removed."""
        self.was_joined = part.is_joined
        self.check_head(part)
        digest = _sha256(part.path, self.stop_if_cancelled)
        for expected, whose in ((self.sha256, "known"), (part.sha256, "server's")):
            if expected is not None and digest != expected.lower():
                part.discard()
                raise ChecksumError(
                    f"What {source} sent is not the expected file: its checksum is {digest}, the {whose} one "
                    f"is {expected}. It was removed. Try again, or get the file from another source."
                )
        if self.weights and self.sha256 is None:
            try:
                check_opens(part.path, checksums=part.is_joined and part.sha256 is None)
            except CheckpointError as error:
                part.discard()
                raise RefusedError(f"what the server sent {error}") from error
        done = Downloaded(self.target, digest, part.size, source)
        part.rename(self.target)
        return done

    def check_head(self, part: PartFile) -> None:
        """Refuse a web page or another kind of file as soon as its first bytes are there."""
        head = part.head(_HEAD_BYTES)
        if self.weights and not head.startswith((_ZIP_MAGIC, _OLD_TORCH_MAGIC)):
            part.discard()
            what = (
                "a web page"
                if head.lstrip().lower().startswith((b"<!doc", b"<html"))
                else "another kind of file"
            )
            raise RefusedError(f"the server sent {what} instead of weights")

    def check_disk(self, response: FileResponse, part: PartFile) -> None:
        """Refuse before the first byte rather than fail at the last."""
        total = response.total if response.total is not None else self.size_bytes
        if total is None:
            return
        self.check_space(total - part.size)

    def check_space(self, further_bytes: int) -> None:
        """Refuse where the disk has no place for so many bytes more."""
        needed = further_bytes + self.policy.reserve_bytes
        free = shutil.disk_usage(self.target.parent).free
        if free < needed:
            raise DownloadError(
                f"The disk of {self.target.parent} has {free / 1e9:.1f} GB free, {self.target.name} needs "
                f"{needed / 1e9:.1f} GB. Free some space or choose another folder."
            )

    def show_progress(self, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(done, total)

    def stop_if_cancelled(self) -> None:
        if self.should_cancel is not None and self.should_cancel():
            raise DownloadCancelled(
                f"The download of {self.target.name} was cancelled; the next one goes on from here."
            )

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + min(seconds, self.policy.max_backoff_s)
        while (left := until - time.monotonic()) > 0:
            self.stop_if_cancelled()
            time.sleep(min(left, _NAP_S))


def _sha256(path: Path, between: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            between()
    return digest.hexdigest()
