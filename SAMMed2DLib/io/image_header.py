"""Headers of NRRD and MetaImage files, read before ITK sees them.

Those that ITK would read beyond the end of its memory are refused, and the voxels are found, so that a file that is cut
off or damaged is told as such.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from SAMMed2DLib.io.compressed import check_zlib, cut_off, has_whole_gzip, has_whole_zlib, opened
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


# --- where the voxels are, and whether they are whole ---------------------------------------------------------


@dataclass(frozen=True)
class VoxelPart:
    """The voxels of a file.

    Attributes:
        path: of the file that holds them.
        start: the byte from which on it does.
        packing: "gzip", "zlib", or nothing.
        size: in bytes, as packed; None where only the end of the file tells.
    """

    path: Path
    start: int
    packing: str = ""
    size: int | None = None

    def check_size(self, unpacked: int) -> None:
        """Refuse a file that is shorter than its header says, before anything is read."""
        size = unpacked if not self.packing else self.size or 0
        there = max(self.path.stat().st_size - self.start, 0)
        if there < size:
            raise cut_off(self.path, f"it holds {there} of {size} bytes of its voxels")

    def check(self, array: np.ndarray) -> None:
        """Compare the checksum at the end with what was read; where they differ, read all once more, to be sure.

        Raises:
            VolumeError: the file is cut off or damaged.
        """
        if self.packing == "gzip":
            is_whole = has_whole_gzip(self.path, self.start, array)
        else:
            is_whole = not self.packing or has_whole_zlib(self.path, self.start + (self.size or 0), array)
        if not is_whole:
            self.check_to_end()

    def check_to_end(self) -> None:
        """Unpack all, so that the checksum is compared.

        Raises:
            VolumeError: the file is cut off or damaged.
        """
        if self.packing == "gzip":
            with opened(self.path, skip=self.start):
                pass
        elif self.packing:
            check_zlib(self.path, self.start, self.size or 0)


def voxel_parts(path: Path) -> list[VoxelPart]:
    """Where a NRRD or MetaImage file holds its voxels, as far as it is easy to tell."""
    with path.open("rb") as file:
        head = file.read(4)
        if head == b"NRRD":
            file.seek(0)
            return _nrrd_parts(path, _lines(file, b""))
        if path.suffix.lower() in (".mha", ".mhd"):
            file.seek(0)
            return _meta_parts(path, _lines(file, b"ElementDataFile"))
    return []


def _lines(file: Any, last: bytes) -> tuple[dict[str, str], list[str], int]:
    """Fields of a header, lines that are none, and where the header ends."""
    fields: dict[str, str] = {}
    others: list[str] = []
    while file.tell() < _LONGEST_HEADER and (line := file.readline(1 << 16)):
        text = line.strip()
        if not last and not text:
            break
        key, separator, value = text.partition(b"=") if last else text.partition(b":")
        if separator and not value.startswith(b"="):
            fields[key.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")
        else:
            others.append(text.decode("latin-1"))
        if last and key.strip() == last:
            break
    return fields, others, file.tell()


def _nrrd_parts(path: Path, header: tuple[dict[str, str], list[str], int]) -> list[VoxelPart]:
    fields, others, end = header
    packing = {"gzip": "gzip", "gz": "gzip", "raw": ""}.get(fields.get("encoding", "").lower())
    skips = [fields.get(key, "0") for key in ("byte skip", "byteskip", "line skip", "lineskip")]
    if packing is None or any(skip != "0" for skip in skips):
        return []
    name = fields.get("data file", fields.get("datafile", ""))
    if not name:
        return [VoxelPart(path, end, packing)]
    # "LIST" is followed by names; with a pattern, as in "volume%03d.raw.gz 1 9 1", more is to be worked out.
    names = others[1:] if name.upper().startswith("LIST") else [name]
    files = [path.parent / name for name in names if not re.search(r"%\d*d", name)]
    return [VoxelPart(file, 0, packing) for file in files if os.path.isfile(file) and (packing or len(files) == 1)]


def _meta_parts(path: Path, header: tuple[dict[str, str], list[str], int]) -> list[VoxelPart]:
    fields, _, end = header
    name = fields.get("elementdatafile", "")
    file = path if name.upper() == "LOCAL" else path.parent / name
    is_plain = fields.get("binarydata", "True").lower() == "true" and "headersize" not in fields
    if not name or not os.path.isfile(file) or not is_plain:
        return []
    start = end if file == path else 0
    if fields.get("compresseddata", "").lower() != "true":
        return [VoxelPart(file, start)]
    size = _whole(fields.get("compresseddatasize", "0"))
    return [VoxelPart(file, start, "zlib", size)] if size else []


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else 0
