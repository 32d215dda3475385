"""Web pages that come instead of a file: what they say, and the button that leads on to the file."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

MAX_PAGE_BYTES = 1 << 16
"""As much of a page is read; Google Drive's have 3 KB."""


def page_words(page: str) -> str:
    """What a page seems to say, for the error."""
    if "quota" in page.lower():
        return "Google Drive has reached its daily limit for this file; it is free again within 24 hours"
    title = re.search(r"<title[^>]{0,200}>([^<]{1,200})", page, re.IGNORECASE)
    words = shown(html.unescape(title[1])) if title else ""
    return f"the server sent a web page{f' ({words!r})' if words else ''} instead of the file"


def shown(words: str) -> str:
    """Words of a server for a message: in one short line, without control characters."""
    words = " ".join(words[:1000].split())
    return "".join(letter if letter.isprintable() else "?" for letter in words)[:80]


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
