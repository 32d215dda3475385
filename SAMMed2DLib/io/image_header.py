"""Headers of NRRD and MetaImage files that ITK reads beyond the end of its memory: refused before ITK sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from SAMMed2DLib.io.volume import VolumeError

_LONGEST_HEADER = 64 << 20
_LONGEST_FIELD = 1000  # ITK's messages about a field have room for 1,025 letters
_FREE_TEXTS = (b"content", b"labels")
_MOST_DIMENSIONS = 9  # MetaImage's arrays have ten places, and the number is believed
_META_START = 1 << 20
# A name with a place for a number, then first, last and step; ITK uses it as a format whatever is in it.
_PATTERN = re.compile(rb"[^%\s]*%\d{0,3}d[^%\s]*(\s+\d{1,9}){0,3}")


def check_header(path: Path) -> None:
    """Refuse a header that would end the process.

    Raises:
        VolumeError: it is damaged or made to do harm.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        if file.read(4) == b"NRRD":
            file.seek(0)
            _check_nrrd(path, file)
        elif path.suffix.lower() in (".mha", ".mhd"):
            file.seek(0)
            _check_meta(path, file.read(_META_START))


def _check_nrrd(path: Path, file: BinaryIO) -> None:
    for line in _header_lines(file):
        name, separator, rest = line.partition(b":")
        is_pair = bool(separator) and rest.startswith(b"=")  # a key and a value of the user's own
        is_free = is_pair or line.startswith(b"#") or name in _FREE_TEXTS
        if len(line) > _LONGEST_FIELD and not is_free:
            raise VolumeError(f"{path}: is damaged: a line of its header has {len(line)} letters; export it again")


def _header_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines up to the empty one."""
    while file.tell() < _LONGEST_HEADER and (line := file.readline(_LONGEST_HEADER).rstrip(b"\r\n")):
        yield line


def _check_meta(path: Path, start: bytes) -> None:
    header = start.partition(b"ElementDataFile")[0]
    for text in re.findall(rb"NDims[ \t]*[=:][ \t]*([^\r\n]*)", header):
        if not re.fullmatch(rb"\d+", text.strip()) or not 1 <= int(text[:4]) <= _MOST_DIMENSIONS:
            raise VolumeError(f"{path}: is damaged: its number of dimensions is none (NDims); export it again")
    for text in re.findall(rb"ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*)", start):
        if b"%" in text and not _PATTERN.fullmatch(text.strip()):
            raise VolumeError(f"{path}: is damaged: its ElementDataFile is no file; export it again")
