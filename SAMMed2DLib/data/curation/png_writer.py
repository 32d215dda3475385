"""PNG files of 8-bit pictures, written without an image library: data sets have millions, and most are tiny."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_GREY, _COLOUR = 0, 2  # colour types
_AS_IS, _UP = 0, 2  # filters of a row: its values, or their differences from the row above


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture.

    Args:
        path: of the file.
        picture: (H, W) or (H, W, 3) uint8; or (H, W) bool, written as 0 and 255.
    Raises:
        OSError: the file cannot be written.
    """
    is_mask = picture.dtype == bool
    values = picture.astype(np.uint8) * 255 if is_mask else picture
    height, width = values.shape[:2]
    rows = np.empty((height, values.size // height + 1), np.uint8)
    rows[:, 0] = _AS_IS if is_mask else _UP
    rows[:, 1:] = values.reshape(height, -1)
    if not is_mask:
        rows[1:, 1:] -= values.reshape(height, -1)[:-1]
    head = struct.pack(">IIBBBBB", width, height, 8, _GREY if values.ndim == 2 else _COLOUR, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
