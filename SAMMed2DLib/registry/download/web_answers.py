"""What servers answer to a request for a file, and what it means for the bytes that are already here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from SAMMed2DLib.registry.download.metered import Meter
from SAMMed2DLib.registry.download.pages import MAX_PAGE_BYTES, confirmation_address, page_words, shown
from SAMMed2DLib.registry.download.part_file import PartFile

if TYPE_CHECKING:
    import requests

_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_MAX_HEADER_BYTES = 1 << 17
_MAX_REDIRECTS = 10
_MAX_READ_BYTES = 1 << 20
_FALLBACK_READ_BYTES = 1 << 14
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "sammed2d"}


class PassingError(Exception):
    """The attempt failed in a way that passes: it is worth another."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        """Say why, and how long the server asks to wait, in seconds."""
        super().__init__(reason)
        self.after_s = after_s


class UnreachableError(PassingError):
    """No connection to the server came about.

    Attributes:
        host: the server.
    """

    def __init__(self, host: str) -> None:
        """Name the server."""
        super().__init__(f"no connection to {host}")
        self.host = host


class RefusedError(Exception):
    """The source will not give the file, however often it is asked."""


@dataclass(frozen=True)
class FileResponse:
    """A server's answer that fits the bytes already here.

    Attributes:
        response: open, its body not yet read.
        meter: that it passes.
        total: the whole file's size, if known.
        complete: there is nothing more to read.
    """

    response: requests.Response
    meter: Meter
    total: int | None
    complete: bool = False

    def chunks(self, stall_s: float, stall_bytes: int) -> Iterator[bytes]:
        """Yield bytes as they arrive, without waiting for a full buffer.

        Args:
            stall_s: end the connection where so much time passes ...
            stall_bytes: ... with fewer bytes than these.

        Raises:
            PassingError: the connection broke or stalled.
        """
        raw = self.response.raw
        read, size = (raw.read1, _MAX_READ_BYTES) if hasattr(raw, "read1") else (raw.read, _FALLBACK_READ_BYTES)
        self.meter.expect_file(stall_s, stall_bytes)
        with _network_errors(self.meter):
            while chunk := read(size):
                yield chunk
                self.meter.moved(len(chunk))  # afterwards: what the caller does with it is not the server's time


@dataclass
class Client:
    """How one source is asked.

    Attributes:
        source: the address.
        session: past `meter`.
        meter: bounds what the answers may take.
        connect_timeout_s: wait for a connection.
        answer_timeout_s: wait for an answer that begins to bring the file, redirects and pages included.
        has_checksum: whether the file's checksum is known, so that a wrong continuation would be found out.
    """

    source: str
    session: requests.Session
    meter: Meter
    connect_timeout_s: float
    answer_timeout_s: float
    has_checksum: bool = False

    @contextmanager
    def judge(self, part: PartFile) -> Iterator[FileResponse]:
        """Ask for what is missing of a part, and hold the connection open.

        A part that may belong to another version of the file is emptied.

        Raises:
            PassingError: the attempt failed in a way that passes.
            RefusedError: the source does not give the file.
        """
        if part.size and not (part.version or part.sha256 or self.has_checksum):
            part.discard()  # nothing would tell whether the rest is of the same file
        with _network_errors(self.meter):
            self.meter.expect_answer(self.answer_timeout_s)
            response = self._request(self.source, part)
            page = self._page(response)
            if page and (confirmed := confirmation_address(page, response.url)):
                response.close()
                response = self._request(confirmed, part)
                page = self._page(response)
        with response:
            if page is not None:
                raise RefusedError(page_words(page))
            yield self._answer(response, part)

    def _request(self, url: str, part: PartFile) -> requests.Response:
        """Ask an address and those that it leads to; no body on the way is read."""
        headers = dict(_HEADERS)
        if part.size:
            headers["Range"] = f"bytes={part.size}-"
            if part.version:
                headers["If-Range"] = part.version
        hops: list[requests.Response] = []
        while True:
            self.meter.allow(_MAX_HEADER_BYTES)
            response = self.session.get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(self.connect_timeout_s, self.answer_timeout_s),
            )
            refuse_downgrade([self.source, *(hop.url for hop in hops), response.url])
            leads_to = self.session.get_redirect_target(response)
            response.history = hops
            if not leads_to:
                return response
            response.close()
            hops = [*hops, response]
            if len(hops) > _MAX_REDIRECTS:
                raise RefusedError(f"the server redirects more than {_MAX_REDIRECTS} times")
            url = _redirected(response.url, leads_to)
            refuse_downgrade([self.source, *(hop.url for hop in hops), url])

    def _page(self, response: requests.Response) -> str | None:
        """The text of a page, as far as it matters; None where the answer is a file or an error."""
        kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if kind not in _PAGE_TYPES or not response.ok:
            return None
        if response.headers.get("Content-Encoding", "identity") != "identity":
            return ""
        self.meter.allow(MAX_PAGE_BYTES + _MAX_HEADER_BYTES)
        return response.raw.read(MAX_PAGE_BYTES).decode("utf-8", "replace")

    def _answer(self, response: requests.Response, part: PartFile) -> FileResponse:
        status = response.status_code
        if status == 206:
            return self._continued(response, part)
        if status == 416:
            return self._nothing_left(response, part)
        if status in _PASSING_STATUSES:
            raise PassingError(_status_words(response), _retry_after(response))
        if status != 200:
            raise RefusedError(_status_words(response))
        _refuse_encoded(response)
        part.discard()
        total = _total(response, response.headers.get("Content-Length"))
        part.begin(_version(response), total, _announced_sha256(response))
        return FileResponse(response, self.meter, total)

    def _continued(self, response: requests.Response, part: PartFile) -> FileResponse:
        """The rest of the file, if it begins where our bytes end and is of the same version."""
        _refuse_encoded(response)
        match = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
        start, said = (int(match[1]), match[2]) if match else (-1, "*")
        total = int(said) if said != "*" else part.total
        announced = _announced_sha256(response)
        is_same = total == part.total if part.total is not None else True
        if not self.has_checksum and not part.sha256:
            is_same = is_same and part.version is not None and _version(response) == part.version
        if announced and part.sha256 and announced != part.sha256:
            is_same = False
        if start != part.size or not is_same:
            part.discard()
            raise PassingError("the server continued another file, or at another place")
        part.join()
        return FileResponse(response, self.meter, total)

    def _nothing_left(self, response: requests.Response, part: PartFile) -> FileResponse:
        """We asked for bytes beyond the end: either we have them all, or ours belong to another file."""
        said = response.headers.get("Content-Range", "").removeprefix("bytes */")
        if part.size and said == str(part.size) and part.total in (None, part.size):
            return FileResponse(response, self.meter, part.size, complete=True)
        part.discard()
        raise PassingError("the server has a file of another size than before")


@contextmanager
def _network_errors(meter: Meter) -> Iterator[None]:
    """Translate what can go wrong on the way: most passes, some never does."""
    import requests
    import urllib3

    no_address = (
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
    )
    try:
        yield
    except (PassingError, RefusedError):
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if meter.fault:
            kind = RefusedError if meter.is_final else PassingError
            raise kind(f"the server {meter.fault}") from error
        if isinstance(error, no_address):
            raise RefusedError("the request cannot be made, because its address is none of the web") from error
        if isinstance(error, requests.exceptions.SSLError):
            raise RefusedError("the server's certificate cannot be verified") from error
        if isinstance(error, requests.exceptions.ConnectTimeout) or _is_unreachable(error):
            raise UnreachableError(_host_of(error)) from error
        if isinstance(error, ValueError) and not isinstance(error, requests.RequestException):
            raise RefusedError("the server's answer cannot be read") from error
        raise PassingError("the connection broke") from error


def _is_unreachable(error: Exception) -> bool:
    """Whether no connection came about; else one did, and broke."""
    import requests
    import urllib3

    broke = bool(error.args) and isinstance(error.args[0], urllib3.exceptions.ProtocolError)
    return isinstance(error, requests.exceptions.ConnectionError) and not broke


def _host_of(error: Exception) -> str:
    request = getattr(error, "request", None)
    return (urlsplit(str(request.url)).hostname if request is not None else None) or "the server"


def _redirected(url: str, target: str) -> str:
    """The address that a redirect leads to."""
    from requests.utils import requote_uri

    try:
        return requote_uri(urljoin(url, target))
    except ValueError as error:
        raise RefusedError("the server leads to an address that is none") from error


def _refuse_encoded(response: requests.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError("the server sends the file re-encoded, so that its length cannot be checked")


def _status_words(response: requests.Response) -> str:
    return f"the server answers {response.status_code} {shown(response.reason or '')}".rstrip()


def _total(response: requests.Response, length: str | None) -> int | None:
    linked = _bytes_in(_of_any_hop(response, "X-Linked-Size"))  # Hugging Face says it before redirecting to the storage
    sent = _bytes_in(length)
    if sent is not None and linked is not None and sent != linked:
        raise RefusedError(f"the server announces {linked} bytes, but wants to send {sent}")
    return linked if sent is None else sent


def _bytes_in(words: str | None) -> int | None:
    return int(words) if re.fullmatch(r"[0-9]{1,18}", words or "") and words else None


def _announced_sha256(response: requests.Response) -> str | None:
    """Hugging Face gives the file's SHA-256 as the tag of the redirect to the storage."""
    tag = (_of_any_hop(response, "X-Linked-Etag") or "").strip('"').lower()
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else None


def _of_any_hop(response: requests.Response, header: str) -> str | None:
    return next((hop.headers[header] for hop in (*response.history, response) if header in hop.headers), None)


def _version(response: requests.Response) -> str | None:
    """The server's strong mark of the version. A weak one (W/"...") or a date promises no equal bytes."""
    tag = response.headers.get("ETag", "")
    return tag if re.fullmatch(r'"[!#-~]{1,200}"', tag) else None


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the server asks to wait; dates are rare enough to be ignored."""
    said = response.headers.get("Retry-After", "")
    return float(said) if re.fullmatch(r"\d{1,6}", said) else None


def refuse_downgrade(hops: Sequence[str]) -> None:
    """Refuse a way on which anyone could change the file after its first encrypted hop.

    Raises:
        RefusedError: an unencrypted address follows an encrypted one.
    """
    schemes = [urlsplit(hop).scheme for hop in hops]
    if "https" in schemes and "http" in schemes[schemes.index("https") :]:
        raise RefusedError("the server leads from an encrypted to an unencrypted address")
