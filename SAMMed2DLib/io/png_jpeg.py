"""What image libraries pass over in PNG and JPEG files: grey with alpha, the camera's orientation, a missing end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from SAMMed2DLib.io.compressed import cut_off

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112


def png_without_alpha(path: Path) -> tuple[bytes, int] | None:
    """A PNG file of grey values with alpha, or with one of them transparent, as one that image libraries read.

    A pixel of grey and alpha, 8 bits each, is stored as one of 16 bits; of 16 bits each as red, green, blue and alpha.

    Returns:
        the file, and 8 or 16, the bits of its grey values if they are only the first bits of each pixel, else 0. None
        for all other files.
    """
    with path.open("rb") as file:
        head = file.read(33)
        if head[:8] != _PNG or head[12:16] != b"IHDR" or len(head) < 33 or head[25] not in (0, 4):
            return None
        data = head + file.read()
    chunks = list(_chunks(data))
    bits = head[24] if head[25] == 4 else 0
    if not bits and all(kind != b"tRNS" for kind, _ in chunks):
        return None
    kind = {8: b"\x10\x00", 16: b"\x08\x06"}.get(bits, head[24:26])
    changed = b"IHDR" + head[16:24] + kind + head[26:29]
    pieces = [_PNG, struct.pack(">I", 13), changed, struct.pack(">I", zlib.crc32(changed))]
    return b"".join([*pieces, *(chunk for kind, chunk in chunks if kind in (b"IDAT", b"IEND"))]), bits


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of each chunk after the first."""
    at = 33
    while at + 8 <= len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        yield data[at + 4 : at + 8], data[at:end]
        at = end


def check_jpeg_end(path: Path) -> None:
    """Refuse a JPEG file that was cut off; libraries fill what is missing with grey.

    Raises:
        VolumeError: it has no end.
    """
    data = path.read_bytes()
    scan = next((at for marker, at, _ in _segments(data) if marker == 0xDA), None)
    if scan is None or data.find(b"\xff\xd9", scan) < 0:
        raise cut_off(path)


def jpeg_orientation(path: Path) -> int:
    """How a camera was held: 1 to 8, as in EXIF; 1 where nothing tells."""
    data = path.read_bytes()
    for marker, start, end in _segments(data):
        if marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            return _orientation(data[start + 6 : end])
    return 1


def is_jpeg(path: Path) -> bool:
    """Whether a file is one, by its first bytes."""
    with path.open("rb") as file:
        return file.read(3) == b"\xff\xd8\xff"


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image as viewers show it.

    Args:
        image: (H, W) or (H, W, channels), as stored.
        orientation: 1 to 8, as in EXIF.
    """
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    rows = slice(None, None, -1) if orientation in (3, 4, 7, 8) else slice(None)
    columns = slice(None, None, -1) if orientation in (2, 3, 6, 7) else slice(None)
    return np.ascontiguousarray(image[rows, columns])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, first and last byte of each segment up to the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        yield marker, at + 4, end
        if marker == 0xDA:
            return
        at = end


def _orientation(tiff: bytes) -> int:
    """The orientation of a TIFF header with its first directory; 1 where it has none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    directory = struct.unpack_from(f"{order}I", tiff, 4)[0]
    if directory + 2 > len(tiff):
        return 1
    for n in range(struct.unpack_from(f"{order}H", tiff, directory)[0]):
        entry = directory + 2 + 12 * n
        if entry + 12 > len(tiff):
            return 1
        if struct.unpack_from(f"{order}H", tiff, entry)[0] == _ORIENTATION:
            value = struct.unpack_from(f"{order}H", tiff, entry + 8)[0]
            return int(value) if 1 <= value <= 8 else 1
    return 1
