"""What servers answer to a request for a file, and what it means for the bytes that are already here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from .part_file import PartFile

if TYPE_CHECKING:
    import requests

_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_PASSING_STATUSES = (408, 425, 429, 500, 502, 503, 504)
_MAX_PAGE_BYTES = 1 << 20
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
class Answer:
    """A server's answer that fits the bytes already here.

    Attributes:
        response: open, its body not yet read.
        total: the whole file's size, if known.
        complete: there is nothing more to read.
    """

    response: requests.Response
    total: int | None
    complete: bool = False

    def chunks(self) -> Iterator[bytes]:
        """Yield bytes as they arrive, without waiting for a full buffer.

        Raises:
            PassingError: the connection broke or stalled.
        """
        raw = self.response.raw
        read, size = (
            (raw.read1, _MAX_READ_BYTES) if hasattr(raw, "read1") else (raw.read, _FALLBACK_READ_BYTES)
        )
        with _network_errors():
            while chunk := read(size):
                yield chunk


@contextmanager
def judge(
    session: requests.Session, source: str, part: PartFile, timeout: tuple[float, float]
) -> Iterator[Answer]:
    """Ask a source for what is missing of a part, and hold the connection open.

    A part that belongs to another version of the file is emptied.

    Raises:
        PassingError: the attempt failed in a way that passes.
        RefusedError: the source does not give the file.
    """
    with _network_errors():
        response = _request(session, source, part, timeout)
        page = _page(response)
        if page and (confirmed := confirmation_address(page, response.url)):
            response.close()
            response = _request(session, confirmed, part, timeout)
            page = _page(response)
    with response:
        refuse_downgrade(source, response)
        if page is not None:
            raise RefusedError(_page_words(page))
        yield _answer(response, part)


def _request(
    session: requests.Session, url: str, part: PartFile, timeout: tuple[float, float]
) -> requests.Response:
    headers = dict(_HEADERS)
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.version:
            headers["If-Range"] = part.version
    return session.get(url, headers=headers, stream=True, timeout=timeout)


@contextmanager
def _network_errors() -> Iterator[None]:
    """Translate what can go wrong on the way: most passes, some never does."""
    import requests
    import urllib3

    never = (
        requests.exceptions.SSLError,
        requests.exceptions.TooManyRedirects,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
    )
    try:
        yield
    except never as error:
        raise RefusedError(f"the request cannot be made ({_short(error)})") from error
    except (urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError) as error:
        raise PassingError("the connection broke") from error
    except requests.exceptions.ConnectionError as error:
        host = urlsplit(str(error.request.url)).hostname if error.request is not None else None
        raise UnreachableError(host or "the server") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise PassingError(f"the connection failed ({_short(error)})") from error


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:160]}"


def _answer(response: requests.Response, part: PartFile) -> Answer:
    status = response.status_code
    if status == 206:
        return _continued(response, part)
    if status == 416:
        return _nothing_left(response, part)
    if status in _PASSING_STATUSES:
        raise PassingError(f"the server answers {status} {response.reason}", _retry_after(response))
    if status != 200:
        raise RefusedError(f"the server answers {status} {response.reason}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError("the server sends the file re-encoded, so that its length cannot be checked")
    part.discard()
    total = _total(response, response.headers.get("Content-Length"))
    part.begin(_version(response), total, _announced_sha256(response))
    return Answer(response, total)


def _continued(response: requests.Response, part: PartFile) -> Answer:
    """The rest of the file, if it begins where our bytes end and belongs to a file of the same size."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    start, said = (int(match[1]), match[2]) if match else (-1, "*")
    total = int(said) if said != "*" else part.total
    if start != part.size or (part.total is not None and total != part.total):
        part.discard()
        raise PassingError("the server continued another file, or at another place")
    return Answer(response, total)


def _nothing_left(response: requests.Response, part: PartFile) -> Answer:
    """We asked for bytes beyond the end: either we have them all, or ours belong to another file."""
    said = response.headers.get("Content-Range", "").removeprefix("bytes */")
    if part.size and said == str(part.size) and part.total in (None, part.size):
        return Answer(response, part.size, complete=True)
    part.discard()
    raise PassingError("the server has a file of another size than before")


def _total(response: requests.Response, length: str | None) -> int | None:
    linked = _of_any_hop(response, "X-Linked-Size")  # Hugging Face says it before redirecting to the storage
    if length and linked and length.isdigit() and linked.isdigit() and length != linked:
        raise RefusedError(f"the server announces {linked} bytes, but wants to send {length}")
    return (
        int(length) if length and length.isdigit() else int(linked) if linked and linked.isdigit() else None
    )


def _announced_sha256(response: requests.Response) -> str | None:
    """Hugging Face gives the file's SHA-256 as the tag of the redirect to the storage."""
    tag = (_of_any_hop(response, "X-Linked-Etag") or "").strip('"').lower()
    return tag if re.fullmatch(r"[0-9a-f]{64}", tag) else None


def _of_any_hop(response: requests.Response, header: str) -> str | None:
    return next((hop.headers[header] for hop in (*response.history, response) if header in hop.headers), None)


def _version(response: requests.Response) -> str | None:
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):  # a weak tag (W/"...") promises no equal bytes
        return tag
    return response.headers.get("Last-Modified")


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the server asks to wait; dates are rare enough to be ignored."""
    said = response.headers.get("Retry-After", "")
    return float(said) if re.fullmatch(r"\d{1,6}", said) else None


def refuse_downgrade(source: str, response: requests.Response) -> None:
    """Refuse an answer that any hop since the first encrypted one could have changed on the way.

    Raises:
        RefusedError: an unencrypted address follows an encrypted one.
    """
    hops = [source, *(hop.url for hop in response.history), response.url]
    schemes = [urlsplit(hop).scheme for hop in hops]
    if "https" in schemes and "http" in schemes[schemes.index("https") :]:
        raise RefusedError("the server leads from an encrypted to an unencrypted address")


# Pages instead of files


def _page(response: requests.Response) -> str | None:
    """The text of a page, as far as it matters; None where the answer is a file or an error."""
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind not in _PAGE_TYPES or not response.ok:
        return None
    body = bytearray()
    for chunk in response.iter_content(_FALLBACK_READ_BYTES):
        body += chunk
        if len(body) > _MAX_PAGE_BYTES:
            break
    return body.decode("utf-8", "replace")


def _page_words(page: str) -> str:
    """What a page seems to say, for the error."""
    if "quota" in page.lower():
        return "Google Drive has reached its daily limit for this file; it is free again within 24 hours"
    title = re.search(r"<title[^>]*>([^<]{1,200})", page, re.IGNORECASE)
    words = " ".join(html.unescape(title[1]).split())[:80] if title else ""
    return f"the server sent a web page{f' ({words!r})' if words else ''} instead of the file"


class _ConfirmationForm(HTMLParser):
    """Google Drive's form: files too large for its virus scan are sent only to those who confirm."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form" and values.get("id") == "download-form":
            self.action = values.get("action", "")
        elif tag == "input" and self.action and values.get("type") == "hidden" and values.get("name"):
            self.fields[values["name"]] = values.get("value", "")


def confirmation_address(page: str, page_url: str) -> str | None:
    """Find the address behind the button of a Google Drive confirmation page.

    Args:
        page: the page's HTML.
        page_url: where it came from; the form must lead to the same house.

    Returns:
        The address to ask instead, or None if this is no such page.
    """
    form = _ConfirmationForm()
    form.feed(page)
    address = urljoin(page_url, form.action)
    if not form.action or not _is_same_house(urlsplit(address).hostname, urlsplit(page_url).hostname):
        return None
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(form.fields)}"


def _is_same_house(host: str | None, other: str | None) -> bool:
    return host == other or all((name or "").endswith(".google.com") for name in (host, other))
